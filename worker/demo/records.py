"""From sample posts to the records that are sent: most are posts, some are broken, a few take one back.

Pure: the same seed makes the same records. Every record's key is an id of its own (a deletion's is that of
the post that it takes back), and the worker keeps keys, so that an answer is known by its key.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from worker.demo.moods import weights
from worker.demo.posts import Sample
from worker.types import LabelName

MALFORMED_SHARE = 0.02
DELETED_SHARE = 0.01
_AUTHORS = 250
_RECENT = 50
"""A deletion takes back one of this many last posts."""
_SOURCES: Mapping[str, tuple[str, ...]] = {
    "tweets": ("android", "android", "ios", "ios", "web"),
    "feedback": ("support", "support", "web"),
}

_encode = msgspec.json.Encoder().encode


OWN = b"demo-"
"""How every key begins: others may send to the demo's broker, and are told apart by it."""


class Kind(Enum):
    """What a record is, and so what must come back for it."""

    POST = "label"
    MALFORMED = "dead letter"
    DELETION = "tombstone"


class Made(NamedTuple):
    """A record to send."""

    topic: str
    key: bytes
    value: bytes | None
    kind: Kind
    text: str
    """What it says, to show; of a malformed one, what is wrong with it."""
    past: bool = False
    """Written before the demo began: counted in the trends, and in no other figure."""


class RecordMaker:
    """An endless stream of records: moods swing, and the samples of each come in rounds shuffled anew."""

    def __init__(self, samples: Sequence[Sample], seed: int = 4) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - not a secret
        self._samples = {
            mood: self._rounds([sample for sample in samples if sample.expected == mood])
            for mood in dict.fromkeys(sample.expected for sample in samples)
        }
        self._serial = 0
        self._faults = 0
        self._recent: deque[tuple[str, bytes]] = deque(maxlen=_RECENT)

    def make(self, now: float) -> Made:
        """The next record, written at `now` (seconds since the epoch)."""
        draw = self._rng.random()
        if draw < DELETED_SHARE and self._recent:
            return self._deletion()
        sample = next(self._samples[self._mood(now)])
        post = self._post(sample, now)
        key = b"%s%d" % (OWN, self._serial)
        if draw > 1 - MALFORMED_SHARE:
            return self._malformed(sample.topic, key, post)
        self._recent.append((sample.topic, key))
        return Made(sample.topic, key, _encode(post), Kind.POST, sample.text)

    def past(self, now: float, minutes: float, per_minute: float) -> Iterator[Made]:
        """Records of so many minutes before `now`, oldest first."""
        total = int(minutes * per_minute)
        for number in range(total):
            yield self.make(now - 60 * minutes * (1 - number / total))._replace(past=True)

    def _mood(self, now: float) -> LabelName:
        likely = weights(now)
        moods = list(self._samples)
        return self._rng.choices(moods, [likely[mood] for mood in moods])[0]

    def _rounds(self, samples: Sequence[Sample]) -> Iterator[Sample]:
        while True:
            yield from self._rng.sample(samples, len(samples))

    def _post(self, sample: Sample, now: float) -> dict[str, Any]:
        self._serial += 1
        # Both forms that the contract allows: a string, as most sources write it, and a number.
        number = sample.topic == "feedback"
        return {
            "id": self._serial if number else f"demo-{self._serial}",
            "text": sample.text,
            "created_at": datetime.fromtimestamp(now, UTC),
            "author_id": f"author-{self._rng.randrange(_AUTHORS)}",
            "lang": "en",
            "source": self._rng.choice(_SOURCES[sample.topic]),
        }

    def _malformed(self, topic: str, key: bytes, post: dict[str, Any]) -> Made:
        """Each way to be wrong in turn, so that a short demo shows all of them."""
        fault = list(FAULTS)[self._faults % len(FAULTS)]
        self._faults += 1
        return Made(topic, key, FAULTS[fault](post), Kind.MALFORMED, fault)

    def _deletion(self) -> Made:
        index = self._rng.randrange(len(self._recent))
        topic, key = self._recent[index]
        del self._recent[index]
        return Made(topic, key, None, Kind.DELETION, "")


def _without(post: Mapping[str, Any], name: str) -> bytes:
    return _encode({field: value for field, value in post.items() if field != name})


FAULTS: Mapping[str, Callable[[Mapping[str, Any]], bytes]] = {
    "invalid_utf8": lambda post: _encode(post).replace(b'"text":"', b'"text":"\xff\xfe', 1),
    "invalid_json": lambda post: _encode(post)[:-9],
    "missing_text": lambda post: _without(post, "text"),
    "empty_text": lambda post: _encode({**post, "text": "  "}),
    "wrong_type": lambda post: _encode({**post, "text": ["not", "a", "text"]}),
    "missing_id": lambda post: _without(post, "id"),
    "invalid_time": lambda post: _encode({**post, "created_at": "the day before yesterday"}),
}
"""How records go wrong, by the name that the worker's dead letters give it."""
