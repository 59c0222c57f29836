"""An artefact's files to a model that answers; on a GPU checked against float32 on the CPU before it may."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch

from worker.model.packed.choose import Kind, choose
from worker.model.packed.config import EncoderConfig, UnsupportedModelError, read_config
from worker.model.packed.cpu import LIMIT, CpuSlot
from worker.model.packed.cuda import CudaSlot, record
from worker.model.packed.encoder import Encoder
from worker.model.packed.flow import PackedModel, Slot
from worker.model.packed.layout import BUCKETS, Size, bucket_sizes
from worker.model.packed.weights import Weights, read_weights

log = logging.getLogger(__name__)

_PRECISIONS: Final = ((torch.float16, 0.05), (torch.bfloat16, 0.2))
"""With how far logits may be off, relative to the largest. float16 first: artefacts are stored in it, it is
eight times as exact, and these networks normalise after every sum, so no activation comes near its 65,504."""

_PROBE_LENGTHS = (1, 3, 9, 25, 25, 64, 128, 512)


@dataclass(frozen=True)
class Options:
    """What a benchmark may want to vary on a GPU; the defaults choose by measuring."""

    attention: Kind | None = None
    """None: the fastest that answers rightly."""
    buckets: tuple[int, ...] = BUCKETS
    """Tokens."""
    slots: int = 3
    """Chunks in flight: one copied in, one computed, one copied out."""
    graphs: bool = True
    """Off: every kernel is launched by itself."""
    first_only: bool = True
    """Off: the last layer is computed for every token."""


def load(
    config_path: Path,
    weights_path: Path,
    *,
    max_length: int,
    device: torch.device,
    options: Options | None = None,
) -> PackedModel:
    """A sequence classifier, ready to answer.

    Args:
        config_path: `config.json`, as transformers writes it.
        weights_path: `model.safetensors`.
        max_length: Tokens that texts are cut at; the network may allow fewer.
        device: The CPU, or a CUDA device.
        options: For a GPU.

    Raises:
        UnsupportedModelError: This forward does not know the network, or this GPU computes it wrongly.
    """
    options = options or Options()
    config = read_config(config_path)
    network = _Network(config, read_weights(weights_path, config), min(max_length, config.max_length))
    exact = _on_cpu(network, options)
    if device.type == "cpu":
        return exact
    probe = _probe(network)
    expected = exact.logits(probe)
    scale = max(1.0, float(np.abs(expected).max()))
    for dtype, tolerance in _PRECISIONS:
        model = _on_cuda(network, dtype, device, options)
        off = float(np.abs(model.logits(probe) - expected).max()) / scale
        if off <= tolerance:  # Never true of NaN.
            log.info(
                "%s on %s, logits within %.4f of float32", dtype, torch.cuda.get_device_name(device), off
            )
            return model
        log.warning("logits in %s are off by %.3g, %.2g is allowed", dtype, off, tolerance)
        model.close()
    raise UnsupportedModelError("its logits in half precision are far from those in float32")


class _Network(NamedTuple):
    config: EncoderConfig
    weights: Weights
    """As read."""
    max_length: int

    def model(self, slots: Sequence[Slot], limit: Size) -> PackedModel:
        return PackedModel(
            slots,
            limit=limit,
            outputs=self.weights.outputs,
            vocabulary=self.config.vocabulary,
            max_length=self.max_length,
        )


def _on_cpu(network: _Network, options: Options) -> PackedModel:
    weights = network.weights.to(torch.device("cpu"), torch.float32)
    encoder = Encoder(network.config, weights, first_only=options.first_only)
    return network.model([CpuSlot(encoder)], LIMIT)


def _on_cuda(network: _Network, dtype: torch.dtype, device: torch.device, options: Options) -> PackedModel:
    config, max_length, sizes = network.config, network.max_length, bucket_sizes(options.buckets)
    if max_length > sizes[-1].tokens:
        raise UnsupportedModelError(
            f"rows of {max_length} tokens fit no bucket: the largest has {sizes[-1].tokens}"
        )
    with torch.cuda.device(device):
        parts = choose(config, max_length, dtype, device, options.attention)
        weights = network.weights.to(device, dtype)
        encoder = Encoder(config, weights, parts, first_only=options.first_only)
        graphs = record(encoder, sizes, max_length, device, graphs=options.graphs)
        return network.model([CudaSlot(graphs) for _ in range(options.slots)], graphs.largest)


def _probe(network: _Network) -> list[list[int]]:
    """Rows of many lengths, of ids from the whole vocabulary."""
    random, vocabulary = np.random.default_rng(1), network.config.vocabulary
    return [random.integers(0, vocabulary, min(n, network.max_length)).tolist() for n in _PROBE_LENGTHS]
