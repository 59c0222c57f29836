from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import openvino as ov
import pytest

from worker.model.artifact import Artifact, load
from worker.model.bundled import bundled_model
from worker.model.openvino_backend import OpenVinoBackend


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
    alone = ov.Core().compile_model(str(artifact.openvino_path), "CPU")
    expected = []
    for row in asked:
        ids = np.asarray([row], dtype=np.int64)
        expected.append(alone({"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0])
    np.testing.assert_allclose(backend.logits(asked), np.stack(expected), atol=0.02)


def test_no_rows_give_no_logits(artifact: Artifact, backend: OpenVinoBackend) -> None:
    assert backend.logits([]).shape == (0, artifact.logits)


def test_the_same_rows_give_the_same_logits(backend: OpenVinoBackend) -> None:
    asked = rows(64)
    np.testing.assert_array_equal(backend.logits(asked), backend.logits(asked))
