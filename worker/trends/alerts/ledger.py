"""What was found and what is still to be delivered, in Redis: each alert once, whoever finds it how often.

    {moodstream:emotion-labels}:alerts:lease          who looks for spikes now; its token fences all writes
    {moodstream:emotion-labels}:alerts:by-time        zset of ids by the end of their window
    {moodstream:emotion-labels}:alerts:by-id          hash of id -> alert
    {moodstream:emotion-labels}:alerts:quiet          zset of series by the end of their last alert's window
    {moodstream:emotion-labels}:alerts:to:kafka       list of alerts that are not in Kafka yet
    {moodstream:emotion-labels}:alerts:to:3f2a9c...   list of alerts for a webhook, named by its address' hash

Recording an alert and queueing it is one script (`emit.lua`), so an alert that was found is delivered even if
this process dies in between. It leaves its queue when it was delivered; a crash just then delivers it twice,
under the same id.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any, Literal, NamedTuple, Protocol

import msgspec
from redis import Redis

from worker.trends.redis_connection import reaching
from worker.types import Alert

KAFKA = "kafka"

_LEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') and 1 or 0
"""
_RELEASE = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0"
_DELIVERED = """
if redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('LINDEX', KEYS[2], 0) == ARGV[2] then
  redis.call('LPOP', KEYS[2])
  return 1
end
return 0
"""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Alert).decode


class Keyed(Protocol):
    """What is not told again for a while: a series of counts, or a drift."""

    @property
    def key(self) -> str: ...


class LedgerKeys(NamedTuple):
    """The names for one labels topic in one namespace. One hash tag: all live on one node of a cluster."""

    namespace: str
    topic: str

    def of(self, name: str) -> str:
        return f"{{{self.namespace}:{self.topic}}}:alerts:{name}"


class Recorded(NamedTuple):
    """What became of an alert."""

    outcome: Literal["new", "known", "quiet", "fenced"]
    """`known`: recorded before. `quiet`: its series has had one. `fenced`: another instance looks now."""
    dropped: dict[str, int] = {}  # noqa: RUF012 - never changed
    """Channel -> alerts that had to leave its full queue."""


class Ledger:
    """The alerts of one labels topic. Every method raises StoreUnavailableError. Threads may share it."""

    def __init__(
        self,
        client: Redis,
        keys: LedgerKeys,
        *,
        channels: Iterable[str],
        keep_s: int,
        max_kept: int,
        max_queued: int,
        lease_s: float,
    ) -> None:
        self._client = client
        self._keys = keys
        self.channels = tuple(channels)
        self._keep_s = keep_s
        self._max_kept = max_kept
        self._max_queued = max_queued
        self._lease_ms = int(lease_s * 1000)
        self._token = secrets.token_hex(16)
        script = resources.files("worker.trends.alerts").joinpath("emit.lua").read_text(encoding="utf-8")
        self._emit = client.register_script(script)
        self._take = client.register_script(_LEASE)
        self._release = client.register_script(_RELEASE)
        self._delivered = client.register_script(_DELIVERED)

    def lead(self) -> bool:
        """Take or renew the lease: whether this instance is the one that looks for spikes and delivers."""
        with reaching():
            return bool(self._take(keys=[self._keys.of("lease")], args=[self._token, self._lease_ms]))

    def let_go(self) -> None:
        """Give the lease back, so that another instance takes over at once."""
        with reaching():
            self._release(keys=[self._keys.of("lease")], args=[self._token])

    def record(self, alert: Alert, series: Keyed, cooldown_s: int) -> Recorded:
        """Record an alert and queue it for every channel, unless it is known or its series is to be quiet."""
        names = ("lease", "by-time", "by-id", "quiet", *(f"to:{channel}" for channel in self.channels))
        with reaching():
            outcome, *dropped = self._emit(
                keys=[self._keys.of(name) for name in names],
                args=[
                    self._token,
                    alert.id,
                    _encode(alert),
                    series.key,
                    alert.window.end,
                    cooldown_s,
                    self._max_kept,
                    self._keep_s,
                    self._max_queued,
                ],
            )
        counts = dict(zip(self.channels, map(int, dropped), strict=False))
        return Recorded(outcome.decode(), counts)

    def quiet(self, series: Sequence[Keyed]) -> list[int | None]:
        """For each series the end of its last alert's window, where it had one."""
        if not series:
            return []
        with reaching():
            ends = self._client.zmscore(self._keys.of("quiet"), [one.key for one in series])
        return [None if end is None else int(end) for end in ends]

    def find(self, start: float, end: float, limit: int) -> list[Alert]:
        """The newest alerts whose windows end after `start` and not after `end`, newest first."""
        with reaching():
            ids = self._client.zrevrangebyscore(self._keys.of("by-time"), end, f"({start}", 0, limit)
            found = self._client.hmget(self._keys.of("by-id"), [*map(_text, ids)]) if ids else []
        return [_decode(body) for body in found if body is not None]

    def next_for(self, channel: str) -> Alert | None:
        """The oldest alert that a channel has not had."""
        with reaching():
            body = self._client.lindex(self._keys.of(f"to:{channel}"), 0)
        return None if body is None else _decode(body)

    def delivered(self, channel: str, alert: Alert) -> bool:
        """Take it out of the channel's queue; false where that is no longer ours to do."""
        keys = [self._keys.of("lease"), self._keys.of(f"to:{channel}")]
        with reaching():
            return bool(self._delivered(keys=keys, args=[self._token, _encode(alert)]))

    def waiting(self, channel: str) -> int:
        """How many alerts a channel has not had."""
        with reaching():
            return int(self._client.llen(self._keys.of(f"to:{channel}")))


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def channel_of(url: str) -> str:
    """The name of a webhook's queue: it stays when others come and go, and does not give the address away."""
    return hashlib.sha256(url.encode()).hexdigest()[:12]
