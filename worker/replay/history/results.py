"""predictions.parquet: finished parts, the labels given earlier and the gold labels, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from worker.errors import ConfigurationError
from worker.replay.history.contest import DELETION, LABELLED, Answers
from worker.replay.history.earlier import Earlier, ReadEarlier, Rows, find_earlier, in_json
from worker.replay.history.folder import Cost, Folder, State
from worker.replay.history.table import EARLIER, TRUTH, answer_arrays, answer_names, schema
from worker.replay.history.truth import Gold
from worker.settings import KafkaSettings

_LISTED = 1000
"""Records that could not be labelled, in the report; predictions.parquet has them all."""
_NOTE = b"moodstream"


class BadRecord(msgspec.Struct, frozen=True):
    """A record that could not be labelled."""

    where: str
    """topic/partition/offset."""
    kind: str
    reason: str


class Input(msgspec.Struct, frozen=True):
    """What the range held."""

    records: int
    """Looked at: those that the sample leaves out are not counted."""
    posts: int
    deletions: int
    unparsable: int
    kinds: dict[str, int]
    """Unparsable records by kind."""
    listed: list[BadRecord]


class Matched(msgspec.Struct, frozen=True):
    """How gold labels and posts met."""

    gold: int
    posts_with_gold: int
    posts_without_gold: int
    gold_without_post: int
    repeated_posts: int
    """Further posts of an id that has a gold label: only the first is scored."""


class Speed(msgspec.Struct, frozen=True):
    """From the topic to the parts on the disk; loading the models and writing the report are not counted."""

    seconds: float
    records_per_s: float
    models: dict[str, float]
    """Posts a second through each model, by its letter."""


class Merged(NamedTuple):
    """What predictions.parquet is made of."""

    input: Input
    speed: Speed
    matched: Matched | None
    earlier: Earlier | None


def merge(
    folder: Folder,
    state: State,
    gold: Gold | None,
    against: str | None,
    kafka: KafkaSettings,
    *,
    read: ReadEarlier = in_json,
) -> Merged:
    """Write predictions.parquet from the finished parts, or anew from itself with other gold.

    `read`: what the labels of `against` are written in.

    Raises:
        ConfigurationError: no post was labelled, or no gold or earlier label belongs to one.
        DependencyError: Kafka cannot be reached, where earlier labels are asked for.
    """
    letters = [entrant.letter for entrant in state.question.models]
    summary, cost = _survey(folder, state, letters)
    if not summary.posts:
        found = ", ".join(f"{n} {kind}" for kind, n in summary.kinds.items())
        raise ConfigurationError(
            [f"{state.question.topic}: no record of the range is a post ({found or 'only deletions'})"]
        )
    earlier, answers = None, None
    if against is not None:
        rows, first_ms = _rows(folder, state, letters)
        earlier, answers = find_earlier(kafka, against, rows, first_ms, read)
    matching = None if gold is None else _Matching(gold)
    unfinished = folder.predictions.with_suffix(".unfinished")
    columns = schema(letters + ([EARLIER] if answers else []), truth=gold is not None)
    note = {_NOTE: msgspec.json.encode(cost)}
    with pq.ParquetWriter(unfinished, columns.with_metadata(note), compression="zstd") as writer:
        start = 0
        for rows_of_part in _tables(folder, state, letters):
            whole = rows_of_part
            if answers is not None:
                whole = _with_answers(whole, answers, start)
            if matching is not None:
                whole = whole.append_column(TRUTH, matching.truth(rows_of_part))
            writer.write_table(whole)
            start += len(rows_of_part)
    matched = None if matching is None else matching.summary(summary.posts)
    if matching is not None and not matching.posts:
        unfinished.unlink()
        raise ConfigurationError([_strangers(matching.gold, folder, state, letters)])
    unfinished.replace(folder.predictions)
    return Merged(summary, _speed(summary, cost), matched, earlier)


def _tables(folder: Folder, state: State, letters: Sequence[str]) -> Iterator[pa.Table]:
    """Rows without gold and earlier labels, by partition and offset."""
    if not state.complete:
        yield from (folder.read(part)[0] for part in folder.parts(state))
        return
    names = schema(letters).names
    with pq.ParquetFile(folder.predictions) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=names).replace_schema_metadata(None)


def _costs(folder: Folder, state: State) -> Iterator[Cost]:
    if state.complete:
        note = pq.read_schema(folder.predictions).metadata[_NOTE]
        yield msgspec.json.decode(note, type=Cost)
    else:
        yield from (folder.read(part)[1] for part in folder.parts(state))


def _survey(folder: Folder, state: State, letters: Sequence[str]) -> tuple[Input, Cost]:
    """What there is, and what it took."""
    outcomes: Counter[str] = Counter()
    listed: list[BadRecord] = []
    for rows in _tables(folder, state, letters):
        for outcome, n in _counts(rows):
            outcomes[outcome] += n
        if len(listed) < _LISTED:
            listed += _bad(rows, state.question.topic, _LISTED - len(listed))
    kinds = {kind: n for kind, n in outcomes.most_common() if kind not in (LABELLED, DELETION)}
    costs = list(_costs(folder, state))
    cost = Cost(
        sum(one.whole for one in costs),
        {letter: sum(one.models[letter] for one in costs) for letter in letters},
    )
    summary = Input(
        records=sum(outcomes.values()),
        posts=outcomes[LABELLED],
        deletions=outcomes[DELETION],
        unparsable=sum(kinds.values()),
        kinds=kinds,
        listed=listed,
    )
    return summary, cost


def _counts(rows: pa.Table) -> Iterator[tuple[str, int]]:
    for one in pc.value_counts(rows["outcome"]).to_pylist():
        yield one["values"], one["counts"]


def _bad(rows: pa.Table, topic: str, most: int) -> list[BadRecord]:
    neither = pc.invert(pc.is_in(rows["outcome"], value_set=pa.array([LABELLED, DELETION])))
    bad = rows.select(["partition", "offset", "outcome", "reason"]).filter(neither).slice(0, most)
    return [
        BadRecord(f"{topic}/{one['partition']}/{one['offset']}", one["outcome"], one["reason"] or "")
        for one in bad.to_pylist()
    ]


def _speed(summary: Input, cost: Cost) -> Speed:
    return Speed(
        seconds=round(cost.whole, 3),
        records_per_s=round(summary.records / max(cost.whole, 1e-9), 1),
        models={
            letter: round(summary.posts / max(seconds, 1e-9), 1) for letter, seconds in cost.models.items()
        },
    )


def _rows(folder: Folder, state: State, letters: Sequence[str]) -> tuple[Rows, int]:
    """Where all rows lie, and Kafka's time of the oldest; -1 where there is none."""
    whole = pa.concat_tables(
        rows.select(["partition", "offset", "id", "kafka_time"]) for rows in _tables(folder, state, letters)
    )
    oldest = pc.min(whole["kafka_time"].cast(pa.int64())).as_py()
    return (
        Rows(
            state.question.topic,
            whole["partition"].to_numpy(),
            whole["offset"].to_numpy(),
            whole["id"].to_pylist(),
        ),
        -1 if oldest is None else oldest,
    )


def _with_answers(rows: pa.Table, answers: Answers, start: int) -> pa.Table:
    """The rows with those of the earlier answers that begin at `start`."""
    stop = start + len(rows)
    mine = Answers(answers.label[start:stop], answers.scores[start:stop], answers.neutral[start:stop])
    for name, column in zip(answer_names(EARLIER), answer_arrays(mine), strict=True):
        rows = rows.append_column(name, column)
    return rows


class _Matching:
    """Gold labels beside posts, counted."""

    def __init__(self, gold: Gold) -> None:
        self.gold = gold
        self.posts = 0
        self._seen: set[str] = set()
        self._repeated = 0

    def truth(self, rows: pa.Table) -> pa.Array:
        """The column `truth` of some rows."""
        found: list[str | None] = []
        for post_id in rows["id"].to_pylist():
            label = None if post_id is None else self.gold.labels.get(post_id)
            if label is not None and post_id in self._seen:
                self._repeated += 1
                label = None
            elif label is not None:
                self._seen.add(post_id)
                self.posts += 1
            found.append(label)
        return pa.array(found, pa.string())

    def summary(self, posts: int) -> Matched:
        """What is reported; `posts` in all."""
        return Matched(
            gold=len(self.gold.labels),
            posts_with_gold=self.posts,
            posts_without_gold=posts - self.posts - self._repeated,
            gold_without_post=len(self.gold.labels) - len(self._seen),
            repeated_posts=self._repeated,
        )


def _strangers(gold: Gold, folder: Folder, state: State, letters: Sequence[str]) -> str:
    """Ids of both sides, so that one sees how they differ."""
    theirs = list(gold.labels)[:3]
    ours: list[str] = []
    for rows in _tables(folder, state, letters):
        ours += rows["id"].drop_null().slice(0, 3).to_pylist()
        if len(ours) >= 3:
            break
    return (
        f"--gold {gold.given}: none of its {len(gold.labels)} ids is that of a post of the range; gold has"
        f" {', '.join(map(repr, theirs))}, the posts have {', '.join(map(repr, ours[:3]))}"
    )


def columns_of(names: Mapping[str, pa.DataType] | Sequence[str], folder: Folder) -> pa.Table:
    """Some columns of predictions.parquet."""
    return pq.read_table(folder.predictions, columns=list(names))


def as_floats(column: pa.ChunkedArray) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """A column of numbers; NaN where there is none."""
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
