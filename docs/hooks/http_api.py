"""The reference of the HTTP APIs, from the OpenAPI documents of the roles' own applications.

The applications are put together as the roles do it and asked what they are, and nothing else: whatever would
connect does so when it is first used.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from fastapi import APIRouter
from redis import Redis

import worker.web.app
from docs.hooks.markdown import code, page, plain, table
from docs.hooks.schemas import Schema, accepted, anchor, default, fields, reference
from worker.clock import ManualClock
from worker.metrics import Metrics
from worker.quality.api import Board, quality_router
from worker.settings import HttpSettings, Settings
from worker.sources.webhook import hooks_router
from worker.stream.classify import classify_router
from worker.stream.confirmed import ConfirmedWriter
from worker.stream.request_queue import RequestQueue
from worker.trends.alerts.assemble import assemble
from worker.trends.corrections import KafkaCorrections
from worker.trends.live.hub import Hub
from worker.trends.memory_store import MemoryTrendStore
from worker.trends.queries import MemoryQueryStore
from worker.trends.routes import routers
from worker.trends.store import Limits
from worker.web.app import create_app
from worker.web.health import Health


class Api(NamedTuple):
    """What one role serves."""

    title: str
    http: HttpSettings
    document: Mapping[str, Any]
    """OpenAPI."""


def apis(settings: Settings) -> list[Api]:
    """Of every role that answers more than health and metrics."""
    writer = ConfirmedWriter(settings.kafka, ManualClock(0.0), what="a post")
    hooks = hooks_router({}, writer, Metrics())
    return [
        _api("worker", settings.worker.http, _of_worker(settings)),
        _api("trends", settings.trends.http, *_of_trends(settings)),
        _api("quality", settings.quality.http, quality_router(Board())),
        _api("source webhook", settings.source.http, hooks),
    ]


def _of_worker(settings: Settings) -> APIRouter:
    clock = ManualClock(0.0)
    queue = RequestQueue(places=0, wait_s=0.0, monotonic=clock.monotonic)
    return classify_router(queue, settings.worker, Metrics(), clock)


def _of_trends(settings: Settings) -> list[APIRouter]:
    clock = ManualClock(0.0)
    queries = MemoryQueryStore(clock)
    store = MemoryTrendStore(clock, Limits(), queries)
    client = Redis.from_url(settings.redis.url)
    alerting = assemble(settings, client, store, queries.list, metrics=Metrics(), clock=clock)
    corrections = KafkaCorrections(settings.kafka, settings.topics.corrections, clock)
    served = routers(
        settings, reader=store, queries=queries, hub=Hub(clock), corrections=corrections, clock=clock
    )
    return [*served, alerting.router]


def _api(title: str, http: HttpSettings, *served: APIRouter) -> Api:
    clock = ManualClock(0.0)
    app = create_app(Metrics(), Health(clock, 60, ()), clock, http=http, title=title, routers=served)
    return Api(title, http, app.openapi())


def render(found: list[Api]) -> str:
    """The page: what every role serves, then each API, then what its answers are made of."""
    schemas: dict[str, Schema] = {}
    for api in found:
        schemas |= api.document.get("components", {}).get("schemas", {})
    return page(
        "HTTP API",
        inspect.getdoc(worker.web.app) or "",
        *(_section(api) for api in found),
        "## Objects",
        *(_schema(name, schema) for name, schema in sorted(schemas.items())),
    )


def _section(api: Api) -> str:
    about = f"`moodstream {api.title}`, port {api.http.port}. Its own document: `/openapi.json`."
    paths = api.document["paths"].items()
    routes = [_route(path, method, one) for path, of_it in paths for method, one in of_it.items()]
    return "\n\n".join([f"## {api.title}", about, *routes])


def _route(path: str, method: str, operation: Mapping[str, Any]) -> str:
    guarded = " Takes the role's token." if operation.get("security") else ""
    about = operation.get("description", "")
    parts = [
        f"### {method.upper()} {path}",
        plain(operation.get("summary", "")) + "." + guarded,
        "\n\n".join(plain(part) for part in about.split("\n\n")),
        table(
            ["parameter", "in", "accepted", "default", ""], map(_parameter, operation.get("parameters", []))
        ),
        _body(operation.get("requestBody", {}), "Body"),
        table(
            ["answer", "body", ""],
            (
                (code(status), _content(answer), plain(answer.get("description", "")))
                for status, answer in operation["responses"].items()
            ),
        ),
    ]
    return "\n\n".join(part for part in parts if part)


def _parameter(one: Mapping[str, Any]) -> tuple[str, ...]:
    schema = one.get("schema", {})
    about = one.get("description") or schema.get("description", "")
    needed = " Required." if one.get("required") else ""
    return (
        code(one["name"]),
        one["in"],
        accepted(schema, nullable=False),
        default(schema.get("default")),
        plain(about + needed),
    )


def _body(body: Mapping[str, Any], what: str) -> str:
    shown = _content(body)
    return f"{what}: {shown}" if shown else ""


def _content(holder: Mapping[str, Any]) -> str:
    kinds = holder.get("content", {}).items()
    return "; ".join(f"{code(kind)} {_shape(media.get('schema', {}))}".strip() for kind, media in kinds)


def _shape(schema: Schema) -> str:
    if "$ref" in schema:
        return reference(schema["$ref"])
    return accepted(schema) if schema.get("type") not in (None, "object", "string") else ""


def _schema(name: str, schema: Schema) -> str:
    about = plain(str(schema.get("description", "")))
    shown = table(["field", "holds", ""], fields(schema)) or accepted(schema)
    return f'### <span id="{anchor(name)}"></span>{name}\n\n{about}\n\n{shown}'
