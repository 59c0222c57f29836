"""Answers of models that were never asked, for tests of what is made of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from worker.replay.history.analysis import analyse
from worker.replay.history.contest import LABELLED, Answered, Answers, Entrant, Facts
from worker.replay.history.folder import Cost, Folder, Question, State
from worker.replay.history.ranges import Range
from worker.replay.history.report import Report
from worker.replay.history.results import merge
from worker.replay.history.table import table
from worker.replay.history.truth import Gold
from worker.settings import KafkaSettings
from worker.types import EMOTIONS, LABELS

START = datetime(2026, 3, 1, tzinfo=UTC)
N = 600
TRUTH = np.random.default_rng(5).integers(0, 7, N)
SIX = np.random.default_rng(6).integers(0, 6, N)

HOSTILE = [
    "<script>document.title='taken'</script>",
    "<img src=https://evil.example/x onerror=alert(1)>",
    "</bdi></div><h1>free money</h1>",
    "\u202egnp.exe\u202c \x00\x1b[31m \ud83d\ude00",
    "{{ 7 * 7 }} {% raw %} ${7*7}",
    "' onmouseover='alert(1)",
]


def says(codes: Sequence[int], *, seed: int = 0, sure: float = 4.0) -> Answers:
    """A contestant that answers these labels, indices into `LABELS`; -1: it failed."""
    rng = np.random.default_rng(seed)
    label = np.asarray(codes)
    logits = rng.normal(size=(len(label), len(EMOTIONS)))
    emotional = (label >= 0) & (label < len(EMOTIONS))
    logits[np.flatnonzero(emotional), label[emotional]] += sure
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    # The emotion that is answered is the most probable one: so a model is made.
    best = scores.argmax(axis=1)
    for row in np.flatnonzero(emotional & (best != label)):
        scores[row, [best[row], label[row]]] = scores[row, [label[row], best[row]]]
    neutral = np.where(
        label == len(EMOTIONS), rng.uniform(0.5, 1, len(label)), rng.uniform(0, 0.5, len(label))
    )
    failed = label < 0
    return Answers(
        label=[None if code < 0 else LABELS[code] for code in label.tolist()],
        scores=np.where(failed[:, None], np.nan, np.round(scores, 6)),
        neutral=np.where(failed, np.nan, np.round(neutral, 6)),
    )


def answered(
    n: int,
    contestants: Mapping[str, Answers] | None = None,
    *,
    texts: Sequence[str] | None = None,
    langs: Sequence[str | None] = ("en",),
    sources: Sequence[str] = ("web",),
    every: timedelta = timedelta(minutes=1),
) -> Answered:
    """`n` posts of partition 0 with the ids 0, 1, ..."""
    facts = [
        Facts(
            partition=0,
            offset=number,
            timestamp_ms=1_770_000_000_000 + number,
            outcome=LABELLED,
            id=str(number),
            created_at=START + number * every,
            lang=langs[number % len(langs)],
            source=sources[number % len(sources)],
            text=None if texts is None else texts[number % len(texts)],
        )
        for number in range(n)
    ]
    return Answered(facts, dict(contestants or {"A": says([1] * n)}), {})


def folder_with(path: Path, part: Answered, gates: Mapping[str, str] | None = None) -> tuple[Folder, State]:
    """A report folder in which everything has been classified and nothing merged."""
    models = [
        Entrant(letter, f"model-{letter.lower()}@1", letter * 64, (gates or {}).get(letter, "on"), "auto")
        for letter in part.answers
    ]
    question = Question(
        topic="tweets",
        start="beginning",
        end="end",
        partitions=[],
        sample="100%",
        models=models,
        max_records=4096,
        max_tokens=16384,
        text="on",
        version="1",
    )
    state = State(question, "id", [Range(0, 0, len(part.facts))], 1.0, 1 << 20, START)
    path.mkdir(exist_ok=True)
    folder = Folder(path)
    folder.begin(state)
    cost = Cost(10.0, dict.fromkeys(part.answers, 4.0))
    folder.write(folder.parts(state)[0], table(part.facts, part.answers), cost)
    return folder, state


def noisy(truth: NDArray[np.intp], right: float, seed: int, among: int = len(LABELS)) -> list[int]:
    """Answers that are right about so often."""
    rng = np.random.default_rng(seed)
    other = rng.integers(0, among, len(truth))
    chosen: list[int] = np.where(rng.random(len(truth)) < right, truth, other).tolist()
    return chosen


def report_on(path: Path, part: Answered, truth: np.ndarray | None) -> Report:
    """What is reported; gold labels for the posts from 100 on."""
    folder, state = folder_with(path, part)
    gold = None
    if truth is not None:
        labels = {str(row): LABELS[code] for row, code in enumerate(truth.tolist()) if row >= 100}
        gold = Gold("gold.csv", labels, len(labels))
    merged = merge(folder, state, gold, None, KafkaSettings())
    return analyse(folder, state, merged, gold)


def two(truth: np.ndarray, right: tuple[float, float] = (0.85, 0.7)) -> dict[str, Answers]:
    """A and B, of which A is better."""
    return {
        letter: says(noisy(truth, share, seed), seed=seed)
        for letter, share, seed in zip("AB", right, (1, 2), strict=True)
    }


def hostile(path: Path) -> Report:
    """A report on posts whose texts, languages, sources and ids are written by somebody who means harm."""
    part = answered(N, two(TRUTH), texts=HOSTILE, langs=HOSTILE, sources=HOSTILE)
    part.facts[400] = msgspec.structs.replace(part.facts[400], id=HOSTILE[0])
    return report_on(path, part, TRUTH)
