"""What senders of webhooks ask of us: `POST /hooks/NAME`, answered once the record is in its topic.

202   it is there
401   not signed, or with another secret
404   no such hook
413   larger than a request may be
503   Kafka has not confirmed it; it may be there: a sender that tries again may write it twice
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from fastapi import APIRouter, HTTPException, Request
from starlette.concurrency import run_in_threadpool

from worker import metrics as m
from worker.clock import Clock
from worker.dependency import Dependency
from worker.errors import ConfigurationError, DependencyError
from worker.metrics import Metrics
from worker.settings import Settings
from worker.sources.hooks import Hook, value_of
from worker.sources.lines import item_of
from worker.sources.outlet import refuse_unless_json
from worker.stream.confirmed import ConfirmedWriter
from worker.stream.connection import client_logger, librdkafka
from worker.stream.refusal import refusal, refused
from worker.web.health import Health
from worker.web.problems import NotFoundError, Problem
from worker.web.server import serve

_LOOK_EVERY_S = 5.0
_TURN_S = 0.5

log = logging.getLogger(__name__)

_ANSWERS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "Not signed with the hook's secret: `unauthorized`."},
    404: {"model": Problem, "description": "There is no such hook: `not_found`."},
    503: {"model": Problem, "description": "Kafka has not confirmed it: `unavailable`; send it again."},
}


def run(
    settings: Settings, metrics: Metrics, clock: Clock, stop: threading.Event, *, hooks: Mapping[str, Hook]
) -> None:
    """Take what comes until `stop` is set; requests under way are answered first.

    Raises:
        ConfigurationError: a topic is missing or not JSON, or the address cannot be used.
        DependencyError: Kafka refuses us.
    """
    for hook in hooks.values():
        refuse_unless_json(settings.topics, hook.topic)
    source = settings.source
    health = Health(clock, source.stall_s, ("kafka",))
    kafka = Dependency("kafka", clock, metrics, health)
    writer = ConfirmedWriter(settings.kafka, clock, what="a webhook's post")
    admin = AdminClient(librdkafka(settings.kafka), logger=client_logger())
    routers = [hooks_router(hooks, writer, metrics)]
    with (
        closing(writer),
        serve(source.http, metrics, health, on_death=stop.set, routers=routers, clock=clock),
    ):
        log.info(
            "webhooks: %s", ", ".join(f"/hooks/{name} into {hook.topic}" for name, hook in hooks.items())
        )
        looked_at = clock.monotonic() - _LOOK_EVERY_S
        while not stop.is_set():
            if kafka.due and clock.monotonic() - looked_at >= _LOOK_EVERY_S:
                looked_at = clock.monotonic()
                _look(settings, admin, {hook.topic for hook in hooks.values()}, kafka)
            health.beat()
            stop.wait(_TURN_S)


def _look(settings: Settings, admin: AdminClient, topics: set[str], kafka: Dependency) -> None:
    """Whether Kafka answers, and the topics are there: a writer would only wait for them.

    Raises:
        ConfigurationError: one is not.
        DependencyError: Kafka refuses us.
    """
    try:
        there = admin.list_topics(timeout=_LOOK_EVERY_S).topics
    except KafkaException as error:
        if refused(error.args[0]):
            raise refusal(error.args[0], settings.kafka) from error
        kafka.failed(error.args[0].str())
        return
    kafka.works()
    missing = sorted(topics - there.keys())
    if missing:
        raise ConfigurationError(
            [f"there is no topic {topic}: `moodstream topics create` makes it" for topic in missing]
        )


def hooks_router(hooks: Mapping[str, Hook], writer: ConfirmedWriter, metrics: Metrics) -> APIRouter:
    """The route of all hooks."""
    router = APIRouter(tags=["hooks"])
    items = metrics.counter(m.SOURCE_ITEMS)

    @router.post("/hooks/{name}", status_code=202, responses=_ANSWERS, summary="A post, as its sender has it")
    async def receive(name: str, request: Request) -> dict[str, Any]:
        hook = hooks.get(name)
        if hook is None:
            raise NotFoundError("there is no such hook")
        body = await request.body()
        if not hook.signed(request.headers, body):
            items.labels(name, "refused").inc()
            raise HTTPException(
                401, f"the request is not signed ({hook.signature.value}) with the hook's secret"
            )
        item = item_of(value_of(hook, body), None)
        try:
            written = await run_in_threadpool(writer.write, hook.topic, item.value or b"", item.key)
        except DependencyError:
            items.labels(name, "unconfirmed").inc()
            raise
        items.labels(name, "sent").inc()
        if not item.readable:
            items.labels(name, "unreadable").inc()
        return {"status": "success", "data": {"ref": str(written)}}

    return router
