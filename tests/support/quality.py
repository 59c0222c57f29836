"""Labels and what people say of them, with the truth known."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from worker.errors import UnansweredError
from worker.quality.passed_over import Found
from worker.types import EMOTIONS, LABELS, Correction, Judgement, Label, LabelName, Record, Scores, Verdict

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LABELS_TOPIC = "emotion-labels"


def label(answer: LabelName = "joy", **more: object) -> Label:
    """One label; `more` are its fields."""
    fields: dict[str, object] = {
        "id": "7",
        "source": "tweets",
        "label": answer,
        "score": 0.9,
        "scores": scores_for(answer, 0.9),
        "neutral": 0.9 if answer == "neutral" else 0.05,
        "model": "mini@1",
        "created_at": NOW,
        "labelled_at": NOW,
        "input": "tweets/0/7",
        "text": "we won!!",
        **more,
    }
    return msgspec.convert(fields, Label)


def scores_for(answer: LabelName, best: float) -> Scores:
    """Scores whose best is the answer's."""
    rest = (1 - best) / (len(EMOTIONS) - 1)
    chosen = answer if answer in EMOTIONS else "joy"
    return Scores(*(best if emotion == chosen else rest for emotion in EMOTIONS))


def correction(said: LabelName = "joy", offset: int = 41, **more: object) -> Correction:
    """A correction of the label at `offset`; `more` are its fields."""
    fields: dict[str, object] = {
        "id": "7",
        "label": said,
        "label_ref": f"{LABELS_TOPIC}/0/{offset}",
        "by": "ann",
        "at": NOW,
        **more,
    }
    return msgspec.convert(fields, Correction)


def record(value: bytes | None, at: datetime | None = NOW, offset: int = 3) -> Record:
    """As it would come from the corrections topic; `at` is Kafka's timestamp."""
    timestamp_ms = -1 if at is None else round(at.timestamp() * 1000)
    return Record("emotion-corrections", 0, offset, b"7", value, timestamp_ms)


def judgement(answer: LabelName, *said: LabelName, number: int = 0, **more: object) -> Judgement:
    """A label and what people say of it, each another person."""
    verdicts = {f"person-{i}": Verdict(what, NOW, i) for i, what in enumerate(said)}
    return Judgement(
        label_ref=f"{LABELS_TOPIC}/0/{number}",
        label=label(answer, input=f"tweets/0/{number}", **more),
        verdicts=verdicts,
    )


def simulated(n: int, accuracy: float, rng: random.Random, model: str = "mini@1") -> Iterator[Judgement]:
    """Judgements of a model that is right with this probability, each time by chance."""
    for number in range(n):
        truth = rng.choice(LABELS)
        answer = truth if rng.random() < accuracy else rng.choice([x for x in LABELS if x != truth])
        yield judgement(answer, truth, number=number, model=model)


def ago(**past: float) -> datetime:
    """A time before `NOW`."""
    return NOW - timedelta(**past)


class MemoryCorrectionLog:
    """A `CorrectionLog` whose topic is a list; offsets that it lacks are markers, or were rolled back."""

    def __init__(
        self, records: Iterable[Record] = (), committed: int = -1001, end: int | None = None
    ) -> None:
        """`committed`: by the group; negative for nothing. `end`: the offset after the last, or a marker."""
        self.records = list(records)
        self.committed = committed
        self.end = end
        self.unanswered = 0
        """How many questions go unanswered from now on."""

    def between(self, done: int, end: int) -> Found:
        if self.unanswered:
            self.unanswered -= 1
            raise UnansweredError("nobody is there")
        last = max((one.offset + 1 for one in self.records), default=0) if self.end is None else self.end
        start = max(done, self.committed)
        found = [one for one in self.records if start <= one.offset < end]
        return Found(found, min(end, max(last, start)))
