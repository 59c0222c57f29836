"""Schemas by their ids, and a registry that is away, refuses or makes no sense."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from tests.support.certificates import Authority
from tests.support.label_source import TOPIC, FakeSource
from tests.support.labels import NOON, counted, label
from tests.support.registry import LocalRegistry, local_registry
from tests.unit.test_formats import avro_value, kind_of, record
from worker.cli import cli
from worker.clock import ManualClock
from worker.configuration import load
from worker.dependency import Dependency
from worker.doctor import registry as doctor
from worker.errors import BadRecordError, ConfigurationError, DependencyError, UnansweredError
from worker.formats import schemas
from worker.formats.cache import Schemas
from worker.formats.frame import HEADER, header
from worker.formats.opened import Formats, for_command
from worker.formats.registry import Registry, RegistryAwayError
from worker.metrics import Metrics
from worker.quality import lookup
from worker.settings import Format, RegistrySettings, Settings
from worker.sources import webhook
from worker.sources.hooks import Hook, Signature
from worker.stream.memory import MemoryLog, MemorySource
from worker.stream.schema_source import SchemaSource
from worker.trends.counting import CountedLabel
from worker.trends.live.feed import MemoryLiveFeed, Sampler
from worker.trends.live.hub import Hub
from worker.trends.loop import TrendsLoop
from worker.trends.memory_store import MemoryTrendStore
from worker.trends.store import Limits
from worker.trends.windows import Window
from worker.types import Label, Post, TopicPartition
from worker.web.health import Health

SCHEMA = record(("id", "long"), ("text", "string"))


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalRegistry]:
    with local_registry() as registry:
        yield registry


@pytest.fixture
def server(shared: LocalRegistry) -> Iterator[LocalRegistry]:
    """Empty, up and friendly."""
    shared.schemas.clear()
    shared.subjects.clear()
    shared.asked.clear()
    shared.login, shared.failing = None, None
    yield shared
    shared.stop()
    shared.start()


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


@pytest.fixture
def world(server: LocalRegistry) -> World:
    return World(server)


def value(number: int, **post: Any) -> bytes:
    return header(number) + avro_value(SCHEMA, {"id": 1, "text": "x", **post})[HEADER:]


def test_a_schema_is_asked_for_once(world: World, server: LocalRegistry) -> None:
    number = server.register("a-value", json.dumps(SCHEMA))
    for post_id in range(3):
        assert world.read(value(number, id=post_id)) == Post(id=post_id, text="x")
    assert server.asked == [f"GET /schemas/ids/{number}"]
    assert world.metric("schemas_fetched_total", outcome="usable") == 1


def test_an_unknown_schema_is_a_bad_record_and_asked_for_again_later(
    world: World, server: LocalRegistry
) -> None:
    assert kind_of(lambda: world.read(value(1))) == "unknown_schema"
    world.read.resolve(1)
    assert len(server.asked) == 1
    number = server.register("a-value", json.dumps(SCHEMA))
    assert number == 1
    assert kind_of(lambda: world.read(value(1))) == "unknown_schema"
    world.clock.sleep(31)
    assert kind_of(lambda: world.read(value(1))) == "unknown_schema"  # between two looks nobody asks
    world.read.resolve(1)
    assert world.read(value(1)).id == 1


def test_who_resolves_nothing_asks_again_too(world: World, server: LocalRegistry) -> None:
    assert kind_of(lambda: world.read(value(1))) == "unknown_schema"
    server.register("a-value", json.dumps(SCHEMA))
    world.clock.sleep(61)
    assert world.read(value(1)).id == 1


@pytest.mark.parametrize(
    ("schema", "kind", "why"),
    [
        (schemas.protobuf(Post), "PROTOBUF", "of type PROTOBUF, and the topic's format is avro"),
        ('"string"', "AVRO", "no record"),
        (json.dumps(record(("id", "long"), ("next", ["null", "Post"]))), "AVRO", "refers to itself"),
    ],
)
def test_a_schema_that_cannot_be_used_is_a_bad_record_that_says_why(
    world: World, server: LocalRegistry, schema: str, kind: str, why: str
) -> None:
    number = server.register("a-value", schema, kind)
    with pytest.raises(BadRecordError, match=why) as caught:
        world.read(value(number))
    assert caught.value.kind == "unusable_schema"
    assert f"schema {number}" in caught.value.reason


def test_a_part_that_is_not_there_makes_a_schema_unusable(world: World, server: LocalRegistry) -> None:
    whole = record(("id", "long"), ("text", "string"), ("by", "com.example.By"))
    number = server.register(
        "a-value", json.dumps(whole), references=[{"name": "com.example.By", "subject": "gone", "version": 1}]
    )
    with pytest.raises(BadRecordError, match=r"com\.example\.By, which it needs, is not in the registry"):
        world.read(value(number))


def test_parts_that_need_each_other_end(world: World, server: LocalRegistry) -> None:
    """No registry takes them; a broken one could say so."""
    around = [{"name": "p.A", "subject": "a-value", "version": 1}]
    number = server.register("a-value", json.dumps(record(("x", "p.A"))), references=around)
    assert kind_of(lambda: world.read(value(number))) == "unusable_schema"


def test_schemas_that_are_not_used_for_long_are_forgotten(server: LocalRegistry) -> None:
    world = World(server, most=2)
    numbers = [
        server.register(f"s{i}", json.dumps(record(("id", "long"), (f"f{i}", "long")))) for i in range(3)
    ]
    for number in (numbers[0], numbers[1], numbers[0], numbers[2]):
        world.read.resolve(number)
    asked = len(server.asked)
    assert asked == 3
    world.read.resolve(numbers[0])
    assert len(server.asked) == asked
    world.read.resolve(numbers[1])
    assert len(server.asked) == asked + 1


AWAY: dict[str, Callable[[LocalRegistry], None]] = {
    "down": lambda server: server.stop(),
    "failing": lambda server: setattr(server, "failing", (500, '{"error_code": 50001, "message": "oh"}')),
    "busy": lambda server: setattr(server, "failing", (429, "")),
    "another server": lambda server: setattr(server, "failing", (404, "<html>not found</html>")),
    "a page": lambda server: setattr(server, "failing", (200, "<html>hello</html>")),
    "moved": lambda server: setattr(server, "failing", (302, "")),
}


@pytest.mark.parametrize("how", AWAY)
def test_a_registry_that_is_away_makes_no_bad_record(world: World, server: LocalRegistry, how: str) -> None:
    number = server.register("a-value", json.dumps(SCHEMA))
    AWAY[how](server)
    with pytest.raises(RegistryAwayError):
        world.read(value(number))
    assert world.metric("dependency_up", dependency="registry") == 0
    assert world.metric("dependency_retries_total", dependency="registry") == 1
    server.stop()
    server.start()
    server.failing = None
    with pytest.raises(RegistryAwayError):  # nobody asks before the pause is over
        world.read(value(number))
    assert world.metric("dependency_retries_total", dependency="registry") == 1
    world.clock.sleep(10)
    assert world.read(value(number)).id == 1
    assert world.metric("dependency_up", dependency="registry") == 1


def test_what_is_known_is_read_while_the_registry_is_away(world: World, server: LocalRegistry) -> None:
    number = server.register("a-value", json.dumps(SCHEMA))
    world.read.resolve(number)
    server.stop()
    assert world.read(value(number)).id == 1


def test_a_registry_that_refuses_us_ends_the_role_and_no_secret_is_told(server: LocalRegistry) -> None:
    server.login = "ann:right"
    world = World(server, username="ann", password="wrong-secret")
    with pytest.raises(DependencyError, match=r"registry\.username and registry\.password") as caught:
        world.read(value(1))
    assert "wrong-secret" not in str(caught.value)
    number = server.register("a-value", json.dumps(SCHEMA))
    assert World(server, username="ann", password="right").read(value(number)).id == 1


def test_a_certificate_that_cannot_be_trusted_ends_the_role(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    pair = authority.issue("registry")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.certificate, pair.key)
    with local_registry(tls=tls) as server:
        number = server.register("a-value", json.dumps(SCHEMA))
        trusting = World(server, ssl_ca_location=authority.certificate)
        assert trusting.read(value(number)).id == 1
        for strange in (World(server), World(server, ssl_ca_location=stranger.certificate)):
            with pytest.raises(DependencyError, match=r"registry\.ssl_ca_location"):
                strange.read(value(number))
        server.stop()
        with pytest.raises(RegistryAwayError):
            World(server, ssl_ca_location=authority.certificate).read(value(number))


# Records that wait


class Around:
    """A source behind which schemas are looked at, over a log in memory."""

    def __init__(self, world: World) -> None:
        self.world, self.log = world, MemoryLog()
        self.revoked: list[TopicPartition] = []
        self.source = SchemaSource(MemorySource(self.log), {"tweets": world.read.resolve}, world.clock)
        self.source.open(self.revoked.extend)

    def put(self, *values: bytes | None, topic: str = "tweets", partition: int = 0) -> None:
        for one in values:
            self.log.append(topic, one, key=b"k", partition=partition)

    def take(self, limit: int = 100) -> list[tuple[str, int]]:
        return [(record.topic, record.offset) for record in self.source.take(limit, 0.2)]


@pytest.fixture
def around(world: World) -> Around:
    return Around(world)


def test_records_whose_schemas_are_known_come_in_their_order(around: Around, server: LocalRegistry) -> None:
    number = server.register("a-value", json.dumps(SCHEMA))
    around.put(value(number), b"{}", None, value(999))
    around.put(b'{"id":1,"text":"x"}', topic="feedback")
    assert around.take() == [("tweets", 0), ("tweets", 1), ("tweets", 2), ("tweets", 3), ("feedback", 0)]
    assert server.asked == [f"GET /schemas/ids/{number}", "GET /schemas/ids/999"]


def test_while_the_registry_is_away_records_wait_and_none_is_lost(
    around: Around, server: LocalRegistry
) -> None:
    known, new = (
        server.register(f"{name}-value", json.dumps(record(("id", "long"), (name, "string"))))
        for name in ("text", "say")
    )
    around.world.read.resolve(known)
    server.stop()
    around.put(value(known), value(new), value(known))
    assert around.take() == [("tweets", 0)]
    before = around.world.clock.time()
    assert around.take() == []
    assert around.world.clock.time() > before  # it does not spin
    server.start()
    around.world.clock.sleep(10)
    assert around.take(1) == [("tweets", 1)]
    assert around.take() == [("tweets", 2)]
    assert around.take() == []


def test_what_waits_is_dropped_when_another_worker_takes_over(around: Around, server: LocalRegistry) -> None:
    server.stop()
    around.put(value(1), partition=0)
    around.put(value(1), partition=1)
    assert around.take() == []
    around.source._revoked([TopicPartition("tweets", 0)])
    assert around.revoked == [TopicPartition("tweets", 0)]
    server.start()
    around.world.clock.sleep(10)
    assert [record.partition for record in around.source.take(10, 0.2)] == [1]


def test_what_waits_comes_again_from_what_is_committed(around: Around, server: LocalRegistry) -> None:
    server.stop()
    around.put(value(1), value(1))
    assert around.take() == []
    around.source.rewind()
    server.start()
    around.world.clock.sleep(10)
    assert around.take() == [("tweets", 0), ("tweets", 1)]


# As the settings say


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


# Who reads labels


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


# The doctor


def looked(given: Settings) -> dict[str, tuple[str, str, bool]]:
    return {one.check: (one.state, f"{one.said} {one.mend}", one.away) for one in doctor.look(given)}


def test_the_doctor_says_nothing_where_all_is_json() -> None:
    assert looked(load({}, {})) == {}


def test_the_doctor_looks_at_the_registry_and_changes_nothing(server: LocalRegistry) -> None:
    given = settings(server)
    found = looked(given)
    assert {check: state for check, (state, _, _) in found.items()} == {
        "registry.login": "ok",
        "registry.labels": "ok",
    }
    assert server.schemas == {}
    formats(given).encoder("emotion-labels", lambda: True)
    assert "has the schema" in looked(given)["registry.labels"][1]


def broken(server: LocalRegistry) -> None:
    server.register("emotion-labels-value", json.dumps(SCHEMA))


def locked(server: LocalRegistry) -> None:
    server.login = "ann:secret"


@pytest.mark.parametrize(
    ("break_it", "more", "check", "told", "away"),
    [
        (AWAY["down"], {}, "registry.login", "set registry.url (MOODSTREAM_REGISTRY__URL)", True),
        (AWAY["a page"], {}, "registry.login", "check registry.url", True),
        (locked, {}, "registry.login", "check registry.username and registry.password", True),
        (broken, {}, "registry.labels", "does not take the schema of labels", False),
        (
            lambda _: None,
            {"registry__auto_register": "off"},
            "registry.labels",
            "set registry.auto_register=on",
            False,
        ),
        (
            lambda _: None,
            {"registry__ssl_ca_location": "/nowhere.pem"},
            "registry.settings",
            "registry.ssl_ca_location",
            False,
        ),
    ],
)
def test_the_doctor_says_what_to_do(
    server: LocalRegistry,
    break_it: Callable[[LocalRegistry], None],
    more: dict[str, str],
    check: str,
    told: str,
    away: bool,
) -> None:
    break_it(server)
    given = settings(server, "avro", **more)
    if check == "registry.settings":
        given = settings(server, "avro", **more, registry__url=server.url.replace("http:", "https:"))
    state, said, is_away = looked(given)[check]
    assert (state, is_away) == ("fault", away)
    assert told in said
