"""What reads schemas by their ids, a registry that is away, and settings that name one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.formats import avro_value, record
from tests.support.registry import LocalRegistry
from worker.clock import ManualClock
from worker.configuration import load
from worker.dependency import Dependency
from worker.formats.cache import Schemas
from worker.formats.frame import HEADER, header
from worker.formats.opened import Formats
from worker.formats.registry import Registry
from worker.metrics import Metrics
from worker.settings import Format, RegistrySettings, Settings
from worker.types import Post
from worker.web.health import Health

SCHEMA = record(("id", "long"), ("text", "string"))


class World:
    """What reads Avro posts, on a clock that moves only when told to."""

    def __init__(self, server: LocalRegistry, *, most: int = 1024, **more: Any) -> None:
        self.clock, self.metrics = ManualClock(), Metrics()
        self.health = Health(self.clock, 60, ())
        self.read = Schemas(
            Registry(RegistrySettings(url=server.url, timeout_s=5, **more)),
            "avro",
            Post,
            most=most,
            dependency=Dependency("registry", self.clock, self.metrics, self.health),
            clock=self.clock,
            metrics=self.metrics,
        )

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"moodstream_{name}", labels)


def value(number: int, **post: Any) -> bytes:
    return header(number) + avro_value(SCHEMA, {"id": 1, "text": "x", **post})[HEADER:]


AWAY: dict[str, Callable[[LocalRegistry], None]] = {
    "down": lambda server: server.stop(),
    "failing": lambda server: setattr(server, "failing", (500, '{"error_code": 50001, "message": "oh"}')),
    "busy": lambda server: setattr(server, "failing", (429, "")),
    "another server": lambda server: setattr(server, "failing", (404, "<html>not found</html>")),
    "a page": lambda server: setattr(server, "failing", (200, "<html>hello</html>")),
    "moved": lambda server: setattr(server, "failing", (302, "")),
}


def settings(server: LocalRegistry, kind: Format = "avro", **more: str) -> Settings:
    flags = {
        "topics.label_format": kind,
        "registry.url": server.url,
        "topics.input_formats": f"tweets={kind}",
    }
    return load(flags | {name.replace("__", "."): given for name, given in more.items()}, {})


def formats(given: Settings, clock: ManualClock | None = None) -> Formats:
    clock = clock or ManualClock()
    return Formats(given, clock=clock, metrics=Metrics(), health=Health(clock, 60, ()))
