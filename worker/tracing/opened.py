"""A role's tracer: opened with the role, closed after it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from worker.errors import ConfigurationError
from worker.metrics import Metrics
from worker.settings import TracingSettings

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_FLUSH_SHARE = 0.1
"""Of the time that a role has to finish: what it holds matters more than what is told of it."""
_FLUSH_S = 2.0


@contextmanager
def opened(
    settings: TracingSettings, *, role: str, instance: str | None, metrics: Metrics, drain_s: float
) -> Iterator[Tracer | None]:
    """The tracer that the settings ask for; None where they ask for none.

    Leaving sends what is left, within a tenth of `drain_s` and two seconds at most.

    Args:
        settings: Where spans go.
        role: The service's name is made of it.
        instance: A name that is this process's alone; None: one is drawn.
        metrics: Where spans are counted.
        drain_s: How long the role may take to finish.

    Raises:
        ConfigurationError: the extra is missing, or an `OTEL_*` variable cannot be used.
    """
    if settings.url is None:
        yield None
        return
    if not _installed():
        raise ConfigurationError(
            [
                "tracing.endpoint (MOODSTREAM_TRACING__ENDPOINT) needs OpenTelemetry: pip install "
                "'moodstream[tracing]', or in a checkout: make install EXTRA=tracing"
            ]
        )
    from worker.tracing.export import exporting

    with exporting(
        settings,
        service=f"moodstream-{role}",
        instance=instance,
        metrics=metrics,
        flush_s=min(_FLUSH_S, drain_s * _FLUSH_SHARE),
    ) as tracer:
        yield tracer


def _installed() -> bool:
    try:
        return all(importlib.util.find_spec(name) is not None for name in _NEEDED)
    except ModuleNotFoundError:  # a parent of it is missing
        return False
