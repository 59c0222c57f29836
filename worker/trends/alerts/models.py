"""Which models labelled the posts of which hour, so that a new model is not taken for a mood.

Labels carry the model that gave them. The loop that counts them notes hour and model of a few labels a batch;
what matters is the mix, and whether two hours have about the same one. It is not exact and need not be: a
crash loses half a minute of it, and a rebuild doubles all of it alike.

    {moodstream:emotion-labels}:alerts:models:20447   hash of a day: "hour of the day|model" -> posts
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from redis import Redis

from worker.trends.alerts.baseline import DAY, Flags
from worker.trends.alerts.ledger import LedgerKeys
from worker.trends.counting import Batch
from worker.trends.redis_connection import reaching

SAME_MIX = 0.2
"""Largest total variation distance of two mixes that count as the same: of shares that a fifth of the posts
could move at most, and more than chance moves them between two models that share the work for good."""

_LOOKED_AT = 64
"""Labels of a batch."""
_MODELS_AT_ONCE = 32
"""Different models noted between two writes; a topic that names more is not ours."""

Mix = Mapping[str, int]
"""Posts by model."""


class ModelMix:
    """Notes and answers which models labelled which hour. `note` is called by the counting thread."""

    def __init__(self, client: Redis, keys: LedgerKeys, keep_s: int) -> None:
        self._client = client
        self._keys = keys
        self._keep_s = keep_s
        self._noted: Counter[tuple[int, str]] = Counter()
        self._lock = threading.Lock()
        self._rng = random.Random()  # noqa: S311 - a sample, not a secret
        self._days: dict[int, dict[int, Counter[str]]] = {}
        """Days that are over for long, as they were read."""

    def note(self, batch: Batch) -> None:
        """Note what labelled some posts of a batch."""
        events, worth = batch.events, max(1, len(batch.events) // _LOOKED_AT)
        if worth > 1:
            events = self._rng.sample(events, _LOOKED_AT)
        found = Counter(
            (event.cell.minute // 60, event.label.model)
            for event in events
            if event.label is not None and event.label.model
        )
        with self._lock:
            for hour_model, n in found.items():
                if hour_model in self._noted or len(self._noted) < _MODELS_AT_ONCE * DAY:
                    self._noted[hour_model] += n * worth

    def flush(self) -> None:
        """Write what was noted.

        Raises:
            StoreUnavailableError: it could not be written; it is kept for the next time.
        """
        with self._lock:
            noted, self._noted = self._noted, Counter()
        if not noted:
            return
        try:
            with reaching(), self._client.pipeline(transaction=False) as pipeline:
                for (hour, model), n in noted.items():
                    day, of_day = divmod(hour, DAY)
                    pipeline.hincrby(self._key(day), f"{of_day}|{model}", n)
                for day in {hour // DAY for hour, _ in noted}:
                    pipeline.expire(self._key(day), self._keep_s)
                pipeline.execute()
        except BaseException:
            with self._lock:
                self._noted.update(noted)
            raise

    def read(self, hours: range) -> list[Mix]:
        """The mix of each of these hours since the epoch; empty where nothing is known.

        Raises:
            StoreUnavailableError: it could not be read.
        """
        days = range(hours.start // DAY, -(-hours.stop // DAY))
        unread = [day for day in days if day not in self._days or day >= days.stop - 3]
        with reaching(), self._client.pipeline(transaction=False) as pipeline:
            for day in unread:
                pipeline.hgetall(self._key(day))
            answers = pipeline.execute()
        self._days = {day: mixes for day, mixes in self._days.items() if day >= days.start}
        for day, answer in zip(unread, answers, strict=True):
            self._days[day] = _parsed(answer)
        return [self._days[hour // DAY].get(hour % DAY, {}) for hour in hours]

    def _key(self, day: int) -> str:
        return self._keys.of(f"models:{day}")


def _parsed(answer: Mapping[bytes, bytes]) -> dict[int, Counter[str]]:
    found: dict[int, Counter[str]] = {}
    for field, n in answer.items():
        hour, _, model = field.decode(errors="replace").partition("|")
        found.setdefault(int(hour), Counter())[model] = int(n)
    return found


def comparable(mixes: Sequence[Mix], now: Mix) -> Flags:
    """(H,) whether each hour was labelled by about the same models as the hour in question.

    Hours of which nothing is known count as the same: silence after an upgrade helps nobody.
    """
    return np.array([distance(mix, now) <= SAME_MIX for mix in mixes], dtype=np.bool_)


def distance(one: Mix, other: Mix) -> float:
    """Total variation distance of two mixes, 0 (the same) to 1 (no model in common); 0 where one is empty."""
    n, m = sum(one.values()), sum(other.values())
    if not n or not m:
        return 0.0
    return sum(abs(one.get(model, 0) / n - other.get(model, 0) / m) for model in {*one, *other}) / 2


def by_share(mixes: Iterable[Mix]) -> tuple[str, ...]:
    """The models of some hours, most posts first."""
    total: Counter[str] = Counter()
    for mix in mixes:
        total.update(mix)
    return tuple(model for model, _ in total.most_common())
