"""A graph on the CPU through OpenVINO: one single-threaded stream a core, micro-batches sorted by length.

What is not in 8 bits is computed in single precision, whatever the machine has: by itself OpenVINO takes
bfloat16 where there is AMX, which is no faster here and gives one post in fifteen another label
(bench/RESULTS.md, "A machine with AMX"). int8 was measured against ONNX Runtime int8 there ("CPU runtime"):
the faster at equal accuracy.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from worker.model.artifact import Artifact
from worker.model.batch import micro_batches, read_pad_id
from worker.model.cores import usable_cores

PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}
"""Of whatever computes an artefact's graph: serving, and what measures and calibrates it."""
_MICRO_BATCH_ROWS = 16
_MICRO_BATCH_TOKENS = 1024
"""16 rows of tweets are the fastest measured; long texts get fewer rows so that no stream runs late."""


_REQUESTS_A_STREAM = 2
"""One runs and one waits its turn: a stream never waits for Python to bring the next."""


@functools.cache
def shared_core() -> ov.Core:
    """The one runtime of this process, which is never given back.

    A runtime puts the main thread's signal stack aside for one of its own and restores it in the end. With
    two whose lives overlap, the last to go restores memory that is already freed, and the next SIGTERM
    kills the process.
    """
    return ov.Core()


class OpenVinoBackend:
    """A compiled graph with `streams` parallel inferences; 0 means one per usable core."""

    name = "openvino"

    def __init__(self, artifact: Artifact, streams: int = 0) -> None:
        streams = streams or usable_cores()
        graph = shared_core().read_model(str(artifact.openvino_path))
        self._model = shared_core().compile_model(
            graph,
            "CPU",
            {
                "PERFORMANCE_HINT": "THROUGHPUT",
                "NUM_STREAMS": str(streams),
                "INFERENCE_NUM_THREADS": str(streams),
                "ENABLE_CPU_PINNING": False,
                **PRECISION,
            },
        )
        self._streams = streams
        self._pad_id = read_pad_id(artifact.config_path)
        self.outputs = int(self._model.output(0).partial_shape[1].get_length())
        self._inputs = {name for port in self._model.inputs for name in port.names}
        self._queue = ov.AsyncInferQueue(self._model, _REQUESTS_A_STREAM * streams)
        self._queue.set_callback(self._keep)

    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        answer = np.empty((len(rows), self.outputs), dtype=np.float32)
        for part in micro_batches(
            rows,
            max_rows=_MICRO_BATCH_ROWS,
            max_tokens=_MICRO_BATCH_TOKENS,
            pad_id=self._pad_id,
            streams=self._streams,
        ):
            inputs = {"input_ids": part.input_ids, "attention_mask": part.attention_mask}
            if "token_type_ids" in self._inputs:
                inputs["token_type_ids"] = np.zeros_like(part.input_ids)
            # The graph reads our arrays in place: the callback's data keep them alive until it has.
            self._queue.start_async(inputs, (answer, part.rows, inputs), share_inputs=True)
        self._queue.wait_all()
        return answer

    @staticmethod
    def _keep(request: Any, held: tuple[NDArray[np.float32], NDArray[np.intp], object]) -> None:
        answer, rows, _ = held
        answer[rows] = request.get_output_tensor(0).data

    def close(self) -> None:
        self._queue.wait_all()
        del self._queue, self._model  # some 100 MB, while another model serves in its place
