"""The worker role: the loop over Kafka, with its health and metrics served beside it.

Start: traces, health server, model, schema registry (waited for, where one is needed), producer (waits for
Kafka), consumer. End, under one deadline after SIGTERM: the loop publishes and commits what it holds, the
consumer leaves its group, the producer and the server close, the last spans are sent.
"""

from __future__ import annotations

import logging
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from worker import metrics as m
from worker.clock import Clock
from worker.control.messages import WORKER
from worker.control.topic import ControlReader, ControlWriter
from worker.formats.cache import Schemas
from worker.formats.opened import Encode, Formats
from worker.metrics import Metrics
from worker.model import artifact as artifacts
from worker.model.bundled import bundled_model
from worker.model.classifier import Classifier, load
from worker.model.model_process import ModelProcess, Order
from worker.model.shelf import Shelf
from worker.process import VERSION, Stop, few_garbage_collections
from worker.settings import DeadLetterSettings, Settings
from worker.stream.batch import BatchBuilder
from worker.stream.classify import open_queue
from worker.stream.cloud_events import CONTENT_TYPES, Events
from worker.stream.decoders import decoder
from worker.stream.edges import AbortedError, Source
from worker.stream.fair import client_options, fair
from worker.stream.kafka_publisher import KafkaPublisher
from worker.stream.kafka_source import KafkaSource
from worker.stream.limits import Allowed, Limits
from worker.stream.loop import Loop
from worker.stream.meter import Meter
from worker.stream.operator import Operator
from worker.stream.outcome import Destination
from worker.stream.pace import Budget, Pace, Promise, fit, measure
from worker.stream.schema_source import SchemaSource
from worker.stream.traces import traces_by
from worker.tracing.opened import opened
from worker.types import Post
from worker.web.health import Health
from worker.web.server import serve

_CONTROL_S = 5.0
_TELL_S = 5.0
_LINGER_SHARE = 0.1
"""Most of a promise that a post may spend waiting for company."""
_USUAL_POSTS = (
    "so happy today",
    "i cannot believe they did this to us again, i am done with them",
    "@user thank you so much for the ride home last night, it was a lovely evening http",
    "does anybody know whether the trains run tonight? i am stuck at the station and a bit scared of walking",
)
"""As long as posts are: 24 word pieces on average."""
_USUAL_LENGTH = 64
"""Word pieces; hardly a post has more."""
_MEASURED_POSTS = (4, 16, 64, 256)

log = logging.getLogger(__name__)


def run(settings: Settings, metrics: Metrics, clock: Clock, stop: Stop) -> None:
    """Label posts until `stop` is set.

    Raises:
        ConfigurationError: the model, an address or a setting of the traces cannot be used.
        DependencyError: Kafka refuses us.
        DataLossAvertedError: going on would lose or double records.
    """
    worker = settings.worker
    health = Health(clock, worker.stall_s, ("model", "kafka", "assignment"))
    formats = Formats(settings, clock=clock, metrics=metrics, health=health)

    def keep_waiting() -> bool:
        health.beat()  # waiting for Kafka is no reason to be restarted
        return not stop.overdue(worker.drain_s)

    with ExitStack() as closing:
        name, drain_s = worker.instance_id, worker.drain_s
        tracer = closing.enter_context(
            opened(settings.tracing, role="worker", instance=name, metrics=metrics, drain_s=drain_s)
        )
        queue, routers = open_queue(worker, metrics, clock)
        closing.enter_context(serve(worker.http, metrics, health, on_death=stop.set, routers=routers))
        classifier = _ready_classifier(settings, metrics, health)
        encode = formats.encoder(settings.topics.labels, keep_waiting)
        if encode is None or not formats.wait(keep_waiting):
            log.warning("stopped before the schema registry was there")
            return
        posts = formats.posts()
        kafka_source, publisher = _edges(settings, metrics, health, clock, keep_waiting)
        closing.callback(kafka_source.close)
        closing.callback(publisher.close)
        try:
            publisher.open()
        except AbortedError as error:
            log.warning("stopped before kafka was there: %s", error)
            return
        loop = Loop(
            source=_prepared(kafka_source, settings, posts, clock),
            publisher=publisher,
            model=classifier,
            builder=builder(settings, promised_pace(settings, classifier, clock)),
            destination=destination(settings, classifier, encode),
            clock=clock,
            meter=Meter(metrics, health),
            limits=limits(worker.dead_letters),
            in_a_row=worker.dead_letters.model_in_a_row,
            queue=queue,
            decode=decoder(posts),
            traces=traces_by(tracer, worker.group_id, clock),
        )

        def close_model() -> None:
            loop.serving.close()  # by then it may be another than now

        closing.callback(close_model)
        operator = closing.enter_context(operated(settings, loop, metrics, clock, keep_waiting))
        closing.enter_context(few_garbage_collections())
        operator.settle()
        loop.run(stop.is_set, drain_s)


def _ready_classifier(settings: Settings, metrics: Metrics, health: Health) -> Classifier:
    """The model of the settings, and everybody told that it is there."""
    classifier = open_classifier(settings)
    metrics.gauge(m.MODEL_INFO).labels(classifier.name, classifier.runtime).set(1)
    metrics.gauge(m.MODEL_LOADED).set(1)
    health.set("model", True)
    return classifier


def _edges(
    settings: Settings, metrics: Metrics, health: Health, clock: Clock, keep_waiting: Callable[[], bool]
) -> tuple[KafkaSource, KafkaPublisher]:
    """Where records come from, and where labels go in the transactions that commit these."""
    worker = settings.worker
    source = KafkaSource(
        settings.kafka,
        worker,
        settings.topics.inputs,
        clock=clock,
        metrics=metrics,
        health=health,
        client_options=client_options(worker.queue_mb) if settings.topics.weight_of else None,
    )
    publisher = KafkaPublisher(
        settings.kafka,
        settings.topics,
        worker,
        group_metadata=source.group_metadata,
        keep_waiting=keep_waiting,
        clock=clock,
        metrics=metrics,
    )
    return source, publisher


def _prepared(
    source: KafkaSource, settings: Settings, posts: Mapping[str, Schemas[Post]], clock: Clock
) -> Source:
    """The source by weights, and behind its schemas, where there are any: each only where it is needed."""
    weights = settings.topics.weight_of
    ordered = fair(source, weights, settings.worker.queue_mb) if weights else source
    resolve = {topic: schemas.resolve for topic, schemas in posts.items()}
    return SchemaSource(ordered, resolve, clock) if resolve else ordered


@contextmanager
def operated(
    settings: Settings, loop: Loop, metrics: Metrics, clock: Clock, keep_waiting: Callable[[], bool]
) -> Iterator[Operator]:
    """The loop under the control topic, which is read to its end before this begins."""
    topic, worker = settings.topics.control, settings.worker
    name = worker.instance_id or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    writer = ControlWriter(settings.kafka, topic)

    operator = Operator(
        worker=name,
        loop=loop,
        own=loop.serving.name,
        open_model=partial(open_named, settings),
        open_shadow=lambda name: open_process(settings, name, clock.monotonic),
        tell=lambda report: writer.write(f"{WORKER}{name}", report, within_s=_TELL_S),
        clock=clock,
        metrics=metrics,
    )
    reader = ControlReader(settings.kafka, topic, operator.heard)
    reader.start()
    try:
        while not reader.caught_up.wait(_CONTROL_S) and keep_waiting():
            log.info("waiting for the control topic")
        yield operator
    finally:
        reader.close()
        operator.close()


def shelf(settings: Settings) -> Shelf:
    """The models that this machine can serve by name."""
    model = settings.model
    return Shelf(model.store, [bundled_model(), *([model.path] if model.path is not None else [])])


def open_named(settings: Settings, full_name: str) -> Classifier:
    """A model of the shelf, warm.

    Raises:
        ArtifactError: it is not there, or must not be served.
        ConfigurationError: its backend is not installed.
    """
    path = shelf(settings).find(full_name)
    found = settings.model_copy(update={"model": settings.model.model_copy(update={"path": path})})
    return open_classifier(found)


def open_process(settings: Settings, full_name: str, monotonic: Callable[[], float]) -> ModelProcess:
    """A model of the shelf in a process of its own, which starts when it is first asked.

    Raises:
        ArtifactError: it is not there, or must not be served.
    """
    artifact = artifacts.load(shelf(settings).find(full_name))
    model = settings.model
    order = Order(str(artifact.path), model.backend, model.streams, model.gate == "on")
    return ModelProcess(artifact.full_name, order, monotonic)


def open_classifier(settings: Settings) -> Classifier:
    """The model that the settings ask for, warm.

    Raises:
        ArtifactError: it must not be served.
        ConfigurationError: its backend is not installed.
    """
    model = settings.model
    artifact = artifacts.load(model.path or bundled_model())
    classifier = load(artifact, model.backend, streams=model.streams, gate=model.gate == "on")
    log.info("model %s is warm on %s", classifier.name, classifier.backend.name)
    return classifier


def builder(settings: Settings, pace: Pace | None = None) -> BatchBuilder:
    """The batch builder that the settings ask for; without a pace the token budget of the settings stands."""
    batch = settings.batch
    linger_ms = batch.linger_ms
    if pace is not None and batch.slo_ms is not None:
        linger_ms = min(linger_ms, batch.slo_ms * _LINGER_SHARE)
    return BatchBuilder(
        max_records=batch.max_records, pace=pace or Budget(batch.max_tokens), linger_s=linger_ms / 1000
    )


def limits(dead_letters: DeadLetterSettings) -> Limits:
    """The limits that the settings ask for."""
    return Limits(
        Allowed(dead_letters.model_count, dead_letters.model_ratio),
        Allowed(dead_letters.input_count, dead_letters.input_ratio),
        dead_letters.window_s,
    )


def promised_pace(settings: Settings, classifier: Classifier, clock: Clock) -> Pace | None:
    """The pace that keeps `batch.slo_ms` with this model on this machine; None without such a promise."""
    batch = settings.batch
    if batch.slo_ms is None:
        return None
    posts = classifier.prepare(_USUAL_POSTS)
    _meet_usual_sizes(classifier, posts)
    curve = fit(measure(classifier.classify, posts, _MEASURED_POSTS, clock.monotonic))
    pace = Promise(batch.slo_ms / 1000, curve, batch.max_tokens)
    tokens = pace.budget(0.0)
    log.info(
        "a batch takes %.1f ms and %.1f us a word piece; %d of them at most while posts come in time",
        curve.base_s * 1e3,
        curve.token_s * 1e6,
        tokens,
    )
    if not pace.within(tokens):
        log.warning(
            "batch.slo_ms=%g is too short for this model on this machine: a batch worth its time takes"
            " %.0f ms, a quarter of what p99 will be at least",
            batch.slo_ms,
            curve.seconds(tokens) * 1e3,
        )
    return pace


def _meet_usual_sizes(classifier: Classifier, posts: Sequence[Sequence[int]]) -> None:
    """A runtime takes 10 ms and more for each size that it meets for the first time: not in the stream."""
    ids = [token for post in posts for token in post]
    for length in range(4, _USUAL_LENGTH + 1, 4):
        for rows in (64, 7, 3):
            classifier.classify([ids[:length]] * rows)


def destination(settings: Settings, classifier: Classifier, encode: Encode | None = None) -> Destination:
    """Where the settings want records to go, and who made them; labels are JSON without `encode`."""
    topics, worker = settings.topics, settings.worker
    made = Destination(
        topics.labels,
        topics.dead_letters,
        classifier.name,
        VERSION,
        worker.label_text == "on",
        topics.max_message_bytes,
    )
    if encode is None:
        return made
    content = CONTENT_TYPES[topics.label_format]
    events = Events(worker.cloud_events_source, content) if worker.cloud_events == "on" else None
    return replace(made, encode=encode, events=events)
