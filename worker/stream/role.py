"""The worker role: the loop over Kafka, with its health and metrics served beside it.

Start: health server, model, producer (waits for Kafka), consumer. End, under one deadline after SIGTERM: the
loop publishes and commits what it holds, the consumer leaves its group, the producer and the server close.
"""

from __future__ import annotations

import gc
import logging
from contextlib import ExitStack

from worker import metrics as m
from worker.clock import Clock
from worker.metrics import Metrics
from worker.model import artifact as artifacts
from worker.model.bundled import bundled_model
from worker.model.classifier import Classifier, load
from worker.process import VERSION, Stop
from worker.settings import Settings
from worker.stream.batch import BatchBuilder
from worker.stream.edges import AbortedError
from worker.stream.kafka_publisher import KafkaPublisher
from worker.stream.kafka_source import KafkaSource
from worker.stream.loop import Loop
from worker.stream.meter import Meter
from worker.stream.outcome import Destination
from worker.web.health import Health
from worker.web.server import serve

_GARBAGE_EVERY = 100_000
"""Container objects: a few batches' worth."""

log = logging.getLogger(__name__)


def run(settings: Settings, metrics: Metrics, clock: Clock, stop: Stop) -> None:
    """Label posts until `stop` is set.

    Raises:
        ConfigurationError: the model or an address cannot be used.
        DependencyError: Kafka refuses us.
        DataLossAvertedError: going on would lose or double records.
    """
    worker = settings.worker
    health = Health(clock, worker.stall_s, ("model", "kafka", "assignment"))

    def keep_waiting() -> bool:
        health.beat()  # waiting for Kafka is no reason to be restarted
        return not stop.overdue(worker.drain_s)

    with ExitStack() as closing:
        closing.enter_context(serve(worker.http, metrics, health, on_death=stop.set))
        classifier = open_classifier(settings, metrics)
        closing.callback(classifier.close)
        health.set("model", True)
        source = KafkaSource(
            settings.kafka, worker, settings.topics.inputs, clock=clock, metrics=metrics, health=health
        )
        closing.callback(source.close)
        publisher = KafkaPublisher(
            settings.kafka,
            settings.topics,
            worker,
            group_metadata=source.group_metadata,
            keep_waiting=keep_waiting,
            clock=clock,
            metrics=metrics,
        )
        closing.callback(publisher.close)
        try:
            publisher.open()
        except AbortedError as error:
            log.warning("stopped before kafka was there: %s", error)
            return
        loop = Loop(
            source=source,
            publisher=publisher,
            model=classifier,
            builder=builder(settings),
            destination=destination(settings, classifier),
            clock=clock,
            meter=Meter(metrics, health, classifier.name),
        )
        _collect_garbage_less_often()
        loop.run(stop.is_set, worker.drain_s)


def _collect_garbage_less_often() -> None:
    """Records die young and in no cycles; by default Python looks for cycles every 700 of them.

    What is loaded now stays for good and need not be looked at again. A quarter of the host's time a post.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_EVERY)


def open_classifier(settings: Settings, metrics: Metrics) -> Classifier:
    """The model that the settings ask for, warm.

    Raises:
        ArtifactError: it must not be served.
        ConfigurationError: its backend is not installed.
    """
    model = settings.model
    artifact = artifacts.load(model.path or bundled_model())
    classifier = load(artifact, model.backend, streams=model.streams, gate=model.gate == "on")
    metrics.gauge(m.MODEL_INFO).labels(classifier.name, classifier.backend.name).set(1)
    metrics.gauge(m.MODEL_LOADED).set(1)
    log.info("model %s is warm on %s", classifier.name, classifier.backend.name)
    return classifier


def builder(settings: Settings) -> BatchBuilder:
    """The batch builder that the settings ask for."""
    batch = settings.batch
    return BatchBuilder(
        max_records=batch.max_records, max_tokens=batch.max_tokens, linger_s=batch.linger_ms / 1000
    )


def destination(settings: Settings, classifier: Classifier) -> Destination:
    """Where the settings want records to go, and who made them."""
    topics = settings.topics
    return Destination(topics.labels, topics.dead_letters, classifier.name, VERSION)
