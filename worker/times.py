"""Points in time and durations as people write them. Pure."""

from __future__ import annotations

import re
from datetime import datetime

import msgspec

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
_SECONDS = re.compile(r"[0-9]{1,20}(\.[0-9]{1,9})?")
_LATEST = 100_000_000_000
"""Epoch seconds of the year 5138: a larger number is one of milliseconds."""


def duration_s(text: str) -> int | None:
    """Seconds of a duration such as `5m`, `1h` or `2d`; None where it is none."""
    found = _DURATION.fullmatch(text)
    return int(found[1]) * _UNITS[found[2]] if found else None


def moment(text: str, now: float) -> float:
    """Epoch seconds of a point in time: RFC 3339, epoch seconds, `now`, or relative to it (`-1h`).

    Raises:
        ValueError: it is none; the message says what it must do.
    """
    ago_s = duration_s(text.removeprefix("-")) if text.startswith("-") else None
    if text == "now":
        found = now
    elif ago_s is not None:
        found = now - ago_s
    elif _SECONDS.fullmatch(text):
        found = float(text)
    else:
        found = _rfc3339(text)
    if not 0 <= found < _LATEST:
        raise ValueError("lie between 1970 and 5138; epoch times are in seconds")
    return found


def _rfc3339(text: str) -> float:
    # A plus sign that was not written as %2B in a URL arrives as a space.
    try:
        found = msgspec.convert(text.replace(" ", "+"), datetime)
    except msgspec.ValidationError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError(
            "be RFC 3339 with a time zone (2026-01-01T12:00:00Z), epoch seconds, now, or relative such as -1h"
        )
    return found.timestamp()
