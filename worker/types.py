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

Short = Annotated[str, msgspec.Meta(max_length=1024)]
"""Names and ids travel on with the label, so a hostile one must not grow past what the output topic takes."""


MAX_LABEL_TEXT = 2000
"""Characters. A label must never grow past what its topic takes, and nothing downstream reads further."""


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """One input message of `tweets` or `feedback`. Unknown fields are ignored."""

    id: Short | int
    text: str
    created_at: datetime | float | int | None = None
    """RFC 3339, or seconds (below 1e11) or milliseconds since the epoch."""
    author_id: Short | int | None = None
    lang: Short | None = None
    source: Short | None = None
    reply_to: Short | int | None = None


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
    text: str | None = None
    """The post's text, its first `MAX_LABEL_TEXT` characters; absent where `worker.label_text` is off.

    Terms, tracked queries and the live page need it: they read this topic alone.
    """


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """One message of `emotion-corrections`: what a person says that a post expresses."""

    id: Short | int
    """Of the post."""
    label: LabelName
    label_ref: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9._-]{1,249}/[0-9]{1,10}/[0-9]{1,19}$")]
    """`topic/partition/offset` of the label that is corrected."""
    by: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    """Who says so."""
    at: Annotated[datetime, msgspec.Meta(tz=True)]


AlertKind = Literal["emotion", "volume", "drift"]
DriftMeasure = Literal["confidence", "length", "language", "labels"]


class AlertWindow(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """The span of event time that an alert is about, as the trends API takes it: `?from=...&to=...`."""

    start: int
    """Epoch seconds."""
    end: int
    """Epoch seconds, not included."""


class Alert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message of `emotion-alerts`.

    A spike (`emotion`, `volume`): far more posts than this hour of the week usually has. A `drift`: labels
    look other than the model's usually do; then `value` and `baseline` are population stability indexes.
    """

    id: str
    """Made of series and window, and the record's key: the same spike has the same id whoever finds it."""
    kind: AlertKind
    """`emotion`: the posts that express one, by number and by share. `volume`: all posts (of a query).
    `drift`: the model, or what it reads."""
    window: AlertWindow
    value: int | float
    """Posts in the window; of a drift, how far its labels are from the usual ones."""
    baseline: float
    """Posts that such a window usually has; of a drift, how far usual hours are."""
    ratio: float
    """`value / baseline`, with a baseline of at least one post (0.01 of a drift)."""
    n: int
    """All posts in the window that `value` is a part of, or about."""
    measure: DriftMeasure | None = None
    """Of a drift, in what: `labels` is the mix that a new model gives, the others are within each emotion."""
    share_baseline: float | None = None
    """The part of `n` that `value` usually is; absent where there is nothing to be a part of."""
    emotion: Emotion | None = None
    """Absent where kind is `volume`; of a drift present where the labels of one emotion alone are meant."""
    query: str | None = None
    """Name of the tracked query; absent where the alert is about all posts."""
    terms: tuple[str, ...] = ()
    """What these posts speak of more than others, best first."""
    samples: tuple[str | int, ...] = ()
    """Ids of some of these posts."""
    models: tuple[str, ...] = ()
    """`name@version` of what labelled the posts of the window, most first; of a drift the model that is
    meant, and behind it the one that it followed, where the labels are meant."""
    at: datetime
    """When it was found."""


class Verdict(msgspec.Struct, frozen=True):
    """What one person says last about one label."""

    label: LabelName
    at: datetime
    offset: int
    """Of the correction in `emotion-corrections`; decides between two of the same time."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """One message of `emotion-judgements`, whose key is `label_ref`: a label and what people say of it.

    The label is kept whole but for its author: it leaves its own topic long before the judgement goes.
    """

    label_ref: str
    """`topic/partition/offset` of the label."""
    label: Label
    verdicts: dict[str, Verdict]
    """By who says so; never empty."""


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


Headers = list[tuple[str, str | bytes | None]]
"""As confluent-kafka takes them; it gives their values as bytes."""


class Record(msgspec.Struct, frozen=True):
    """One record as it came from a topic, not yet looked into."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    """Kafka's timestamp in milliseconds; -1 where there is none."""
    headers: Headers = []


ANY_PARTITION = -1
"""Kafka's client chooses: records of one key share a partition."""


class OutRecord(NamedTuple):
    """One record on its way out."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = []  # noqa: RUF012 - shared and never changed
    partition: int = ANY_PARTITION


class Classified(NamedTuple):
    """A model's answer for `n` texts, in the order of the texts."""

    scores: NDArray[np.float64]
    """(n, 6) calibrated probabilities over `EMOTIONS`; each row adds up to 1."""
    neutral: NDArray[np.float64]
    """(n,) calibrated probability that none of the six is expressed."""
    label: NDArray[np.intp]
    """(n,) index into `LABELS`."""
    energy: NDArray[np.float64]
    """(n,) log of the sum of the exponentials of the six emotions' logits: how strongly the network answers
    at all, whichever emotion it is. It is low for texts unlike those of the training (Liu et al. 2020,
    "Energy-based Out-of-distribution Detection"; theirs has the other sign). NaN where only labels are
    known."""
