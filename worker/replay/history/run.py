"""A replay from its question to its report.

1. question   what is asked: checked as a whole before anything is read
2. classify   part after part, each kept as soon as it is whole
3. merge      predictions.parquet, with gold and earlier labels beside the answers
4. report     report.json and report.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from worker.clock import Clock, SystemClock
from worker.errors import ConfigurationError
from worker.formats.opened import for_command
from worker.interrupts import interrupts
from worker.process import VERSION, few_garbage_collections
from worker.replay.history.analysis import analyse
from worker.replay.history.bounds import Bound, parse_bound
from worker.replay.history.contest import Entrant, answer_part, contestants, entrants
from worker.replay.history.earlier import EarlierLabel, ReadEarlier
from worker.replay.history.folder import Cost, Folder, Question, State, held
from worker.replay.history.page import html
from worker.replay.history.parts import Part, in_parts, kept_by, still_to_read, stride
from worker.replay.history.ranges import find_ranges, topic_id
from worker.replay.history.reader import RangeReader
from worker.replay.history.report import Report
from worker.replay.history.results import merge
from worker.replay.history.sample import Sample, parse_sample
from worker.replay.history.screen import as_line, show
from worker.replay.history.table import table
from worker.replay.history.truth import Gold, read_gold
from worker.settings import KafkaSettings, Settings
from worker.stream.decoders import Decode, decoder

_INTERRUPTED = 130
_REGISTRY_S = 60.0
"""How long a schema registry that is away is waited for."""


@dataclass(frozen=True)
class Order:
    """What was asked for on the command line."""

    topic: str
    start: str
    end: str
    partitions: tuple[int, ...]
    """Only these; all where empty."""
    gold: str | None
    rename: tuple[str, ...]
    against: str | None
    models: tuple[str, ...]
    sample: str
    report: Path
    as_json: bool


@dataclass(frozen=True)
class Understood:
    """The same, parsed."""

    start: Bound
    end: Bound
    sample: Sample
    names: dict[str, str]
    """Of gold labels, there and here."""


def run(settings: Settings, order: Order) -> int:
    """Replay and report; answers the exit code.

    Raises:
        ConfigurationError: the question makes no sense, or a file, a folder or the topic cannot be used.
        DependencyError: Kafka cannot be reached or refuses.
        DataLossAvertedError: a model fails on most posts.
    """
    clock = SystemClock()
    asked = _understood(order, clock.time())
    chosen = entrants(settings, order.models)
    formats = for_command(settings, clock, _REGISTRY_S)
    gold = None if order.gold is None else read_gold(order.gold, settings.kafka, asked.names)
    if order.against is not None:  # Better to know now than after hours.
        find_ranges(settings.kafka, order.against, Bound("beginning"), Bound("end"))
    question = _question(order, settings, [entrant for entrant, _ in chosen])
    with interrupts() as stop, held(order.report) as folder:
        state = _resumed(folder, question, settings.kafka) or _begun(folder, question, asked, settings, clock)
        if not state.complete:
            work = Work(folder, state, settings.kafka, clock, decoder(formats.readers()))
            _classify(work, chosen, stop)
            if _undone(folder, state):
                return _INTERRUPTED
        read = formats.labels(EarlierLabel)
        report = _report(folder, state, gold, order.against, settings.kafka, read=read)
    if order.as_json:
        click.echo(as_line(report, order.report))
    else:
        show(report, order.report)
    return 0


def _understood(order: Order, now: float) -> Understood:
    """Step 1, as far as the command line alone tells: all that is wrong with it at once."""
    problems: list[str] = []
    if order.gold is None and order.against is None and len(order.models) < 2:
        problems.append(
            "nothing to compare with: give gold labels (--gold FILE), earlier labels"
            " (--against emotion-labels), or several models (--model A --model B)"
        )
    pairs = [one.partition("=") for one in order.rename]
    problems += [f"--rename {''.join(one)}: write THEIRS=OURS" for one in pairs if not (one[0] and one[2])]

    def parsed(parse: Callable[[], Bound | Sample]) -> Bound | Sample | None:
        try:
            return parse()
        except ValueError as error:
            problems.append(str(error))
            return None

    start = parsed(lambda: parse_bound("--from", order.start, now))
    end = parsed(lambda: parse_bound("--to", order.end, now))
    sample = parsed(lambda: parse_sample(order.sample))
    if isinstance(start, Bound) and isinstance(end, Bound) and isinstance(sample, Sample):
        if start.kind == end.kind and start.kind in ("time", "offset") and start.value >= end.value:
            problems.append(f"--from {order.start} is not before --to {order.end}")
        if not problems:
            return Understood(start, end, sample, {theirs: ours for theirs, _, ours in pairs})
    raise ConfigurationError(problems)


def _question(order: Order, settings: Settings, models: list[Entrant]) -> Question:
    return Question(
        topic=order.topic,
        start=order.start,
        end=order.end,
        partitions=list(order.partitions),
        sample=order.sample,
        models=models,
        max_records=settings.batch.max_records,
        max_tokens=settings.batch.max_tokens,
        text=settings.worker.label_text,
        version=VERSION,
    )


def _resumed(folder: Folder, question: Question, kafka: KafkaSettings) -> State | None:
    """Step 1: what was begun in the folder, with the offsets that the range had then."""
    state = folder.resume(question)
    if state is None or state.complete or topic_id(kafka, question.topic) == state.topic_id:
        return state
    raise ConfigurationError(
        [f"{question.topic} was deleted and made anew since this replay began; {folder.anew}"]
    )


def _begun(folder: Folder, question: Question, asked: Understood, settings: Settings, clock: Clock) -> State:
    """Step 1: a new replay."""
    found = find_ranges(settings.kafka, question.topic, asked.start, asked.end, question.partitions)
    share = asked.sample.share_of(sum(one.offsets for one in found.ranges))
    state = State(
        question=question,
        topic_id=found.topic_id,
        ranges=found.ranges,
        share=share,
        stride=stride(share),
        began=datetime.fromtimestamp(clock.time(), UTC),
    )
    folder.begin(state)
    return state


class Work(NamedTuple):
    """What is to be done, and with what."""

    folder: Folder
    state: State
    kafka: KafkaSettings
    clock: Clock
    decode: Decode


def _classify(work: Work, chosen: Sequence[tuple[Entrant, Settings]], stop: threading.Event) -> None:
    """Step 2: every part that is not done, until all are or `stop` is set."""
    parts = work.folder.parts(work.state)
    left = [part for part in parts if not work.folder.is_done(part)]
    if not left:
        return
    reader = RangeReader(work.kafka, work.state.question.topic, still_to_read(left), work.clock)
    with (
        contestants(chosen) as models,
        closing(reader),
        few_garbage_collections(),
        _progress(parts, left) as advance,
    ):
        since = work.clock.monotonic()
        for part, records in in_parts(reader, left, kept_by(work.state.share, work.decode)):
            answered = answer_part(records, models, work.clock, work.decode)
            rows = table(answered.facts, answered.answers)
            now = work.clock.monotonic()
            work.folder.write(part, rows, Cost(now - since, answered.seconds))
            since = now
            advance(part.end - part.start)
            if stop.is_set():
                return


def _undone(folder: Folder, state: State) -> int:
    """How many parts are left; says so where there are any."""
    parts = folder.parts(state)
    left = sum(not folder.is_done(part) for part in parts)
    if left:
        click.echo(f"stopped: {left} of {len(parts)} parts are left; the same command goes on", err=True)
    return left


@contextmanager
def _progress(parts: Sequence[Part], left: Sequence[Part]) -> Iterator[Callable[[int], None]]:
    """A bar over the range's offsets, on a terminal only."""
    console = Console(stderr=True)
    whole, undone = (sum(part.end - part.start for part in some) for some in (parts, left))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("records", total=whole, completed=whole - undone)
        yield lambda offsets: bar.advance(task, offsets)


def _report(
    folder: Folder,
    state: State,
    gold: Gold | None,
    against: str | None,
    kafka: KafkaSettings,
    *,
    read: ReadEarlier,
) -> Report:
    """Steps 3 and 4."""
    merged = merge(folder, state, gold, against, kafka, read=read)
    report = analyse(folder, msgspec.structs.replace(state, complete=True), merged, gold)
    folder.put("report.json", msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    folder.put("report.html", html(report).encode())
    if not state.complete:
        folder.complete(state)
    return report
