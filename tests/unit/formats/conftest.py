"""A schema registry in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.registry import LocalRegistry, local_registry
from tests.support.schema_world import World


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


@pytest.fixture
def world(server: LocalRegistry) -> World:
    return World(server)
