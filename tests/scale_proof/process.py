"""`python -m tests.scale_proof.process worker`: the product's own command, with a model that takes its time.

It waits without using the processor, as a host does whose model runs elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tests.chaos import process
from worker.model import backend, classifier
from worker.model.artifact import Artifact
from worker.model.backend import Backend, BackendName

BASE_S = 0.05
POST_S = 0.012
"""Two hundred posts take 2.45 s: 82 posts/s a worker. So slow that brokers on the same two cores, whose
transactions would else take as long as the model, have time to spare."""


class Unhurried:
    """A backend whose batches take a fixed time and so much for each row."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.name = inner.name

    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        done = time.monotonic() + BASE_S + POST_S * len(rows)
        found = self._inner.logits(rows)
        time.sleep(max(0.0, done - time.monotonic()))
        return found

    def close(self) -> None:
        self._inner.close()


def make(artifact: Artifact, name: BackendName = "auto", streams: int = 0) -> Backend:
    """The backend of that name, slowed down."""
    return Unhurried(backend.make(artifact, name, streams))


if __name__ == "__main__":
    setattr(classifier, "make", make)  # noqa: B010 - it is not exported
    process.run()
