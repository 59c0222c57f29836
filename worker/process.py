"""What every long-running role shares: signals, logs, and an end that is never silent."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import FrameType

import msgspec
from prometheus_client import ProcessCollector

from worker import metrics as m
from worker.clock import Clock, SystemClock
from worker.metrics import Metrics
from worker.settings import LogSettings, Settings

VERSION = version("moodstream")
_FORCED = 130
_GARBAGE_EVERY = 100_000
"""Container objects: a few batches' worth."""
_LAST_WORD_S = 5.0
"""After its drain deadline a role has this long to leave by itself."""

Role = Callable[[Settings, Metrics, Clock, "Stop"], None]

log = logging.getLogger(__name__)


class Stop(threading.Event):
    """Set when the role should end; remembers when."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._since: float | None = None

    def set(self) -> None:
        if self._since is None:
            self._since = self._clock.monotonic()
        super().set()

    def overdue(self, allowed_s: float) -> bool:
        """Whether it was set more than `allowed_s` seconds ago."""
        return self._since is not None and self._clock.monotonic() - self._since > allowed_s


def run_role(name: str, role: Role, settings: Settings, *, drain_s: float) -> None:
    """Run a role until it ends or SIGTERM or SIGINT asks it to; a second signal ends the process at once.

    Raises:
        MoodstreamError: whatever the role raises.
    """
    configure_logs(settings.log)
    clock = SystemClock()
    stop = Stop(clock)
    _on_signals(stop, drain_s)
    metrics = Metrics()
    ProcessCollector(registry=metrics.registry)  # process_start_time_seconds, memory, CPU, open files
    metrics.gauge(m.BUILD_INFO).labels(VERSION, name).set(1)
    log.info("%s %s starts", name, VERSION)
    role(settings, metrics, clock, stop)
    log.info("%s has finished and committed what it held", name)


def _on_signals(stop: Stop, drain_s: float) -> None:
    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            log.warning("second signal: ending at once")
            os._exit(_FORCED)
        log.info("%s: finishing within %.0f s", signal.Signals(number).name, drain_s)
        stop.set()
        # The last resort against a server or a model that hangs: what is not committed is read again.
        watchdog = threading.Timer(drain_s + _LAST_WORD_S, _end_overdue)
        watchdog.daemon = True
        watchdog.start()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def _end_overdue() -> None:
    log.error("did not finish in time: ending; what was not committed will be read again")
    os._exit(0)


@contextmanager
def few_garbage_collections() -> Iterator[None]:
    """Records die young and in no cycles; by default Python looks for cycles every 700 of them.

    What is loaded now stays for good and need not be looked at again. A quarter of the host's time a post.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_EVERY)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


class _JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("trace_id", "span_id"):  # where worker.tracing has put them on it
            if hasattr(record, name):
                entry[name] = getattr(record, name)
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry).decode()


def configure_logs(settings: LogSettings) -> None:
    """Logs go to standard error: text where a person is watching, else JSON."""
    handler = logging.StreamHandler(sys.stderr)
    people = sys.stderr.isatty() if settings.format == "auto" else settings.format == "text"
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s") if people else _JsonFormatter()
    )
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
