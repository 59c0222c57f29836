"""What the demo runs: a broker in memory or a Kafka, a Redis, and the real roles as they are deployed.

The roles are told everything by their environment, where what the user's own environment says about Kafka
or Redis does not count. They die with this process however it ends, and none of them ends in silence.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from worker.configuration import environment
from worker.demo.http import answers_ok
from worker.errors import DependencyError
from worker.local.broker import PARTITIONS, mock_broker
from worker.local.kafka import RealKafka
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
from worker.topics.admin import create

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
    token: str
    """What the trends role wants to see before it changes anything."""
    check: Callable[[], None]
    """Raises DependencyError, with the end of its log, for whatever has ended."""

    @property
    def page(self) -> str:
        """The live page's address, with the token in the part that a browser sends to nobody."""
        return f"{self.trends_url}/#token={self.token}"


@contextmanager
def servers(
    given: Settings, *, kafka: bool, stopped: Callable[[], bool], say: Callable[[str], None]
) -> Iterator[Running]:
    """Start everything, wait until it is ready, and end it in good order after the block.

    `given` decides about the model and its batches; `kafka` takes a real Kafka for the broker in memory;
    `stopped` ends the wait early.

    Raises:
        DependencyError: something did not start; the message holds the end of its log.
    """
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="moodstream-demo-")))
        say(f"starting {'a Kafka' if kafka else 'a broker in memory'} and a Redis")
        bootstrap = closing.enter_context(_kafka() if kafka else _in_memory())
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
        token = settings.trends.http.token
        assert token is not None  # noqa: S101
        yield Running(bootstrap, worker_url, trends_url, token.get_secret_value(), check)


@contextmanager
def _in_memory() -> Iterator[str]:
    topics = TopicSettings()
    with mock_broker(*topics.inputs, topics.labels, topics.dead_letters, topics.corrections) as bootstrap:
        yield bootstrap


@contextmanager
def _kafka() -> Iterator[str]:
    """One Apache Kafka with all topics; yields its `bootstrap.servers`. All is lost at the end."""
    with RealKafka() as server:
        topics = TopicSettings(partitions=PARTITIONS, replication_factor=1, min_insync_replicas=1)
        create(Settings(kafka=KafkaSettings(bootstrap_servers=server.bootstrap), topics=topics))
        yield server.bootstrap


def demo_settings(given: Settings, *, bootstrap: str, redis_url: str) -> Settings:
    """The settings of both roles: of the given ones only what is said about the model and its batches."""
    # The roles run in a folder of their own.
    folders = {"path": given.model.path, "store": given.model.store}
    absolute = {name: None if folder is None else folder.absolute() for name, folder in folders.items()}
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=bootstrap),
        redis=RedisSettings(url=redis_url),
        model=given.model.model_copy(update=absolute),
        batch=given.batch,
        worker=WorkerSettings(http=WorkerHttpSettings(port=free_port()), fetch_wait_ms=_FETCH_WAIT_MS),
        trends=TrendsSettings(
            store_text="on",
            http=TrendsHttpSettings(port=free_port(), token=SecretStr(secrets.token_hex(8))),
        ),
        log=LogSettings(format="text"),
    )


def command(role: str, wanted: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    """The command line of a role, less every setting that `environ` holds and is not `wanted`.

    What is wanted is for the environment: everybody on a machine may read command lines.
    """
    unwanted = sorted(name for name in environ if name.startswith(ENV_PREFIX) and name not in wanted)
    # A child inherits the environment; only `env` takes something out of it.
    return [
        "/usr/bin/env",
        *(part for name in unwanted for part in ("-u", name)),
        sys.executable,
        "-m",
        "worker",
        role,
    ]


def _child(closing: ExitStack, name: str, settings: Settings, folder: Path) -> ChildProcess:
    wanted = environment(settings)
    child = ChildProcess(
        name, command(name, wanted, os.environ), log=folder / f"{name}.log", cwd=folder, env=wanted
    )
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
