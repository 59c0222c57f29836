"""Our own forward pass on the CPU: a thread for each core, no padding, 8 bits."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from worker.model.artifact import Artifact
from worker.model.cores import usable_cores
from worker.model.native.layout import Job, Memory
from worker.model.packed.config import read_config
from worker.model.packed.weights import read_weights
from worker.model.rows import ids_of, lengths_of

_TILE_TOKENS = 256
"""What a core computes at a time: what lies between two products stays in its own cache."""
_SMALL_TILE_TOKENS = 96
"""About as much near the end of a call, where a core that others keep busy would hold up all: the other ones
then take what is left. Each tile reads all weights, so that smaller ones cost more in all."""
_LAST_TOKENS = 512
"""For each core, where that end begins."""


class NativeBackend:
    """An artefact's safetensors in 8 bits, on `streams` cores at once; 0 means all usable ones.

    An answer depends on nothing but its row: not on what else is asked, and not on the processor.
    """

    name = "native"

    def __init__(self, artifact: Artifact, library: ctypes.CDLL, streams: int = 0) -> None:
        """Bring the weights to 8 bits.

        Raises:
            UnsupportedModelError: the network is not one of those that this forward knows.
        """
        config = read_config(artifact.config_path)
        weights = read_weights(artifact.safetensors_path, config)
        self.outputs = weights.outputs
        self._vocabulary = config.vocabulary
        self._longest = min(artifact.manifest.max_length, config.max_length)
        self._memory = Memory(config, weights, most=_TILE_TOKENS + self._longest)
        self._model = ctypes.byref(self._memory.model)
        self._library = library
        self._spaces = [_opened(library, self._model) for _ in range(streams or usable_cores())]
        # The thread that asks computes too.
        self._others = ThreadPoolExecutor(max(1, len(self._spaces) - 1), thread_name_prefix="model")

    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits (n, outputs) of `n` rows of token ids, in the order of the rows.

        Raises:
            ValueError: a row is empty or too long, or an id is outside the vocabulary; the model is closed.
        """
        if not self._spaces:
            raise ValueError("the model is closed")
        answer = np.empty((len(rows), self.outputs), dtype=np.float32)
        if not rows:
            return answer
        starts = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(lengths_of(rows, self._longest), out=starts[1:])
        ids = ids_of(rows, self._vocabulary, tokens=int(starts[-1]))
        tiles = cut(starts, len(self._spaces))
        job = Job(
            ids.ctypes.data, starts.ctypes.data, tiles.ctypes.data, len(tiles) - 1, answer.ctypes.data, 0
        )
        job.arrays = (ids, starts, tiles, answer)
        others = [
            self._others.submit(self._library.moodstream_run, self._model, space, ctypes.byref(job))
            for space in self._spaces[1 : len(tiles) - 1]
        ]
        self._library.moodstream_run(self._model, self._spaces[0], ctypes.byref(job))
        for other in others:
            other.result()
        return answer

    def close(self) -> None:
        self._others.shutdown()
        while self._spaces:
            self._library.moodstream_close(self._spaces.pop())


def cut(starts: NDArray[np.int64], cores: int) -> NDArray[np.int64]:
    """(tiles + 1,) the first row of each tile, and the end.

    As even as whole rows allow, and as many for each core; small ones last. A tile has `_TILE_TOKENS`
    and a row's tokens at most.
    """
    tokens = int(starts[-1])
    large = max(0, tokens - cores * _LAST_TOKENS)
    rounds = math.ceil(large / (cores * _TILE_TOKENS))
    last_rounds = max(1, round((tokens - large) / (cores * _SMALL_TILE_TOKENS)))
    ideal = np.concatenate(
        [
            np.linspace(0, large, rounds * cores, endpoint=False),
            np.linspace(large, tokens, last_rounds * cores + 1),
        ]
    )
    return np.unique(np.searchsorted(starts, ideal)).astype(np.int64)


def _opened(library: ctypes.CDLL, model: object) -> int:
    space = library.moodstream_open(model)
    if not space:
        raise MemoryError("no memory left for the model: give the process more, or set model.streams lower")
    return int(space)
