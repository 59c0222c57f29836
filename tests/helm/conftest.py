"""The chart's tests need Helm."""

from __future__ import annotations

import pytest

from tests.support.helm import available


@pytest.fixture(autouse=True, scope="session")
def _helm() -> None:
    missing = available()
    if missing is not None:
        pytest.skip(missing)
