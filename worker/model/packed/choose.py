"""Which implementation of each part this machine can run: each is tried, checked against `plain`, and timed.

An older PyTorch, a newer one, a machine without the C compiler that Triton calls: what fails or answers
wrongly is passed over with a line in the log, down to plain PyTorch, which always runs.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import torch

from worker.model.packed import plain
from worker.model.packed.config import EncoderConfig
from worker.model.packed.cuda import capture, seconds
from worker.model.packed.encoder import Parts
from worker.model.packed.layout import Layout, Packed, Size
from worker.model.packed.weights import Embedding, Norm, map_tensors

log = logging.getLogger(__name__)

Kind = Literal["triton", "varlen", "plain"]
_MODULES: Final[dict[Kind, str]] = {"triton": "kernels", "varlen": "varlen", "plain": "plain"}
"""Where each kind's functions are; they have the names of the fields of `Parts`."""

_SIZE = Size(tokens=8192, rows=1024)
_WORDS = 64
_TOLERANCE = 0.05
"""On values around 1, where bfloat16 rounds to 0.004."""
_CALLS = 8
"""In one graph: a part takes about as long as the launch of a graph."""


class _Trial(NamedTuple):
    """One part's inputs, and which of its answers count."""

    inputs: tuple[Any, ...]
    live: int
    """Rows of the answer that are no padding."""


def choose(
    config: EncoderConfig,
    max_length: int,
    dtype: torch.dtype,
    device: torch.device,
    attention: Kind | None = None,
) -> Parts:
    """The fastest parts that answer rightly.

    Args:
        config: Shapes to try them with.
        max_length: Tokens of the longest row.
        dtype: Half precision.
        device: A CUDA device.
        attention: Take this kind for attention wherever it works, whatever its speed.
    """
    trials = _trials(config, max_length, dtype, device)
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    modules = dict(_modules())
    chosen: dict[str, Any] = {}
    for field in fields(Parts):
        candidates = {
            kind: getattr(module, field.name)
            for kind, module in modules.items()
            if hasattr(module, field.name)
        }
        times = dict(_times(field.name, candidates, trials[field.name], stream))
        forced = attention if "attention" in field.name and attention in times else None
        best = forced or _quickest(times)
        log.info(
            "%s by %s (%s)", field.name, best, ", ".join(f"{k} {t * 1e6:.1f} us" for k, t in times.items())
        )
        chosen[field.name] = getattr(modules[best], field.name)
    return Parts(**chosen)


def _times(
    name: str, candidates: dict[Kind, Any], trial: _Trial, stream: torch.cuda.Stream
) -> Iterator[tuple[Kind, float]]:
    """Seconds a call, for those that work."""
    for kind, part in candidates.items():
        taken = _time(part, getattr(plain, name), trial, stream)
        if isinstance(taken, float):
            yield kind, taken
        else:
            log.warning("%s by %s is not used: %s", name, kind, taken)


def _quickest(times: dict[Kind, float]) -> Kind:
    return min(times, key=lambda kind: times[kind], default="plain")


def _modules() -> Iterator[tuple[Kind, Any]]:
    for kind, name in _MODULES.items():
        try:
            yield kind, importlib.import_module(f"worker.model.packed.{name}")
        except ImportError as error:
            log.info("%s is not to be had here: %s", kind, error)


@torch.inference_mode()
def _time(
    part: Callable[..., torch.Tensor],
    reference: Callable[..., torch.Tensor],
    trial: _Trial,
    stream: torch.cuda.Stream,
) -> float | str:
    """Seconds that a call takes within a graph, or what is wrong with it."""

    def calls() -> None:
        for _ in range(_CALLS):
            part(*trial.inputs)

    exact = reference(*map_tensors(trial.inputs, _float))[: trial.live]
    try:
        found = part(*trial.inputs)[: trial.live].float()
        if not torch.allclose(found, exact, rtol=_TOLERANCE, atol=_TOLERANCE):
            return f"it is off by {(found - exact).abs().max().item():.3g}"
        return seconds(capture(calls, stream), stream) / _CALLS
    except Exception as error:  # Compilers and drivers raise what they like.
        return f"{type(error).__name__}: {error}"


def _trials(
    config: EncoderConfig, max_length: int, dtype: torch.dtype, device: torch.device
) -> dict[str, _Trial]:
    """By part."""
    generator = torch.Generator(device).manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, device=device).to(dtype)

    packed, tokens, rows = _tweets(max_length, device)
    width, heads, eps = config.width, config.heads, config.eps
    norm = Norm(random(width), random(width))
    table = Embedding(random(_WORDS, width), random(max_length, width), norm)
    return {
        "embed": _Trial((packed, table, eps), tokens),
        "add_norm": _Trial((random(_SIZE.tokens, width), random(_SIZE.tokens, width), norm, eps), tokens),
        "attention": _Trial((random(_SIZE.tokens, 3 * width), packed, heads), tokens),
        "first_attention": _Trial(
            (random(_SIZE.rows, width), random(_SIZE.tokens, 2 * width), packed, heads), rows
        ),
    }


def _tweets(max_length: int, device: torch.device) -> tuple[Packed, int, int]:
    """A chunk of made-up tweets, one as long as can be and one of one token among them.

    Returns:
        The chunk, and how many of its tokens and rows are no padding.
    """
    generator = np.random.default_rng(1)
    lengths = np.minimum(generator.integers(3, 48, _SIZE.rows), max_length).astype(np.int32)
    lengths[10], lengths[20] = max_length, 1
    lengths = lengths[np.cumsum(lengths) <= _SIZE.tokens - max_length]
    tokens = int(lengths.sum())
    layout = Layout(_SIZE, max_length)
    buffer = np.empty(layout.total, dtype=np.int32)
    layout.fill(buffer, generator.integers(0, _WORDS, tokens).astype(np.int32), lengths)
    return layout.views(torch.from_numpy(buffer).to(device)), tokens, len(lengths)


def _float(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
