"""A chunk on an NVIDIA GPU: copied in, one CUDA graph replayed, copied out, each on a stream of its own.

    upload    | chunk 1 | chunk 2 | chunk 3 |
    compute             |     chunk 1      |     chunk 2      |
    download                               | chunk 1 |        | chunk 2 |

A graph is a forward pass recorded once and replayed without Python: at 512 tokens the launches of its 50
kernels would take longer than the kernels. Its shapes and addresses are fixed, hence one graph a bucket, all
over the same input and output; they never run at the same time, so they also share the memory of what lies
between.
https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worker.model.packed.encoder import Encoder
from worker.model.packed.layout import Layout, Size, smallest

log = logging.getLogger(__name__)

_TYPICAL_LENGTH = 25
"""Tokens of a tweet: what a bucket is filled with when its speed is measured."""

_GOOD_ENOUGH = 0.97
"""Of the best speed: a smaller bucket that reaches it answers sooner."""

_CANDIDATES_FROM = 4096
"""Tokens. Smaller buckets leave most of a large GPU idle: never the fastest, so not tried."""


def capture(work: Callable[[], None], stream: torch.cuda.Stream, pool: Any = None) -> Callable[[], None]:
    """Record what `work` does on the device; the function returned does it again.

    It runs twice before: libraries allocate, and kernels are compiled, at their first use, which must not
    happen in a recording. Other threads may go on using the device ("thread_local").
    """
    with torch.cuda.stream(stream):
        work()
        work()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
        work()
    return graph.replay


def seconds(work: Callable[[], None], stream: torch.cuda.Stream, times: int = 10) -> float:
    """Seconds of device time that one call of `work` takes."""
    start, end = _event(enable_timing=True), _event(enable_timing=True)
    with torch.cuda.stream(stream):
        work()
        start.record()
        for _ in range(times):
            work()
        end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000 / times


class Graphs:
    """The encoder, recorded once for each bucket.

    Args:
        encoder: With its weights on `device`.
        sizes: Of the buckets, ascending.
        max_length: Tokens of the longest row.
        device: A CUDA device.
        graphs: Off, the encoder is called each time: slower, for finding faults.
    """

    @torch.inference_mode()
    def __init__(
        self,
        encoder: Encoder,
        sizes: Sequence[Size],
        max_length: int,
        device: torch.device,
        *,
        graphs: bool = True,
    ) -> None:
        self.device = device
        self.upload, self.compute, self.download = (_stream(device) for _ in range(3))
        self.sizes = list(sizes)
        self.largest = self.sizes[-1]
        self.outputs = encoder.outputs
        self._encoder = encoder
        self._layouts = {size: Layout(size, max_length) for size in sizes}
        self.integers = max(layout.total for layout in self._layouts.values())
        self._input = torch.zeros(self.integers, dtype=torch.int32, device=device)
        self._output = torch.zeros((self.largest.rows, self.outputs), dtype=torch.float32, device=device)
        torch.cuda.synchronize(device)
        self._replays = self._record(graphs=graphs)

    def _record(self, *, graphs: bool) -> dict[Size, Callable[[], None]]:
        """Largest first: what it needs in between serves the others too."""
        replays: dict[Size, Callable[[], None]] = {}
        pool = torch.cuda.graph_pool_handle() if graphs else None
        for size in reversed(self.sizes):
            layout = self._layouts[size]
            self._input[: layout.total].copy_(torch.from_numpy(_typical(layout)))
            torch.cuda.synchronize(self.device)
            forward = self._forward(layout)
            replays[size] = capture(forward, self.compute, pool) if graphs else forward
        return replays

    def _forward(self, layout: Layout) -> Callable[[], None]:
        packed, output = layout.views(self._input), self._output[: layout.size.rows]

        def forward() -> None:
            output.copy_(self._encoder(packed))

        return forward

    def layout_for(self, needed: Size) -> Layout:
        """Of the smallest bucket that holds a chunk."""
        return self._layouts[smallest(self.sizes, needed)]

    def run(self, layout: Layout, source: torch.Tensor, target: torch.Tensor) -> None:
        """Compute a chunk, on the current stream, from and to a slot's memory on the device."""
        self._input[: layout.total].copy_(source[: layout.total])
        self._replays[layout.size]()
        target[: layout.size.rows].copy_(self._output[: layout.size.rows])

    def tokens_per_second(self, size: Size) -> float:
        """Of a full bucket of tweets."""
        return size.tokens / seconds(self._replays[size], self.compute)


class CudaSlot:
    """Page-locked memory on the host and the same on the device, for one chunk in flight."""

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs
        logits = (graphs.largest.rows, graphs.outputs)
        self._host_in = _pinned((graphs.integers,), torch.int32)
        self._host_out = _pinned(logits, torch.float32)
        self._device_in = torch.empty(graphs.integers, dtype=torch.int32, device=graphs.device)
        self._device_out = torch.empty(logits, dtype=torch.float32, device=graphs.device)
        self._uploaded, self._computed = _event(), _event()
        # Blocking: the thread sleeps instead of spinning, the core tokenises the next batch.
        self._downloaded = _event(blocking=True)
        self._rows = 0

    @torch.inference_mode()
    def submit(self, ids: NDArray[np.int32], lengths: NDArray[np.int32]) -> None:
        graphs, rows = self._graphs, len(lengths)
        layout = graphs.layout_for(Size(len(ids), rows))
        layout.fill(self._host_in.numpy(), ids, lengths)
        with torch.cuda.stream(graphs.upload):
            self._device_in[: layout.total].copy_(self._host_in[: layout.total], non_blocking=True)
            self._uploaded.record()
        with torch.cuda.stream(graphs.compute):
            graphs.compute.wait_event(self._uploaded)
            graphs.run(layout, self._device_in, self._device_out)
            self._computed.record()
        with torch.cuda.stream(graphs.download):
            graphs.download.wait_event(self._computed)
            self._host_out[:rows].copy_(self._device_out[:rows], non_blocking=True)
            self._downloaded.record()
        self._rows = rows

    def collect(self) -> NDArray[np.float32]:
        self._downloaded.synchronize()
        answer: NDArray[np.float32] = self._host_out[: self._rows].numpy()
        return answer


def record(
    encoder: Encoder, sizes: Sequence[Size], max_length: int, device: torch.device, *, graphs: bool = True
) -> Graphs:
    """The encoder on its buckets, up to the one that computes most tokens a second on this GPU."""
    if not graphs:
        return Graphs(encoder, sizes, max_length, device, graphs=False)
    try:
        largest = _fastest(encoder, sizes, max_length, device)
        return Graphs(encoder, [size for size in sizes if largest.holds(size)], max_length, device)
    except RuntimeError:
        log.warning("no CUDA graphs here: every kernel is launched by itself, which is slower", exc_info=True)
        return Graphs(encoder, sizes, max_length, device, graphs=False)


def _fastest(encoder: Encoder, sizes: Sequence[Size], max_length: int, device: torch.device) -> Size:
    """The smallest of the buckets that is nearly as fast as any."""
    candidates = [size for size in sizes if size.tokens >= max(_CANDIDATES_FROM, max_length)] or [sizes[-1]]
    rates = {size: Graphs(encoder, [size], max_length, device).tokens_per_second(size) for size in candidates}
    for size, rate in rates.items():
        log.info("%d tokens at a time: %.2f million tokens/s", size.tokens, rate / 1e6)
    return next(size for size, rate in rates.items() if rate >= _GOOD_ENOUGH * max(rates.values()))


def _typical(layout: Layout) -> NDArray[np.int32]:
    """A full bucket of tweets."""
    length = min(_TYPICAL_LENGTH, layout.max_length, layout.size.tokens)
    rows = min(layout.size.tokens // length, layout.size.rows)
    buffer = np.empty(layout.total, dtype=np.int32)
    layout.fill(buffer, np.zeros(rows * length, dtype=np.int32), np.full(rows, length, dtype=np.int32))
    return buffer


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _event(*, enable_timing: bool = False, blocking: bool = False) -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=enable_timing, blocking=blocking)  # type: ignore[no-untyped-call]


def _pinned(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Page-locked: the only memory that the device copies from and to while the CPU goes on."""
    return torch.empty(shape, dtype=dtype, pin_memory=True)
