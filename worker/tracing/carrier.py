"""The trace that a record belongs to, as its Kafka headers say it (W3C Trace Context). Pure."""

from __future__ import annotations

import re

from worker.types import Headers

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
LINKS = 128
"""Most records of a batch whose traces are gone into; OpenTelemetry's own bound on the links of a span."""
_FORM = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_LONGEST_STATE = 512


def context_of(headers: Headers) -> Headers:
    """The headers of a record that say its trace, fit to travel on; empty where it has none.

    Of several of one name the last counts, as elsewhere in Kafka. What is not well-formed goes no further:
    a label must never grow past what its topic takes.
    """
    parent: bytes | None = None
    state: bytes | None = None
    for name, value in headers:
        if name == TRACEPARENT:
            parent = value if isinstance(value, bytes) else None
        elif name == TRACESTATE:
            state = value if isinstance(value, bytes) else None
    if parent is None or not _FORM.fullmatch(parent):
        return []
    if not state or len(state) > _LONGEST_STATE:
        return [(TRACEPARENT, parent)]
    return [(TRACEPARENT, parent), (TRACESTATE, state)]


def is_sampled(context: Headers) -> bool:
    """Whether who began the trace records it; `context` is what `context_of` gave, and not empty."""
    parent = context[0][1]
    assert isinstance(parent, bytes)  # noqa: S101
    return bool(int(parent[-2:], 16) & 1)
