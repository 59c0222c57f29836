"""What the demo runs: the mock broker in this process, a Redis, and the real roles as they are deployed.

The roles are told everything by their environment, where what the user's own environment says about Kafka
or Redis does not count. They die with this process however it ends, and none of them ends in silence.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from worker.demo.http import answers_ok
from worker.errors import DependencyError
from worker.local.broker import mock_broker
from worker.local.processes import HOST, ChildProcess, free_port
from worker.local.redis import RealRedis
from worker.settings import (
    ENV_PREFIX,
    HttpSettings,
    KafkaSettings,
    LogSettings,
    RedisSettings,
    Settings,
    TopicSettings,
    TrendsHttpSettings,
    TrendsSettings,
    WorkerHttpSettings,
    WorkerSettings,
)

_FETCH_WAIT_MS = 10
"""The broker in memory holds an empty answer that long even when records come meanwhile."""
_READY_WITHIN_S = 90.0
"""The first start of a model on a slow machine compiles its graph."""
_LOG_LINES = 15


@dataclass(frozen=True)
class Running:
    """Where everything is, and a look at whether it still runs."""

    bootstrap: str
    worker_url: str
    trends_url: str
    check: Callable[[], None]
    """Raises DependencyError, with the end of its log, for whatever has ended."""


@contextmanager
def servers(given: Settings, *, stopped: Callable[[], bool], say: Callable[[str], None]) -> Iterator[Running]:
    """Start everything, wait until it is ready, and end it in good order after the block.

    `given` decides about the model and its batches; `stopped` ends the wait early.

    Raises:
        DependencyError: something did not start; the message holds the end of its log.
    """
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="moodstream-demo-")))
        topics = TopicSettings()
        say("starting a broker in memory and a Redis")
        bootstrap = closing.enter_context(mock_broker(*topics.inputs, topics.labels, topics.dead_letters))
        redis = closing.enter_context(RealRedis())
        settings = demo_settings(given, bootstrap=bootstrap, redis_url=redis.url)
        say("starting the worker with its model, and the trends role")
        children = {
            _url(http): _child(closing, name, settings, folder)
            for name, http in (("worker", settings.worker.http), ("trends", settings.trends.http))
        }

        def check() -> None:
            for child in children.values():
                if not child.alive:
                    raise DependencyError(child.name, f"ended by itself:\n{_tail(child.output())}")
            if not redis.alive:
                log = redis.log.read_text(errors="replace")
                raise DependencyError("Redis", f"ended by itself:\n{_tail(log)}")

        _wait_ready(children, check, stopped)
        worker_url, trends_url = children
        yield Running(bootstrap, worker_url, trends_url, check)


def demo_settings(given: Settings, *, bootstrap: str, redis_url: str) -> Settings:
    """The settings of both roles: of the given ones only what is said about the model and its batches."""
    # The roles run in a folder of their own.
    path = None if given.model.path is None else given.model.path.absolute()
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=bootstrap),
        redis=RedisSettings(url=redis_url),
        model=given.model.model_copy(update={"path": path}),
        batch=given.batch,
        worker=WorkerSettings(http=WorkerHttpSettings(port=free_port()), fetch_wait_ms=_FETCH_WAIT_MS),
        trends=TrendsSettings(http=TrendsHttpSettings(port=free_port())),
        log=LogSettings(format="text"),
    )


def environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables; what is at its default is left out."""
    return dict(_variables(settings, ENV_PREFIX))


def command(role: str, settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """The command line of a role, less every setting that `environ` holds and we do not want."""
    wanted = environment(settings)
    unwanted = sorted(name for name in environ if name.startswith(ENV_PREFIX) and name not in wanted)
    # A child inherits the environment; only `env` takes something out of it.
    return [
        "/usr/bin/env",
        *(part for name in unwanted for part in ("-u", name)),
        *(f"{name}={value}" for name, value in sorted(wanted.items())),
        sys.executable,
        "-m",
        "worker",
        role,
    ]


def _variables(section: BaseModel, prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in section.model_dump(exclude_defaults=True, mode="json").items():
        yield from _variable(f"{prefix}{name.upper()}", value)


def _variable(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for part, inner in value.items():
            yield from _variable(f"{name}__{part.upper()}", inner)
    else:
        yield name, str(value)


def _child(closing: ExitStack, name: str, settings: Settings, folder: Path) -> ChildProcess:
    child = ChildProcess(name, command(name, settings, os.environ), log=folder / f"{name}.log", cwd=folder)
    closing.push(lambda kind, *_: child.stop() if kind is None else child.kill())
    child.start(lambda: True)
    return child


def _wait_ready(
    children: Mapping[str, ChildProcess], check: Callable[[], None], stopped: Callable[[], bool]
) -> None:
    """Both start at the same time, so that two cores are used."""
    deadline = time.monotonic() + _READY_WITHIN_S
    waiting = dict(children)
    while waiting and not stopped():
        check()
        for url, child in list(waiting.items()):
            if answers_ok(f"{url}/readyz"):
                del waiting[url]
            elif time.monotonic() > deadline:
                raise DependencyError(
                    child.name, f"not ready within {_READY_WITHIN_S:g} s:\n{_tail(child.output())}"
                )
        time.sleep(0.05)


def _url(http: HttpSettings) -> str:
    return f"http://{HOST}:{http.port}"


def _tail(log: str) -> str:
    return "\n".join(f"  | {line}" for line in log.strip().splitlines()[-_LOG_LINES:]) or "  | (no log)"
