"""A chunk computed at once, in its exact size, on the CPU. For parity and for machines without a GPU."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from worker.model.packed.encoder import Encoder
from worker.model.packed.layout import Layout, Size

LIMIT: Final = Size(tokens=2048, rows=256)
"""Activations of a chunk stay within a core's cache for the small models that a CPU is good for."""


class CpuSlot:
    """Computes in `submit`; `collect` hands over."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._answer = np.empty((0, encoder.outputs), dtype=np.float32)

    @torch.inference_mode()
    def submit(self, ids: NDArray[np.int32], lengths: NDArray[np.int32]) -> None:
        layout = Layout(Size(len(ids), len(lengths)), int(lengths.max()))
        buffer = np.empty(layout.total, dtype=np.int32)
        layout.fill(buffer, ids, lengths)
        self._answer = self._encoder(layout.views(torch.from_numpy(buffer))).numpy()

    def collect(self) -> NDArray[np.float32]:
        return self._answer
