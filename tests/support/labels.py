"""Labels as the worker writes them, and what counting them must give."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from worker.trends.counting import Cell, Event
from worker.trends.windows import Trend
from worker.types import EMOTIONS

NOON = 1_767_268_800
"""2026-01-01T12:00:00Z, a whole hour."""


def label(emotion: str = "joy", source: str = "tweets", at: float = NOON, **more: object) -> bytes:
    """One message of the labels topic; `at` in epoch seconds."""
    message = {
        "id": "1",
        "source": source,
        "label": emotion,
        "score": 0.9,
        "scores": dict.fromkeys(EMOTIONS, 0.1),
        "neutral": 0.1,
        "model": "test@1",
        "created_at": datetime.fromtimestamp(at, UTC).isoformat(),
        "labelled_at": datetime.fromtimestamp(at + 1, UTC).isoformat(),
        "input": "tweets/0/1",
        **more,
    }
    return json.dumps(message).encode()


def event(offset: int, emotion: str = "joy", source: str = "tweets", at: float = NOON) -> Event:
    """One decoded label."""
    return Event(offset, Cell(int(at // 60), emotion, source))


def brute_force(cells: Iterable[Cell]) -> Counter[tuple[int, str]]:
    """Counts per minute (in epoch seconds) and emotion, the slow and obvious way."""
    return Counter((cell.minute * 60, cell.emotion) for cell in cells)


def counted(trend: Trend) -> Counter[tuple[int, str]]:
    """What a trend holds, in the same shape: step (in epoch seconds) and emotion; no zeros."""
    found: Counter[tuple[int, str]] = Counter()
    for emotion, counts in trend.counts.items():
        for number, n in enumerate(counts):
            if n:
                found[trend.window.start + number * trend.window.step, emotion] = n
    return found
