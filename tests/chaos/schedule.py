"""Which fault happens when: a pure function of the seed.

Every fault has one victim, and a victim one fault at a time. What may be away at once is bounded, so that the
stream can always go on: one broker (its return included), two of three workers, the trends and Redis as they
come, since labels do not wait for them.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import NamedTuple

WORKERS = ("worker-0", "worker-1", "worker-2")
TRENDS = ("trends-0", "trends-1")
BROKERS = ("broker-0", "broker-1", "broker-2")
REDIS = "redis"
GUEST = "guest"
"""Members of the workers' group that come and go."""
PRODUCER = "producer"

GAP_S = (3.5, 9.5)
"""Between the beginnings of two faults: 6.5 s on average."""
_QUIET_END_S = 6.0
_LIMIT = {"worker": 2, "trends": 2, "broker": 1, "redis": 1, "guest": 1, "producer": 1}
_SETTLE_S = {"worker": 4.0, "trends": 4.0, "broker": 12.0, "redis": 3.0, "guest": 5.0, "producer": 0.0}
"""After the end of a fault, until its victim may have the next: it has to start and to catch up."""


class Fault(NamedTuple):
    """One thing that goes wrong."""

    at_s: float
    kind: str
    victim: str
    lasts_s: float
    amount: float = 0.0
    """What the kind makes of it: seconds of delay, bytes a second, a number of records."""
    peer: str = ""
    """Of a link: the other end; `*` is every broker."""

    def __str__(self) -> str:
        more = f" to {self.peer}" if self.peer else ""
        more += f" ({self.amount:g})" if self.amount else ""
        return f"{self.at_s:7.1f} s  {self.kind} {self.victim}{more} for {self.lasts_s:.1f} s"


class Kind(NamedTuple):
    """What faults of one kind look like."""

    victims: Sequence[str]
    spans: Sequence[tuple[float, float]]
    """Seconds that it lasts; one of these ranges."""
    weight: int
    amount: tuple[float, float] = (0.0, 0.0)
    link: bool = False


_SHORT_OR_ZOMBIE = ((0.5, 4.0), (9.0, 20.0))
"""Below and beyond the group's session timeout."""

KINDS: dict[str, Kind] = {
    "kill_worker": Kind(WORKERS, ((0.5, 6.0), (8.0, 14.0)), 6),
    "stop_worker": Kind(WORKERS, _SHORT_OR_ZOMBIE, 6),
    "end_worker": Kind(WORKERS, ((0.5, 3.0),), 2),
    "kill_trends": Kind(TRENDS, ((0.5, 6.0), (8.0, 14.0)), 4),
    "stop_trends": Kind(TRENDS, _SHORT_OR_ZOMBIE, 4),
    "kill_broker": Kind(BROKERS, ((1.0, 12.0),), 4),
    "stop_broker": Kind(BROKERS, ((0.5, 2.5), (4.0, 12.0)), 3),
    "end_broker": Kind(BROKERS, ((0.5, 4.0),), 2),
    "stop_two_brokers": Kind(BROKERS, ((1.0, 5.0),), 1),
    "kill_redis": Kind((REDIS,), ((0.5, 8.0),), 3),
    "stop_redis": Kind((REDIS,), ((0.5, 8.0),), 3),
    "redis_loses_a_second": Kind((REDIS,), ((0.5, 4.0),), 2),
    "cut_link": Kind((*WORKERS, *TRENDS), ((0.2, 3.0), (9.0, 16.0)), 4, link=True),
    "silence_link": Kind((*WORKERS, *TRENDS), ((0.5, 3.0), (9.0, 16.0)), 4, link=True),
    "delay_link": Kind((*WORKERS, *TRENDS), ((5.0, 15.0),), 3, amount=(0.02, 0.4), link=True),
    "throttle_link": Kind((*WORKERS, *TRENDS), ((5.0, 15.0),), 3, amount=(4_000, 60_000), link=True),
    "rebalance_storm": Kind((GUEST,), ((8.0, 15.0),), 3),
    "clock_step": Kind((*WORKERS, *TRENDS), ((6.0, 15.0),), 3, amount=(-7200, 7200)),
    "full_disk": Kind(("broker-2",), ((3.0, 10.0),), 2),
    "poison_burst": Kind((PRODUCER,), ((0.0, 0.0),), 3, amount=(100, 600)),
}


def schedule(
    seed: int,
    duration_s: float,
    kinds: Collection[str] = tuple(KINDS),
    gap_s: tuple[float, float] = GAP_S,
) -> tuple[Fault, ...]:
    """The faults of a run in the order of their beginnings; all of them end within `duration_s`.

    Kinds come from a shuffled deck in which each stands as often as it weighs, so that a long run has all of
    them in proportion.
    """
    rng = random.Random(seed)
    deck: list[str] = []
    found: list[Fault] = []
    at = rng.uniform(1.0, 3.0)
    while at < duration_s - _QUIET_END_S:
        busy = [fault for fault in found if fault.at_s + fault.lasts_s + _SETTLE_S[_class(fault.victim)] > at]
        if not deck:
            deck = [name for name in sorted(kinds) for _ in range(KINDS[name].weight)]
            rng.shuffle(deck)
        fault = _first_possible(rng, deck, at, duration_s, busy)
        if fault is None:
            at += 1.0
            deck.clear()
            continue
        deck.remove(fault.kind)
        found.append(fault)
        at += rng.uniform(*gap_s)
    return tuple(found)


def _first_possible(
    rng: random.Random, deck: Sequence[str], at: float, end: float, busy: Sequence[Fault]
) -> Fault | None:
    taken = {fault.victim for fault in busy}
    away: dict[str, int] = {}
    for fault in busy:
        away[_class(fault.victim)] = away.get(_class(fault.victim), 0) + 1
    for name in deck:
        kind = KINDS[name]
        free = [
            victim
            for victim in kind.victims
            if victim not in taken and away.get(_class(victim), 0) < _LIMIT[_class(victim)]
        ]
        if free:
            return _draw(rng, name, kind, rng.choice(free), at, end)
    return None


def _draw(rng: random.Random, name: str, kind: Kind, victim: str, at: float, end: float) -> Fault:
    lasts = min(rng.uniform(*rng.choice(kind.spans)), end - at)
    peer = ""
    if kind.link:
        peers = ["*", *BROKERS] + ([REDIS, REDIS] if victim in TRENDS else [])
        peer = rng.choice(peers)
    return Fault(round(at, 3), name, victim, round(lasts, 3), round(rng.uniform(*kind.amount), 3), peer)


def _class(victim: str) -> str:
    return victim.partition("-")[0]
