"""What the doctor says of a registry."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.registry import LocalRegistry
from tests.support.schema_world import AWAY, SCHEMA, formats, settings
from worker.configuration import load
from worker.doctor import registry as doctor
from worker.settings import Settings


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
