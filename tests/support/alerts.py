"""Alerts, and a ledger to record them in."""

from __future__ import annotations

from datetime import UTC, datetime

from redis import Redis

from worker.trends.alerts.ledger import KAFKA, Ledger, LedgerKeys, channel_of
from worker.trends.alerts.series import Series
from worker.types import Alert, AlertWindow, Emotion

HOUR = 3600
HOOK = channel_of("https://hooks.example/secret")
KEYS = LedgerKeys("moodstream", "emotion-labels")


def ledger(client: Redis, *, max_kept: int = 100, max_queued: int = 100, lease_s: float = 60) -> Ledger:
    return Ledger(
        client,
        KEYS,
        channels=(KAFKA, HOOK),
        keep_s=7 * 24 * HOUR,
        max_kept=max_kept,
        max_queued=max_queued,
        lease_s=lease_s,
    )


def alert(end: int = HOUR, emotion: Emotion = "joy", query: str | None = None) -> tuple[Alert, Series]:
    series = Series(query, emotion)
    return Alert(
        id=f"{series.key}/{end}",
        kind="emotion",
        window=AlertWindow(end - 1800, end),
        value=300,
        baseline=100.0,
        ratio=3.0,
        n=1000,
        share_baseline=0.1,
        emotion=emotion,
        query=query,
        samples=(1, "a|b"),
        at=datetime.fromtimestamp(end, UTC),
    ), series
