"""Schemas by their ids, and a registry that is away, refuses or makes no sense."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.formats import kind_of, record
from tests.support.registry import LocalRegistry, local_registry
from tests.support.schema_world import AWAY, SCHEMA, World, value
from worker.errors import BadRecordError, DependencyError
from worker.formats import schemas
from worker.formats.registry import RegistryAwayError
from worker.types import Post


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
