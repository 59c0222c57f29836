"""How the labels of each model are spread over time: what is counted for the drift watch. Pure functions.

Counted twice, as all counts are: by five minutes in a hash an hour, kept for two days, and by the hour in a
hash a day, kept as long as drift looks back. A field is `slot|label|column|model`, with label and column as
numbers of `worker.distribution`; the model comes last, because it may hold the separator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.distribution import LENGTH_EDGES, SHAPE, confidence_column, language_column, length_column
from worker.trends.columns import Columns, Tally, numbered
from worker.trends.counting import OTHER, Event
from worker.trends.keys import Due, shapes
from worker.trends.windows import DAY, HOUR, HOURS, MINUTE, MINUTES, SCORE_UNITS, Bucket, Tier, Window

STEP = 300
"""Seconds of the finer slots."""
FINE_KEPT_S = 2 * DAY
MAX_MODEL = 201
"""Longest name of a model, in characters: `name@version` of an artefact."""
MOST_FIELDS = 20_000
"""In one hash: several models' worth; a topic that names more models than that is not ours."""

_MOST_MODELS = 16
"""Of one answer, those with the most labels: each is an array of its own."""
_STEP_MINUTES = STEP // MINUTE
_SCORE_STEP = SCORE_UNITS // 200
"""Of which every edge of the confidence bins is a multiple: a table instead of a search for each label."""
_CONFIDENCE = np.array([confidence_column(number / 200) for number in range(201)], np.int64)
_LENGTH = np.array([length_column(number) for number in range(LENGTH_EDGES[-1] + 1)], np.int64)
"""Texts that are longer have the last one's column."""

Spread = NDArray[np.int64]
"""(steps, 7, columns) counts of one model."""


class Spot(NamedTuple):
    """What is counted together."""

    slot: int
    """Of `STEP` seconds, since the epoch."""
    model: str
    label: int
    column: int


def observed(events: Sequence[Event], columns: Columns | None = None) -> Counter[Spot]:
    """How many labels of a batch lie in each bin. A post without text has no length.

    `columns`: of these events, where they are at hand.
    """
    columns = Columns.of(events) if columns is None else columns
    names = dict.fromkeys([event.label.model for event in events if event.label is not None])
    numbers = {name: number if name else -1 for number, name in enumerate(names)}
    model = numbered([-1 if event.label is None else numbers[event.label.model] for event in events])
    length = numbered([len(event.label.text or "") if event.label else 0 for event in events])
    known = model >= 0
    spoke, lang = columns.members("l").of(known)
    silent = known.copy()
    silent[spoke] = False
    wrote = np.flatnonzero(known & (length > 0))
    language = numbered(language_column(one.name if one.letter == "l" else None) for one in columns.series)
    row = np.concatenate([np.flatnonzero(known), spoke, np.flatnonzero(silent), wrote])
    column = np.concatenate(
        [
            _CONFIDENCE[columns.score[known] // _SCORE_STEP],
            language[lang],
            np.full(np.count_nonzero(silent), language_column(None)),
            _LENGTH[np.minimum(length[wrote], len(_LENGTH) - 1)],
        ]
    )
    slot, model, emotion = columns.minute[row] // _STEP_MINUTES, model[row], columns.emotion[row]
    tally = Tally.of(slot, model, emotion, column)
    shown = [name if len(name) <= MAX_MODEL else OTHER for name in names]
    found: Counter[Spot] = Counter()
    for at, n in zip(tally.first.tolist(), tally.sums(np.ones_like(row)).tolist(), strict=True):
        found[Spot(int(slot[at]), shown[model[at]], int(emotion[at]), int(column[at]))] += n
    return found


def rows_of(found: Mapping[Spot, int], kept_s: int, due: Due) -> Iterator[tuple[str, int, list[str | int]]]:
    """Of each hash: its key, when it expires, and fields with what is added to them."""
    hashes: dict[Bucket, Counter[str]] = {}
    for spot, n in found.items():
        for tier, slot_s in ((MINUTES, STEP), (HOURS, HOUR)):
            at = spot.slot * STEP
            number, within = divmod(at, tier.span_s)
            field = f"{within // slot_s}|{spot.label}|{spot.column}|{spot.model}"
            hashes.setdefault(Bucket(tier.letter, number), Counter())[field] += n
    for bucket, counts in hashes.items():
        key = shapes(bucket)
        lasts = FINE_KEPT_S if bucket.letter == MINUTES.letter else kept_s
        yield key, due(key, lasts), [part for pair in counts.items() for part in pair]


def tier_of(window: Window) -> Tier:
    """Which hashes answer a window.

    Raises:
        ValueError: its step is neither `STEP` nor an hour.
    """
    if window.step not in (STEP, HOUR):
        raise ValueError(f"spreads are kept by {STEP} s and by the hour, not by {window.step} s")
    return MINUTES if window.step == STEP else HOURS


def buckets_of(window: Window) -> list[Bucket]:
    """Every hash that may hold a part of a window."""
    tier = tier_of(window)
    return [
        Bucket(tier.letter, number)
        for number in range(window.start // tier.span_s, -(-window.end // tier.span_s))
    ]


def spreads_of(window: Window, hashes: Iterable[tuple[Bucket, Mapping[bytes, bytes]]]) -> dict[str, Spread]:
    """By model, those with the most labels first: what these hashes hold and lies in the window."""
    span_s = tier_of(window).span_s
    found: dict[str, list[tuple[int, int, int, int]]] = {}
    for bucket, answer in hashes:
        first = (bucket.number * span_s - window.start) // window.step
        for field, n in answer.items():
            slot, label, column, model = field.decode(errors="replace").split("|", 3)
            step = first + int(slot)
            if 0 <= step < window.steps:
                found.setdefault(model, []).append((step, int(label), int(column), int(n)))
    return arranged(window.steps, found)


def arranged(steps: int, found: Mapping[str, list[tuple[int, int, int, int]]]) -> dict[str, Spread]:
    """Arrays of (step, label, column, n), by model; those of the models with the most labels."""
    most = sorted(found, key=lambda model: -sum(n for *_, n in found[model]))[:_MOST_MODELS]
    spreads = {}
    for model in most:
        spread = spreads[model] = np.zeros((steps, *SHAPE), dtype=np.int64)
        step, label, column, n = np.array(found[model], dtype=np.int64).T
        np.add.at(spread, (step, label, column), n)
    return spreads
