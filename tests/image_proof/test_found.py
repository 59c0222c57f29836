"""Whatever is not as promised makes the proof fail."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.image_proof.run import Found

GOOD = Found(
    base="python:3.13.16-slim-trixie",
    size_mb=467.5,
    base_mb=120.1,
    compressed_mb=203.2,
    posts=1000,
    labelled=1000,
    lost=0,
    doubled=0,
    unlike=1,
    furthest=0.0007,
    exit_code=0,
    faults=[],
)


def test_an_image_that_keeps_all_is_good() -> None:
    assert GOOD.good


@pytest.mark.parametrize(
    "wrong",
    [
        {"size_mb": 500.0},
        {"labelled": 999},
        {"lost": 1},
        {"doubled": 1},
        {"furthest": 0.05},
        {"exit_code": -15},
        {"exit_code": None},
        {"faults": ["gcc is there"]},
    ],
)
def test_one_that_does_not_is_not(wrong: dict[str, Any]) -> None:
    assert not msgspec.structs.replace(GOOD, **wrong).good
