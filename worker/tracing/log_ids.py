"""The ids of the span that a log line is written in, for `log.format=json`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace


class _Ids(logging.Filter):
    """Lets everything pass, with the ids on it; of a span that nobody records none, which lead nowhere."""

    def filter(self, record: logging.LogRecord) -> bool:
        context = trace.get_current_span().get_span_context()
        if context.is_valid and context.trace_flags.sampled:
            record.trace_id = trace.format_trace_id(context.trace_id)
            record.span_id = trace.format_span_id(context.span_id)
        return True


@contextmanager
def ids_in_logs() -> Iterator[None]:
    """While this is open, the lines of all logs that go through the root's handlers have ids."""
    ids, handlers = _Ids(), tuple(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(ids)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(ids)
