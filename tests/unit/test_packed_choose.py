"""A part that cannot run or answers wrongly is passed over; of the others the fastest is taken."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from worker.model.packed import choose as chooser
from worker.model.packed import plain
from worker.model.packed.choose import choose
from worker.model.packed.config import EncoderConfig

CONFIG = EncoderConfig("bert", 100, 32, 2, 2, 64, 64, 0, 1e-12, "gelu")


def fast(part: Callable[..., Any]) -> Callable[..., Any]:
    """The same, but not `plain` itself."""
    return partial(part)


@pytest.fixture(autouse=True)
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is recorded or timed: whatever is not `plain` took half the time."""
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: None)
    monkeypatch.setattr(chooser, "capture", lambda work, _: work)
    monkeypatch.setattr(
        chooser, "seconds", lambda work, _: 2.0 if work.__closure__[0].cell_contents in PLAIN else 1.0
    )


PLAIN = (plain.embed, plain.add_norm, plain.attention, plain.first_attention)


def chosen(monkeypatch: pytest.MonkeyPatch, kernels: Any, **wanted: Any) -> Any:
    monkeypatch.setattr(chooser, "_modules", lambda: iter([("triton", kernels), ("plain", plain)]))
    return choose(CONFIG, 32, torch.float32, torch.device("cpu"), **wanted)


def test_the_fastest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = SimpleNamespace(attention=fast(plain.attention), embed=fast(plain.embed))

    parts = chosen(monkeypatch, kernels)

    assert parts.attention is kernels.attention
    assert parts.embed is kernels.embed
    assert parts.add_norm is plain.add_norm


def test_what_is_asked_for_is_taken_whatever_its_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = SimpleNamespace(attention=fast(plain.attention), embed=fast(plain.embed))

    parts = chosen(monkeypatch, kernels, attention="plain")

    assert parts.attention is plain.attention
    assert parts.embed is kernels.embed


def test_a_wrong_answer_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kernels = SimpleNamespace(
        attention=lambda qkv, packed, heads: plain.attention(qkv, packed, heads) * 1.5,
        add_norm=lambda *inputs: plain.add_norm(*inputs) * float("nan"),
    )

    parts = chosen(monkeypatch, kernels, attention="triton")

    assert parts.attention is plain.attention
    assert parts.add_norm is plain.add_norm
    assert "attention by triton is not used: it is off by" in caplog.text


def test_a_compiler_that_fails_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> torch.Tensor:
        raise OSError("no C compiler")

    parts = chosen(monkeypatch, SimpleNamespace(embed=broken))

    assert parts.embed is plain.embed
    assert "embed by triton is not used: OSError: no C compiler" in caplog.text


def test_a_module_that_is_not_to_be_had(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(chooser._MODULES, "varlen", "not_in_this_release")
    caplog.set_level(logging.INFO)

    assert "varlen" not in dict(chooser._modules())
    assert "varlen is not to be had here" in caplog.text
