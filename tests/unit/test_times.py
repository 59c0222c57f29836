from __future__ import annotations

import pytest

from worker.times import duration_s, moment

NOON = 1_767_268_800.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-01T12:00:00Z", NOON),
        ("2026-01-01T13:00:00+01:00", NOON),
        ("1767268800.5", NOON + 0.5),
        ("now", NOON),
        ("-90s", NOON - 90),
        ("-2w", NOON - 14 * 86_400),
    ],
)
def test_points_in_time(text: str, expected: float) -> None:
    assert moment(text, NOON) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "1h", "-1x", "2026-01-01T12:00", "1e3", "1767268800000"])
def test_what_is_none_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"RFC 3339|between 1970 and 5138"):
        moment(text, NOON)


def test_durations() -> None:
    assert duration_s("5m") == 300
    assert duration_s("-5m") is None
    assert duration_s("5") is None
