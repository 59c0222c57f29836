"""Spikes beside the counting: a thread that looks for them and delivers them, in one instance at a time.

Every instance of the role runs it; the one that holds the ledger's lease looks and delivers, the others wait
for it to go. The thread waits for a Redis that is away, and never dies in silence: a fault of ours ends the
role.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from worker.clock import Clock
from worker.errors import MoodstreamError
from worker.trends.alerts.deliver import Courier
from worker.trends.alerts.ledger import Ledger
from worker.trends.alerts.models import ModelMix
from worker.trends.alerts.watch import SpikeWatch
from worker.trends.store import StoreUnavailableError

LEASE_S = 60.0
"""How long another instance waits for one that was killed; one that ends by itself gives the lease back."""
_TURN_S = 1.0

log = logging.getLogger(__name__)


class AlertsDiedError(MoodstreamError):
    """The thread that looks for spikes ended by itself; `__cause__` is why."""


class AlertsLoop:
    """Looks every `every_s`, and delivers every second."""

    def __init__(
        self,
        watch: SpikeWatch,
        courier: Courier,
        ledger: Ledger,
        mix: ModelMix,
        *,
        every_s: float,
        clock: Clock,
    ) -> None:
        self._watch = watch
        self._courier = courier
        self._ledger = ledger
        self._mix = mix
        self._every_s = every_s
        self._clock = clock
        self._looked_at = -math.inf
        self._away = False

    def run(self, stop: threading.Event) -> None:
        """Turn until `stop` is set."""
        while not stop.wait(_TURN_S):
            self.run_once()
        with suppress(StoreUnavailableError):
            self._mix.flush()
            self._ledger.let_go()

    def run_once(self) -> None:
        """One turn; a Redis that is away is told once, and the next turn does what this one could not."""
        try:
            due = self._clock.monotonic() - self._looked_at >= self._every_s
            if due:
                self._mix.flush()
            if self._ledger.lead():
                if due:
                    for alert in self._watch.turn():
                        log.info("spike: %s", alert.id)
                self._courier.turn()
            if due:
                self._looked_at = self._clock.monotonic()
        except StoreUnavailableError as error:
            if not self._away:
                log.warning("alerts wait for redis: %s", error.reason)
            self._away = True
        else:
            self._away = False


@contextmanager
def looking(loop: AlertsLoop, *, close_s: float, on_death: Callable[[], None]) -> Iterator[None]:
    """Run the loop in a thread of its own while the block runs; its last turn may take `close_s`.

    `on_death` is called from that thread when it ends by itself: ask the role to stop there.

    Raises:
        AlertsDiedError: on leaving, where the thread ended by itself; the role then fails visibly.
    """
    stop = threading.Event()
    death: list[BaseException] = []

    def run() -> None:
        try:
            loop.run(stop)
        except BaseException as error:
            death.append(error)
            log.exception("alerts: the thread died")
            on_death()

    thread = threading.Thread(target=run, name="alerts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(close_s)
        if thread.is_alive():
            log.warning("alerts: kafka or a webhook does not answer; leaving without its answer")
    if death:
        raise AlertsDiedError("looking for spikes ended by itself; the log says why") from death[0]
