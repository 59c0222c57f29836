"""Label values in memory with the very loop that labels the stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from worker.clock import Clock
from worker.metrics import Metrics
from worker.model.classifier import Classifier
from worker.settings import Settings
from worker.stream.dead_letters import PREFIX
from worker.stream.decode import decode
from worker.stream.decoders import Decode
from worker.stream.loop import Loop
from worker.stream.memory import MemoryLog, MemoryPublisher, MemorySource
from worker.stream.meter import Meter
from worker.stream.role import builder, destination, limits
from worker.types import Label, OutRecord, Record
from worker.web.health import Health

_CHUNK = 8192
"""Values in memory at once."""

_NO_HURRY_S = 86_400.0

_LABEL = msgspec.json.Decoder(Label)


def run_offline(
    values: Iterable[bytes | None], classifier: Classifier, settings: Settings, clock: Clock
) -> Iterator[OutRecord]:
    """One record out for each value in, in order: what the stream would have published for it."""
    waiting = iter(values)
    while chunk := list(islice(waiting, _CHUNK)):
        log = MemoryLog()
        now_ms = int(clock.time() * 1000)
        for value in chunk:
            log.append(settings.topics.inputs[0], value, timestamp_ms=now_ms)
        yield from _through_the_loop(log, classifier, settings, clock)


def run_records(
    records: Sequence[Record],
    classifier: Classifier,
    settings: Settings,
    clock: Clock,
    decode: Decode = decode,
) -> list[OutRecord]:
    """The same for records of one partition of a topic, in the order of their offsets.

    `decode`: what a record holds; JSON where not given. Labels come out as JSON, whatever the topic's are.
    """
    log = MemoryLog()
    log.extend(records)
    return _through_the_loop(log, classifier, settings, clock, decode)


def _through_the_loop(
    log: MemoryLog, classifier: Classifier, settings: Settings, clock: Clock, decode: Decode = decode
) -> list[OutRecord]:
    """Everything that is published for a log of one partition.

    Batches are filled, however long that takes: some processors and runtimes answer a little differently in
    another batch, so what is in one must not depend on how fast the machine is.
    """
    batch = settings.batch.model_copy(update={"linger_ms": _NO_HURRY_S * 1000})
    source = MemorySource(log)
    loop = Loop(
        source=source,
        publisher=MemoryPublisher(log),
        model=classifier,
        builder=builder(settings.model_copy(update={"batch": batch})),
        destination=destination(settings, classifier),
        clock=clock,
        meter=Meter(Metrics(), Health(clock, settings.worker.stall_s, ())),
        limits=limits(settings.worker.dead_letters),
        in_a_row=settings.worker.dead_letters.model_in_a_row,
        decode=decode,
    )
    loop.run(source.is_exhausted, drain_s=_NO_HURRY_S)
    return log.published


def answers(
    values: Iterable[bytes | None], classifier: Classifier, settings: Settings, clock: Clock
) -> Iterator[Label | str]:
    """The label of each value in order; where there is none the reason, as the dead letter says it."""
    for record in run_offline(values, classifier, settings, clock):
        if record.topic == settings.topics.labels and record.value is not None:
            yield _LABEL.decode(record.value)
        else:
            message = dict(record.headers).get(f"{PREFIX}message")
            yield message.decode() if isinstance(message, bytes) else "deleted"


def label_texts(
    texts: Iterable[str], classifier: Classifier, settings: Settings, clock: Clock
) -> Iterator[Label | None]:
    """The label of each text in order; None for a text that the stream would send to the dead letters."""
    values = (msgspec.json.encode({"id": index, "text": text}) for index, text in enumerate(texts))
    for answer in answers(values, classifier, settings, clock):
        yield answer if isinstance(answer, Label) else None
