"""What flows through moodstream: the messages on the topics and the records between the steps.

The wire types (`Post`, `Label`, `Correction`, `Alert`) are the contract with everyone else; JSON Schema
is generated from them. The rest lives only inside a process.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

Emotion = Literal["sadness", "joy", "love", "anger", "fear", "surprise"]
LabelName = Literal["sadness", "joy", "love", "anger", "fear", "surprise", "neutral"]

EMOTIONS: tuple[Emotion, ...] = ("sadness", "joy", "love", "anger", "fear", "surprise")
"""The six classes in the order of dair-ai/emotion's label ids (0 to 5)."""

NEUTRAL: LabelName = "neutral"
"""What the calibrated gate answers where none of the six is expressed."""

LABELS: tuple[LabelName, ...] = (*EMOTIONS, NEUTRAL)

_Short = Annotated[str, msgspec.Meta(max_length=1024)]
"""Names and ids travel on with the label, so a hostile one must not grow past what the output topic takes."""


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """One input message of `tweets` or `feedback`. Unknown fields are ignored."""

    id: _Short | int
    text: str
    created_at: datetime | float | int | None = None
    """RFC 3339, or seconds (below 1e11) or milliseconds since the epoch."""
    author_id: _Short | int | None = None
    lang: _Short | None = None
    source: _Short | None = None
    reply_to: _Short | int | None = None


class Scores(msgspec.Struct, frozen=True):
    """Calibrated probabilities of the six emotions; they add up to 1."""

    sadness: float
    joy: float
    love: float
    anger: float
    fear: float
    surprise: float


class Label(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message of `emotion-labels`: what a post expresses."""

    id: str | int
    source: str
    """The post's own source, else the topic that it came from."""
    label: LabelName
    score: float
    """Probability of `label`: of the emotion among the six, or of neutral."""
    scores: Scores
    neutral: float
    """Probability that none of the six is expressed; 0 where the model has no gate."""
    model: str
    """`name@version` of the artefact that answered."""
    created_at: datetime
    """When the post was written; where it does not say, when Kafka took it."""
    labelled_at: datetime
    input: str
    """`topic/partition/offset` of the input: unique, so that anyone downstream can deduplicate."""
    lang: str | None = None
    author_id: str | int | None = None


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


class Record(msgspec.Struct, frozen=True):
    """One record as it came from a topic, not yet looked into."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    """Kafka's timestamp in milliseconds; -1 where there is none."""


Headers = list[tuple[str, str | bytes | None]]
"""As confluent-kafka takes them."""


class OutRecord(NamedTuple):
    """One record on its way out."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = []  # noqa: RUF012 - shared and never changed


class Classified(NamedTuple):
    """A model's answer for `n` texts, in the order of the texts."""

    scores: NDArray[np.float64]
    """(n, 6) calibrated probabilities over `EMOTIONS`; each row adds up to 1."""
    neutral: NDArray[np.float64]
    """(n,) calibrated probability that none of the six is expressed."""
    label: NDArray[np.intp]
    """(n,) index into `LABELS`."""
