"""What the settings make of it, and who reads labels."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from tests.support.formats import kind_of
from tests.support.label_source import TOPIC, FakeSource
from tests.support.labels import NOON, counted, label
from tests.support.registry import LocalRegistry
from tests.support.schema_world import SCHEMA, formats, settings, value
from worker.cli import cli
from worker.clock import ManualClock
from worker.configuration import load
from worker.dependency import Dependency
from worker.doctor import registry as doctor
from worker.errors import ConfigurationError, DependencyError, UnansweredError
from worker.formats import schemas
from worker.formats.frame import header
from worker.formats.opened import Formats, for_command
from worker.metrics import Metrics
from worker.quality import lookup
from worker.settings import Format
from worker.sources import webhook
from worker.sources.hooks import Hook, Signature
from worker.trends.counting import CountedLabel
from worker.trends.live.feed import MemoryLiveFeed, Sampler
from worker.trends.live.hub import Hub
from worker.trends.loop import TrendsLoop
from worker.trends.memory_store import MemoryTrendStore
from worker.trends.store import Limits
from worker.trends.windows import Window
from worker.types import Label
from worker.web.health import Health


def test_with_json_alone_there_is_no_registry_and_nothing_in_between() -> None:
    clock = ManualClock()
    health = Health(clock, 60, ())
    made = Formats(load({}, {}), clock=clock, metrics=Metrics(), health=health)
    assert made.ready()
    assert made.posts() == {}
    assert isinstance(made.labels(Label).__self__, msgspec.json.Decoder)  # type: ignore[attr-defined]
    encode: Any = made.encoder("labels", lambda: True)
    assert isinstance(encode.__self__, msgspec.json.Encoder)
    assert health.conditions() == {}


@pytest.mark.parametrize("kind", ["avro", "protobuf"])
def test_without_auto_register_the_schema_must_be_there(server: LocalRegistry, kind: Format) -> None:
    made = formats(settings(server, kind, registry__auto_register="off"))
    with pytest.raises(ConfigurationError, match=r"registry\.auto_register=off: labels-value has not got"):
        made.encoder("labels", lambda: True)
    by_hand = json.dumps(schemas.avro(Label)) if kind == "avro" else schemas.protobuf(Label)
    number = server.register("labels-value", by_hand, kind.upper())
    encode = made.encoder("labels", lambda: True)
    assert encode is not None
    assert len(server.schemas) == number == 1


def test_a_subject_that_does_not_take_our_schema_is_named(server: LocalRegistry) -> None:
    server.register("labels-value", json.dumps(SCHEMA))
    with pytest.raises(
        ConfigurationError, match=r"topics\.label_format=avro: .* as labels-value: .*incompat"
    ):
        formats(settings(server)).encoder("labels", lambda: True)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"topics.input_formats": "tweets=avro"}, "topics.input_formats (tweets=avro)"),
        ({"topics.label_format": "protobuf"}, "topics.label_format=protobuf"),
    ],
)
def test_formats_without_a_registry_are_refused_with_an_accepted_value(
    flags: dict[str, str], told: str
) -> None:
    problem = (
        f"registry.url (MOODSTREAM_REGISTRY__URL): {told} cannot be without a schema registry; accepted, for"
        " example: http://schema-registry:8081"
    )
    with pytest.raises(ConfigurationError) as caught:
        formats(load(flags, {}))
    assert str(caught.value) == problem
    [finding] = doctor.look(load(flags, {}))
    assert (finding.state, finding.said) == ("fault", problem)


def test_a_role_waits_for_the_registry_until_it_is_told_to_stop(server: LocalRegistry) -> None:
    server.stop()
    left = iter([True] * 5 + [False])
    assert formats(settings(server)).encoder("labels", lambda: next(left)) is None
    clock = ManualClock()
    waiting = formats(settings(server), clock)

    def start() -> bool:
        if server._server is None:
            server.start()
        return True

    assert waiting.wait(start)


def test_a_command_waits_for_the_registry_for_so_long(server: LocalRegistry) -> None:
    server.stop()
    clock = ManualClock()
    read = for_command(settings(server), clock, 30.0).readers()["tweets"]
    began = clock.time()
    with pytest.raises(DependencyError, match="registry"):
        read(value(1))
    assert 30 <= clock.time() - began < 40


def test_sources_write_no_json_into_a_topic_of_another_format(tmp_path: Path) -> None:
    file = tmp_path / "posts.jsonl"
    file.write_text('{"id": 1, "text": "x"}')
    flags = ["--set", "topics.input_formats=tweets=avro", "--bootstrap", "127.0.0.1:1"]
    ended = CliRunner().invoke(cli, ["send", str(file), *flags])
    assert isinstance(ended.exception, ConfigurationError)
    assert "tweets is avro, and sources write JSON" in str(ended.exception)
    hook = Hook("zendesk", "tweets", Signature.ZENDESK, SecretStr("s" * 32))
    given = load({"topics.input_formats": "tweets=avro"}, {})
    with pytest.raises(ConfigurationError, match="sources write JSON"):
        webhook.run(given, Metrics(), ManualClock(), threading.Event(), hooks={"zendesk": hook})


def test_trends_wait_for_the_registry_and_count_every_label_once(server: LocalRegistry) -> None:
    given = settings(server)
    encode = formats(given).encoder("labels", lambda: True)
    assert encode is not None
    in_avro = [encode(msgspec.json.decode(label("joy", at=NOON + i), type=Label)) for i in range(3)]
    clock = ManualClock(NOON + 100.0)
    source, store = FakeSource(), MemoryTrendStore(clock, Limits(1e9, max_sources=8))
    metrics, health = Metrics(), Health(clock, 60, ())
    made = Formats(given, clock=clock, metrics=metrics, health=health)
    loop = TrendsLoop(
        source,
        store,
        feed=MemoryLiveFeed(Hub(clock), Sampler(TOPIC, clock)),
        topic=TOPIC,
        max_records=100,
        redis=Dependency("redis", clock, metrics, health),
        clock=clock,
        metrics=metrics,
        health=health,
        read=made.labels(CountedLabel),
        ready=made.ready,
    )
    source.put(label("fear", at=NOON), *in_avro, b"\0\0\0\0", header(77) + b"x", None)
    source.assign(0)
    assert made.ready()
    server.stop()
    for _ in range(5):
        loop.run_once()
        clock.sleep(1)
    assert not health.conditions()["registry"]
    assert store.read(Window(NOON, NOON + 3600, 3600)).totals["joy"] == 0
    server.start()
    for _ in range(5):
        clock.sleep(10)
        loop.run_once()
    assert counted(store.read(Window(NOON, NOON + 3600, 60))) == {(NOON, "fear"): 1, (NOON, "joy"): 3}
    skipped = metrics.registry.get_sample_value(
        "moodstream_trends_records_skipped_total", {"reason": "invalid"}
    )
    assert skipped == 2
    assert health.conditions()["registry"]


class Message:
    def __init__(self, value: bytes | None) -> None:
        self._value = value

    def value(self) -> bytes | None:
        return self._value


def test_a_label_to_be_judged_is_asked_for_again_while_the_registry_is_away(server: LocalRegistry) -> None:
    given = settings(server, "protobuf")
    encode = formats(given).encoder("labels", lambda: True)
    assert encode is not None
    one = msgspec.json.decode(label("joy", at=NOON), type=Label)
    server.stop()
    clock = ManualClock()
    read = formats(given, clock).labels(Label)
    message: Any = Message(encode(one))
    with pytest.raises(UnansweredError):
        lookup._label(message, read)
    server.start()
    clock.sleep(10)
    assert lookup._label(message, read) == one
    broken: Any = Message(b"\0\0")
    assert kind_of(lambda: lookup._label(broken, read)) == "label_unreadable"
