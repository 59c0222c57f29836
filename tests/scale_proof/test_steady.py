"""When posts count as in time again."""

from __future__ import annotations

from tests.chaos.monitor import Arrival
from tests.scale_proof.steady import CALM_S, IN_TIME_S, steady_s

PER_S = 10.0


def labels(*spans: tuple[float, float, float]) -> list[Arrival]:
    """Ten labels a second from, until, each with that delay."""
    return [
        Arrival(start + n / PER_S, delay_s)
        for start, end, delay_s in spans
        for n in range(int((end - start) * PER_S))
    ]


def test_the_last_late_label_counts() -> None:
    seen = labels((0, 10, 0.2), (10, 17, 4.0), (17, 18, 0.2), (18, 19, IN_TIME_S + 0.1), (19, 30, 0.2))
    assert steady_s(seen, 9.0, 30.0, PER_S) == 18.9 - 9.0


def test_none_late_is_no_time_at_all() -> None:
    assert steady_s(labels((0, 30, 0.2)), 10.0, 20.0, PER_S) == 0.0


def test_what_was_late_before_does_not_count() -> None:
    assert steady_s(labels((0, 9, 5.0), (9, 30, 0.2)), 10.0, 20.0, PER_S) == 0.0


def test_it_cannot_be_said_too_early_or_while_some_are_late_or_missing() -> None:
    calm = labels((0, 30, 0.2))
    assert steady_s(calm, 28.0, 30.0, PER_S) is None
    assert steady_s(labels((0, 27, 0.2), (27, 30, 3.0)), 10.0, 30.0, PER_S) is None
    assert steady_s(labels((0, 20, 0.2)), 10.0, 20.0 + CALM_S, PER_S) is None
    assert steady_s(calm, 10.0, 30.0, 2 * PER_S) is None
