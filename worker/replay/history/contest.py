"""Models that answer the same posts: each part goes through the loop once for each of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from string import ascii_uppercase

import msgspec
import numpy as np
from numpy.typing import NDArray

from worker.clock import Clock
from worker.errors import ConfigurationError
from worker.model import artifact as artifacts
from worker.model.artifact import MANIFEST
from worker.model.bundled import bundled_model
from worker.model.classifier import Classifier
from worker.replay.offline import run_records
from worker.replay.serving import opened, with_named_model
from worker.settings import Settings, TopicSettings
from worker.stream.decode import decode
from worker.stream.decoders import Decode
from worker.types import LABELS, Label, LabelName, OutRecord, Record, Scores

DELETION = "deletion"
LABELLED = "label"

_MOST = 8
_GATES = (",gate=on", ",gate=off")


class Entrant(msgspec.Struct, frozen=True):
    """A model that takes part, before it is opened."""

    letter: str
    """A, B, ... in the order given."""
    name: str
    """`name@version`."""
    manifest_sha256: str
    """Of the artefact's manifest, which pins all its files."""
    gate: str
    backend: str


def entrants(settings: Settings, models: Sequence[str]) -> list[tuple[Entrant, Settings]]:
    """The models that take part, each with the settings that open it; checked, not loaded.

    Args:
        settings: For all of them.
        models: Folders, `NAME@VERSION` of the shelf, or `bundled`; `,gate=off` behind one asks it for one
            of the six emotions always. Empty: the model of the settings.

    Raises:
        ConfigurationError: there are too many, or two are the same.
        ArtifactError: one must not be served.
    """
    if len(models) > _MOST:
        raise ConfigurationError([f"--model: {len(models)} are too many at once; {_MOST} at most"])
    found: list[tuple[Entrant, Settings]] = []
    for letter, given in zip(ascii_uppercase, models or [""], strict=False):
        chosen = _chosen(settings, given)
        artifact = artifacts.load(chosen.model.path or bundled_model())
        digest = hashlib.sha256((artifact.path / MANIFEST).read_bytes()).hexdigest()
        gate = chosen.model.gate
        if any((other.manifest_sha256, other.gate) == (digest, gate) for other, _ in found):
            raise ConfigurationError([f"--model {given}: the same model twice ({artifact.full_name})"])
        entrant = Entrant(letter, artifact.full_name, digest, gate, chosen.model.backend)
        found.append((entrant, chosen))
    return found


def _chosen(settings: Settings, given: str) -> Settings:
    for suffix in _GATES:
        if given.endswith(suffix):
            model = settings.model.model_copy(update={"gate": suffix.rpartition("=")[2]})
            return _chosen(settings.model_copy(update={"model": model}), given.removesuffix(suffix))
    return with_named_model(settings, given or None)


@dataclass
class Contestant:
    """A model at work."""

    entrant: Entrant
    classifier: Classifier
    settings: Settings


@contextmanager
def contestants(chosen: Sequence[tuple[Entrant, Settings]]) -> Iterator[list[Contestant]]:
    """All models, warm; closed at the end."""
    with ExitStack() as open_models:
        yield [
            Contestant(entrant, open_models.enter_context(opened(settings)), settings)
            for entrant, settings in chosen
        ]


class Facts(msgspec.Struct, frozen=True):
    """What is known of a record besides the answers."""

    partition: int
    offset: int
    timestamp_ms: int
    """Kafka's."""
    outcome: str
    """`label`, `deletion`, or the kind of a record that cannot be labelled."""
    reason: str | None = None
    """Why it cannot be labelled."""
    id: str | None = None
    created_at: datetime | None = None
    lang: str | None = None
    source: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class Answers:
    """What a contestant says to `n` records."""

    label: list[LabelName | None]
    """(n) None where it gave none."""
    scores: NDArray[np.float64]
    """(n, 6) over `EMOTIONS`; NaN where it gave none."""
    neutral: NDArray[np.float64]
    """(n,)"""

    @property
    def score(self) -> NDArray[np.float64]:
        """(n,) the probability of the label given, as labels carry it."""
        columns = np.column_stack([self.scores, self.neutral])
        index = [LABELS.index(label) if label is not None else 0 for label in self.label]
        best: NDArray[np.float64] = columns[np.arange(len(index)), index]
        return best


@dataclass(frozen=True)
class Answered:
    """A part, in the order of its records."""

    facts: list[Facts]
    answers: dict[str, Answers]
    """By the contestant's letter."""
    seconds: dict[str, float]
    """What each took, decoding and publishing in memory included."""


def answer_part(
    records: Sequence[Record], models: Sequence[Contestant], clock: Clock, decode: Decode = decode
) -> Answered:
    """Ask each model about some records of one partition.

    `decode`: what a record holds; JSON where not given.

    Raises:
        DataLossAvertedError: a model fails on most posts.
    """
    given: list[list[OutRecord]] = []
    seconds: dict[str, float] = {}
    for model in models:
        start = clock.monotonic()
        given.append(run_records(records, model.classifier, model.settings, clock, decode))
        seconds[model.entrant.letter] = clock.monotonic() - start
    topics = models[0].settings.topics
    labels = [[_label(record, topics) for record in out] for out in given]
    facts = [
        _facts(record, given[0][i], [column[i] for column in labels], topics)
        for i, record in enumerate(records)
    ]
    answers = {model.entrant.letter: as_answers(column) for model, column in zip(models, labels, strict=True)}
    return Answered(facts, answers, seconds)


_LABEL = msgspec.json.Decoder(Label)
_NONE = (float("nan"),) * 6


def _label(record: OutRecord, topics: TopicSettings) -> Label | None:
    """None of a dead letter or a deletion."""
    is_label = record.topic == topics.labels and record.value is not None
    return _LABEL.decode(record.value or b"") if is_label else None


def _facts(record: Record, given: OutRecord, labels: Sequence[Label | None], topics: TopicSettings) -> Facts:
    at = (record.partition, record.offset, record.timestamp_ms)
    label = next((label for label in labels if label is not None), None)
    if label is not None:
        return Facts(
            *at,
            LABELLED,
            id=str(label.id),
            created_at=label.created_at,
            lang=label.lang,
            source=label.source,
            text=label.text,
        )
    if given.topic != topics.dead_letters:
        return Facts(*at, DELETION)
    headers = dict(given.headers)
    return Facts(*at, _text(headers["moodstream.error"]), reason=_text(headers["moodstream.message"]))


def as_answers(labels: Sequence[Label | None]) -> Answers:
    """Labels as columns."""
    return Answers(
        label=[None if label is None else label.label for label in labels],
        scores=np.array(
            [_NONE if label is None else _six(label.scores) for label in labels], dtype=np.float64
        ).reshape(-1, 6),
        neutral=np.array([np.nan if label is None else label.neutral for label in labels]),
    )


def _six(scores: Scores) -> tuple[float, ...]:
    return msgspec.structs.astuple(scores)


def _text(value: str | bytes | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""
