"""When posts are in time again. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.monitor import Arrival

IN_TIME_S = 1.5
"""From sent to labelled and committed: twice what the slowest take at such a load when nothing happens."""
CALM_S = 5.0
"""So long must all posts be in time."""


def steady_s(arrivals: Sequence[Arrival], since: float, now: float, per_s: float) -> float | None:
    """Seconds from `since` until the last label that was late; None while it cannot be said yet.

    Args:
        arrivals: Labels in the order in which they came.
        since: Wall clock, when something happened.
        now: Wall clock.
        per_s: Labels that ought to come; with fewer than four fifths of them, posts are still on their way.
    """
    recent = [one for one in arrivals if one.at > now - CALM_S]
    if now < since + CALM_S or len(recent) < 0.8 * per_s * CALM_S:
        return None
    if any(one.delay_s > IN_TIME_S for one in recent):
        return None
    late = [one.at for one in arrivals if one.at >= since and one.delay_s > IN_TIME_S]
    return max(late, default=since) - since
