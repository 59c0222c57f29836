from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import openvino as ov
import pytest

from worker.model.artifact import Artifact, load
from worker.model.batch import padded
from worker.model.bundled import bundled_model
from worker.model.openvino_backend import PRECISION, OpenVinoBackend, shared_core


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return load(bundled_model())


@pytest.fixture(scope="module")
def backend(artifact: Artifact) -> Iterator[OpenVinoBackend]:
    made = OpenVinoBackend(artifact, streams=2)
    yield made
    made.close()


def rows(n: int) -> list[list[int]]:
    rng = np.random.default_rng(3)
    return [[101, *rng.integers(1000, 30_000, rng.integers(1, 60)).tolist(), 102] for _ in range(n)]


def test_many_rows_at_once_answer_as_each_alone(artifact: Artifact, backend: OpenVinoBackend) -> None:
    """Several micro-batches in flight must not read each other's arrays."""
    asked = rows(400)
    alone = shared_core().compile_model(str(artifact.openvino_path), "CPU", PRECISION)
    expected = []
    for row in asked:
        ids = np.asarray(
            [row + [0] * (padded(len(row)) - len(row))], dtype=np.int64
        )  # as long as in the backend
        expected.append(alone({"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)})[0][0])
    np.testing.assert_allclose(backend.logits(asked), np.stack(expected), atol=0.02)


def test_an_answer_does_not_depend_on_what_else_is_asked(backend: OpenVinoBackend) -> None:
    asked = rows(200)
    together = backend.logits(asked)
    for size in (1, 3, 16, 64):
        parts = [backend.logits(asked[start : start + size]) for start in range(0, len(asked), size)]
        np.testing.assert_allclose(np.concatenate(parts), together, atol=0.02)


def test_nothing_is_computed_in_shorter_floats_than_was_measured(backend: OpenVinoBackend) -> None:
    """Left to itself OpenVINO takes bfloat16 with AMX, and half precision on ARM: other answers."""
    assert backend._model.get_property("INFERENCE_PRECISION_HINT") == ov.Type.f32


def test_no_rows_give_no_logits(artifact: Artifact, backend: OpenVinoBackend) -> None:
    assert backend.logits([]).shape == (0, artifact.logits)


def test_the_same_rows_give_the_same_logits(backend: OpenVinoBackend) -> None:
    asked = rows(64)
    np.testing.assert_array_equal(backend.logits(asked), backend.logits(asked))


def test_signals_still_arrive_after_models_came_and_went(artifact: Artifact) -> None:
    """In a process of its own, with the fault handler's signal stack in place, as in a service."""
    script = """
import faulthandler, gc, os, signal, sys
from pathlib import Path
faulthandler.enable()
from worker.model.artifact import load
from worker.model.batch import padded
from worker.model.openvino_backend import OpenVinoBackend
artifact = load(Path(sys.argv[1]))
signal.signal(signal.SIGTERM, lambda *_: print("heard", flush=True))
first = OpenVinoBackend(artifact, 1)
second = OpenVinoBackend(artifact, 1)
for backend in (first, second):
    backend.close()
del first, second, backend
gc.collect()
os.kill(os.getpid(), signal.SIGTERM)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script, str(artifact.path)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "heard\n"), ended.stderr
