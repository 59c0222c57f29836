"""A backfill from its question to counts that can be swapped in.

1. question   days, model and what the inputs still hold: checked as a whole before anything is written
2. topics     of its own
3. begin      it is noted in Redis; from now on deletions that are counted live are done in it too
4. label      from what is committed to where the inputs end now
5. count      what was labelled

Steps 4 and 5 are done again until they bring no label any more. What was deleted while the posts were on
their way is then done as well: deletions before the last end are among the tombstones, and those behind it
are counted live when every sample is there to be found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from redis import Redis

from worker.clock import Clock, SystemClock
from worker.errors import ConfigurationError, DependencyError
from worker.formats.opened import Encode, Formats, for_command
from worker.interrupts import interrupts
from worker.model import artifact as artifacts
from worker.model.bundled import bundled_model
from worker.model.classifier import Classifier
from worker.replay.backfill.count import count
from worker.replay.backfill.days import Days, parse_days
from worker.replay.backfill.label import Outcome, label
from worker.replay.backfill.names import group_of, live_keys, topics_of, with_topics_of
from worker.replay.backfill.screen import Screen
from worker.replay.backfill.source import BoundedSource
from worker.replay.backfill.wanted import Wanted
from worker.replay.history.ranges import find_starts
from worker.replay.serving import opened, with_named_model
from worker.settings import Settings
from worker.stream.decoders import Decode, decoder
from worker.stream.patient_publisher import PatientPublisher
from worker.topics import admin
from worker.trends.backfills import Backfill, Backfills, day_text
from worker.trends.counting import CountedLabel, ReadLabel
from worker.trends.keys import Keys
from worker.trends.redis_connection import connected
from worker.trends.windows import DAY, HOUR
from worker.types import TopicPartition


@dataclass(frozen=True)
class Order:
    """What was asked for on the command line."""

    name: str
    start: str | None
    end: str | None
    model: str | None
    allow_gaps: bool
    wait_s: float


@dataclass
class Done:
    """What a run has done."""

    backfill: Backfill
    published: Counter[Outcome]
    counted: int
    complete: bool
    """False: it was stopped."""


def run(settings: Settings, order: Order, screen: Screen, clock: Clock | None = None) -> Done:
    """Label and count; goes on where a run of this name was stopped or killed.

    Raises:
        ConfigurationError: the question makes no sense, or the inputs do not hold these days.
        DependencyError: Kafka or Redis cannot be reached or refuses.
        DataLossAvertedError: another run of this name has taken over, or the model fails on most posts.
    """
    clock = clock or SystemClock()
    with ExitStack() as resources:
        stop = resources.enter_context(interrupts())
        client = resources.enter_context(connected(settings.redis))
        registry = Backfills(client, live_keys(settings))
        settings = with_named_model(settings, order.model)
        formats = for_command(settings, clock, order.wait_s)
        asked = _question(order, settings, registry.find(order.name), clock)  # 1
        starts = _starts(settings, asked, allow_gaps=order.allow_gaps or bool(asked.generation), clock=clock)
        admin.create(settings, wanted=topics_of(settings, order.name), wait_s=order.wait_s, clock=clock)  # 2
        written = _written(settings, formats, order.wait_s, clock)
        backfill = registry.begin(asked)  # 3
        classifier = resources.enter_context(opened(settings))
        work = _Work(
            with_topics_of(settings, order.name),
            client,
            live_keys(settings)._replace(backfill=order.name),
            backfill,
            classifier,
            order.wait_s,
            clock,
            stop.is_set,
            screen,
            written,
        )
        done = work.run(starts)
        if done.complete:
            registry.completed(order.name, datetime.fromtimestamp(clock.time(), UTC))
        return done


class _Written(NamedTuple):
    """How posts and labels are written."""

    decode: Decode
    encode: Encode
    read: ReadLabel


def _written(settings: Settings, formats: Formats, wait_s: float, clock: Clock) -> _Written:
    """As live. The labels' schema is that of the live topic: its id is the same in every topic.

    Raises:
        ConfigurationError: the registry does not take it.
        DependencyError: the registry did not answer in time, or it refused.
    """
    until = clock.monotonic() + wait_s
    encode = formats.encoder(settings.topics.labels, lambda: clock.monotonic() < until)
    if encode is None:
        raise DependencyError("registry", f"no answer within {wait_s:g} s; run it again")
    return _Written(decoder(formats.readers()), encode, formats.labels(CountedLabel))


def _question(order: Order, settings: Settings, known: Backfill | None, clock: Clock) -> Backfill:
    """Step 1, as far as it is about days and model: those of a backfill that was begun stay as they are."""
    model = artifacts.load(settings.model.path or bundled_model()).full_name
    start, end = order.start, order.end
    if known is not None:
        start, end = start or known.days[0], end or known.days[1]
    if start is None or end is None:
        raise ConfigurationError(
            [
                f"which days? {order.name} is new: give --from DAY and --to DAY, such as 2026-05-01 and"
                " 2026-06-01"
            ]
        )
    try:
        days = parse_days(start, end, clock.time())
    except ValueError as error:
        raise ConfigurationError(str(error).splitlines()) from None
    if known is None:
        return Backfill(order.name, *days, model, datetime.fromtimestamp(clock.time(), UTC))
    problems = []
    if days != (known.first, known.end):
        problems.append(
            f"{known.name} is of the days from {known.days[0]} to {known.days[1]}: leave these out"
        )
    if model != known.model:
        problems.append(
            f"{known.name} was begun with {known.model}, and this is {model}: name that with --model"
        )
    if problems:
        raise ConfigurationError([f"{problem}, or give the backfill another name" for problem in problems])
    return known


def _starts(
    settings: Settings, asked: Backfill, *, allow_gaps: bool, clock: Clock
) -> dict[TopicPartition, int]:
    """Where each partition of the inputs is read from where nothing is committed yet.

    Raises:
        ConfigurationError: there is nothing, or some of it is gone and `allow_gaps` is not given.
    """
    first_s = asked.first * DAY
    inputs, trends = settings.topics.inputs, settings.trends
    found = find_starts(settings.kafka, inputs, max(0, first_s - trends.early_hours * HOUR) * 1000)
    if all(found.offsets[one] >= end for one, end in found.ends.items()):
        raise ConfigurationError([f"there is no record since {asked.days[0]} in {', '.join(inputs)}"])
    surely_there_s = clock.time() - settings.topics.retention_hours * HOUR
    gone = {one: ms for one, ms in found.earliest_ms.items() if ms > first_s * 1000}
    if gone and first_s < surely_there_s and not allow_gaps:
        whole = day_text(-(-max(gone.values()) // (DAY * 1000)))
        raise ConfigurationError(
            [
                f"{topic}/{partition} has lost what was written before"
                f" {datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec='seconds')}: begin with --from"
                f" {whole}, or say --allow-gaps and have fewer posts in these days than there were"
                for (topic, partition), ms in sorted(gone.items())
            ]
        )
    return found.offsets


@dataclass
class _Work:
    """Steps 4 and 5."""

    settings: Settings
    """With the topics of its own."""
    client: Redis
    keys: Keys
    backfill: Backfill
    classifier: Classifier
    wait_s: float
    clock: Clock
    stopped: Callable[[], bool]
    screen: Screen
    written: _Written

    def run(self, starts: dict[TopicPartition, int]) -> Done:
        done = Done(self.backfill, Counter(), 0, complete=False)
        group = group_of(self.backfill.name)
        source = BoundedSource(
            self.settings.kafka,
            group,
            starts,
            self._wanted(),
            wait_s=self.wait_s,
            clock=self.clock,
            go_on=lambda: not self.stopped(),
        )
        with closing(source):
            sender = PatientPublisher(
                self.settings,
                group,
                "run",
                outputs=(self.settings.topics.labels, self.settings.topics.dead_letters),
                own=source.group,
                wait_s=self.wait_s,
                clock=self.clock,
                go_on=lambda: not self.stopped(),
            )
            sender.open()  # fences a run that hangs; what one that was killed left open is rolled back
            while not done.complete:
                labels, counted = self._pass(source, sender, done)
                if self.stopped():
                    break
                done.complete = not labels and not counted
        return done

    def _pass(self, source: BoundedSource, sender: PatientPublisher, done: Done) -> tuple[int, int]:
        """Label and count once; how many labels were published, and how many counted."""
        source.aim()
        published = label(
            self.settings,
            self.classifier,
            source,
            sender,
            clock=self.clock,
            stopped=self.stopped,
            progress=self.screen.labelling,
            encode=self.written.encode,
            decode=self.written.decode,
        )
        done.published.update(published)
        counted = count(
            self.settings,
            self.client,
            self.keys,
            wait_s=self.wait_s,
            clock=self.clock,
            stopped=self.stopped,
            progress=self.screen.counting,
            read=self.written.read,
        )
        done.counted += counted
        return published["labels"], counted

    def _wanted(self) -> Wanted:
        start, end = Days(self.backfill.first, self.backfill.end).seconds
        trends = self.settings.trends
        return Wanted(start, end, trends.late_hours * HOUR, trends.early_hours * HOUR, self.written.decode)
