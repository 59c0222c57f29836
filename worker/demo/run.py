"""The demo from its start to its verdict.

1. start     broker, Redis, worker and trends role; wait until they are ready
2. past      posts of the last hour, as fast as they are labelled, so that trends have something to show
3. traffic   send posts at a steady rate, read what comes back, show it
4. settle    send nothing more; wait until everything is answered and the trends have it
5. verdict   every record answered, every trend as labelled: or what was not
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import click
import msgspec

from worker.clock import SystemClock
from worker.demo.display import Display
from worker.demo.posts import samples
from worker.demo.queries import track
from worker.demo.reader import Reader
from worker.demo.records import RecordMaker
from worker.demo.sender import Sender
from worker.demo.servers import Running, servers
from worker.demo.tally import Counts, Tally
from worker.demo.traffic import Traffic
from worker.demo.trends import counted
from worker.demo.verdict import Verdict, judge
from worker.errors import DependencyError
from worker.interrupts import interrupts
from worker.settings import Settings, TopicSettings

_FRAME_S = 0.25
_PAST_WITHIN_S = 180.0
_ANSWERED_WITHIN_S = 20.0
_COUNTED_WITHIN_S = 10.0
_INTERRUPTED = 130


@dataclass(frozen=True)
class Order:
    """What was asked for on the command line."""

    for_s: float | None
    rate: float
    past_minutes: float
    as_json: bool
    kafka: bool = False
    """Whether the broker is a real Kafka, not one in memory."""
    picture: Path | None = None


def run(settings: Settings, order: Order) -> int:
    """Run the demo; answers the exit code.

    Raises:
        DependencyError: something did not start, or ended by itself.
    """
    display = Display()
    with interrupts() as stop:
        with servers(settings, kafka=order.kafka, stopped=stop.is_set, say=display.say) as running:
            if stop.is_set():
                return _INTERRUPTED
            verdict = _show(running, order, display, stop)
        if order.as_json:
            click.echo(msgspec.json.encode(verdict.result))
        else:
            display.conclude(verdict)
        for problem in verdict.problems:
            display.complain(problem)
        return 0 if verdict.good else 1


def _show(running: Running, order: Order, display: Display, stop: Event) -> Verdict:
    """Steps 2 to 5."""
    track(running)
    clock, tally = SystemClock(), Tally()
    reader = Reader(running.bootstrap, TopicSettings(), tally, clock)
    maker = RecordMaker(samples())
    sender = Sender(running.bootstrap, maker, tally, order.rate, clock, past_minutes=order.past_minutes)
    with Traffic(sender, reader) as traffic, display.live(tally, running) as show:

        def turn(state: str) -> None:
            traffic.check()
            running.check()
            show(state)

        _until(lambda: traffic.live or stop.is_set(), _PAST_WITHIN_S, lambda: turn("the last hour"))
        _until(stop.is_set, order.for_s, lambda: turn("live"))
        if order.picture is not None:
            display.save(order.picture)
        traffic.stop_sending()
        _until(lambda: not tally.waiting, _ANSWERED_WITHIN_S, lambda: turn("finishing"))
        _until(
            lambda: _counts(running, tally) == tally.counts(), _COUNTED_WITHIN_S, lambda: turn("comparing")
        )
        turn("done")
        return judge(tally.totals(), labelled=tally.counts(), counted=_counts(running, tally))


def _until(done: Callable[[], bool], within_s: float | None, turn: Callable[[], None]) -> None:
    """Turn after turn until done or out of time; `None`: there is time."""
    deadline = None if within_s is None else time.monotonic() + within_s
    while not done() and (deadline is None or time.monotonic() < deadline):
        turn()
        time.sleep(_FRAME_S if deadline is None else max(0.0, min(_FRAME_S, deadline - time.monotonic())))


def _counts(running: Running, tally: Tally) -> Counts | None:
    try:
        return counted(running.trends_url, tally.counts())
    except DependencyError:
        return None
