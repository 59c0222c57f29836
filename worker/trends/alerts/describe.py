"""An alert in words: one sentence for people, and what a webhook is sent. Pure functions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from worker.types import Alert

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""Slack's three: without them a term such as <!channel> would call everybody."""


def subject(alert: Alert) -> str:
    """What it is about: `anger`, `brand`, `anger about brand`, `all posts`; of a drift `confidence`."""
    if alert.kind == "drift":
        of = {"labels": "label mix of a new model"}.get(alert.measure or "", alert.measure or "labels")
        return of if alert.emotion is None else f"{of} of {alert.emotion}"
    if alert.emotion is None:
        return alert.query or "all posts"
    return alert.emotion if alert.query is None else f"{alert.emotion} about {alert.query}"


def sentence(alert: Alert) -> str:
    """What was seen, what is usual, and of how many."""
    start, end = (datetime.fromtimestamp(at, UTC) for at in (alert.window.start, alert.window.end))
    if alert.kind == "drift":
        since = f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
        beside = "".join(f" after {model}" for model in alert.models[1:])
        return (
            f"{subject(alert)}: {', '.join(alert.models[:1])}{beside} is {alert.value:.2f} (PSI) away from "
            f"the usual from {since}, over {alert.n:,} labels; usual hours are {alert.baseline:.2f} away"
        )
    said = (
        f"{subject(alert)}: {alert.value:,} posts from {start:%Y-%m-%d %H:%M} to {end:%H:%M} UTC, "
        f"{alert.ratio:.1f} times the usual {alert.baseline:,.0f}"
    )
    if alert.share_baseline is not None and alert.n:
        share = alert.value / alert.n
        said += f"; {share:.1%} of {alert.n:,} instead of {alert.share_baseline:.1%}"
    return said


def webhook_body(alert: Alert) -> bytes:
    """JSON that Slack's incoming webhooks take, and what understands them; `alert` is for programs."""
    title = f"{'Drift' if alert.kind == 'drift' else 'Spike'}: {subject(alert)}"
    body: dict[str, Any] = {
        "text": f"{title}. {sentence(alert)}".translate(_ENTITIES),
        "blocks": [
            {"type": "header", "text": _plain(title, 150)},
            {"type": "section", "text": _plain(sentence(alert), 3000)},
        ],
        "alert": alert,
    }
    facts = [
        f"{name}: {', '.join(map(str, values))}"
        for name, values in (("Terms", alert.terms), ("Samples", alert.samples), ("Model", alert.models))
        if values
    ]
    if facts:
        elements = [_plain(fact, 300) for fact in facts]
        body["blocks"].append({"type": "context", "elements": elements})
    return msgspec.json.encode(body)


def _plain(text: str, most: int) -> dict[str, Any]:
    """Text that Slack shows as it is, no longer than it takes."""
    return {
        "type": "plain_text",
        "text": text if len(text) <= most else text[: most - 1] + "…",
        "emoji": False,
    }
