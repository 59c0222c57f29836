"""Carries out what operators set on the control topic: which model serves, which is its shadow, a pause.

What is wanted stands on the board; this compares it with what is, and does the difference, in a thread of its
own. A model is opened beside the one that serves: its files are checked against its manifest, and it is warm
before the loop hears of it. One that cannot be opened changes nothing but the report that says why.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from worker import metrics as m
from worker.clock import Clock
from worker.control.messages import BadControlError, Board, Compared, Report, Shadowing
from worker.errors import DependencyError, MoodstreamError
from worker.metrics import Metrics
from worker.stream.edges import Model, SecondModel
from worker.stream.loop import Loop
from worker.stream.shadow import Shadow

_REPORT_S = 10.0
"""How often the shadow's figures are told."""
_CLOSE_S = 10.0

Opened = TypeVar("Opened", Model, SecondModel)

Tell = Callable[[Report | None], None]
"""Tells operators about this worker; None: it has ended. Raises DependencyError."""

log = logging.getLogger(__name__)


class Operator:
    """What is wanted, made so. `heard` may be called from any thread."""

    def __init__(
        self,
        *,
        worker: str,
        loop: Loop,
        own: str,
        open_model: Callable[[str], Model],
        open_shadow: Callable[[str], SecondModel],
        tell: Tell,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`own`: the model that serves now, and whenever none is promoted."""
        self._worker = worker
        self._loop = loop
        self._own = self._serving = own
        self._open = open_model
        self._open_shadow = open_shadow
        self._tell = tell
        self._clock = clock
        self._metrics = metrics
        self._board = Board()
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._refused: tuple[str, str] | None = None
        """What could not be opened, and why."""
        self._told: datetime | None = None
        self._shadow: Shadow | None = None
        self._shadowing: Shadowing | None = None
        self._thread = threading.Thread(target=self._run, name="operator", daemon=True)

    def heard(self, key: bytes | None, value: bytes | None) -> None:
        """One message of the control topic, in order."""
        messages = self._metrics.counter(m.CONTROL)
        try:
            with self._lock:
                name = self._board.apply(key, value)
        except BadControlError as error:
            messages.labels("invalid").inc()
            log.warning("control message not carried out: %s", error)
            return
        messages.labels("applied").inc()
        if not name.startswith("worker/"):
            if name == "model":
                self._refused = None  # said again: tried again
            self._changed.set()

    def settle(self) -> None:
        """Do once, on the caller's thread, what is set already; then go on in a thread of its own."""
        self._changed.clear()
        self._carry_out()
        self._report()
        self._thread.start()

    def close(self) -> None:
        """End, and say so; what serves is the loop's to close."""
        self._closing.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)
        if self._shadow is not None:
            self._shadow.close()
            self._shadow.join(_CLOSE_S)
        try:
            self._tell(None)
        except DependencyError as error:
            log.info("operators were not told that this worker ends: %s", error)

    def _run(self) -> None:
        while not self._closing.is_set():
            asked = self._changed.wait(_REPORT_S)
            if self._closing.is_set():
                return
            self._changed.clear()
            try:
                if asked:
                    self._carry_out()
                if asked or self._shadow is not None:
                    self._report()
            except Exception:
                log.exception("what operators set could not be carried out; the stream goes on as it was")

    def _carry_out(self) -> None:
        """Do the difference between what is wanted and what is."""
        with self._lock:
            promotion, shadowing, paused = self._board.promotion, self._board.shadow, self._board.paused
        self._loop.pause(paused)
        self._metrics.gauge(m.PAUSED).set(paused)
        wanted = self._own if promotion is None else promotion.model
        if wanted != self._serving and (self._refused is None or self._refused[0] != wanted):
            self._swap(wanted)
        self._told = None if promotion is None else promotion.at
        if shadowing != self._shadowing:
            self._change_shadow(shadowing)

    def _swap(self, wanted: str) -> None:
        swaps = self._metrics.counter(m.SWAPS)
        model = self._opened(self._open, wanted)
        if model is None:
            swaps.labels("refused").inc()
            return
        self._loop.serve(model)
        info = self._metrics.gauge(m.MODEL_INFO)
        info.clear()
        info.labels(model.name, model.runtime).set(1)
        self._serving, self._refused = wanted, None
        swaps.labels("served").inc()

    def _opened(self, open_model: Callable[[str], Opened], name: str) -> Opened | None:
        """The model; None, with the reason noted, where it must not be served."""
        try:
            return open_model(name)
        except MoodstreamError as error:
            reason = str(error)
        except Exception as error:  # a graph that the runtime cannot compile, memory that ran out
            log.exception("model %s could not be opened", name)
            reason = f"{type(error).__name__}: {error}"
        log.error("model %s is refused, %s goes on serving: %s", name, self._serving, reason)
        self._refused = (name, reason)
        return None

    def _change_shadow(self, shadowing: Shadowing | None) -> None:
        if self._shadow is not None:
            self._loop.watch(None)
            self._shadow.close()
            self._shadow = None
        self._shadowing = shadowing
        if shadowing is None:
            return
        model = self._opened(self._open_shadow, shadowing.model)
        if model is not None:
            self._shadow = Shadow(model, shadowing.share, self._metrics, self._clock.monotonic)
            self._loop.watch(self._shadow)

    def _report(self) -> None:
        refused = self._refused
        report = Report(
            worker=self._worker,
            model=self._serving,
            at=datetime.fromtimestamp(self._clock.time(), UTC),
            told=self._told,
            refused=refused and refused[1][:2000],
            wanted=refused and refused[0],
            shadow=_compared(self._shadow),
        )
        try:
            self._tell(report)
        except DependencyError as error:
            log.warning("operators were not told what this worker serves: %s", error)


def _compared(shadow: Shadow | None) -> Compared | None:
    if shadow is None or shadow.against is None:
        return None
    return Compared(
        model=shadow.model.name,
        against=shadow.against,
        n=shadow.n,
        agreed=shadow.agreed,
        skipped=shadow.skipped,
    )
