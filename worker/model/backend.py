"""What computes logits. One protocol, one file an implementation; `make` chooses."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from worker.errors import ArtifactError, ConfigurationError
from worker.model.artifact import Artifact

BackendName = Literal["auto", "openvino", "torch", "null"]


class Backend(Protocol):
    """A loaded model. Calls come from one thread at a time."""

    name: str

    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits (n, outputs) of `n` rows of token ids, in the order of the rows."""
        ...

    def close(self) -> None:
        """Give the memory and threads back."""
        ...


class NullBackend:
    """No model at all: for measuring everything around it."""

    name = "null"

    def __init__(self, outputs: int) -> None:
        self._outputs = outputs

    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        return np.zeros((len(rows), self._outputs), dtype=np.float32)

    def close(self) -> None:
        """Nothing is held."""


def make(artifact: Artifact, name: BackendName = "auto", streams: int = 0) -> Backend:
    """Load the artefact's weights into the backend of that name.

    Raises:
        ConfigurationError: the backend's packages are not installed.
        ArtifactError: the artefact has no weights for it.
    """
    if name == "auto":
        name = "torch" if _cuda() else "openvino"
    if name == "null":
        return NullBackend(artifact.logits)
    if name == "torch":
        if importlib.util.find_spec("torch") is None:
            raise ConfigurationError(
                ["model.backend=torch needs PyTorch: install moodstream[gpu], or choose openvino"]
            )
        _needs(artifact, "model.safetensors")
        from worker.model.torch_backend import TorchBackend

        return TorchBackend(artifact)
    _needs(artifact, "openvino.xml")
    from worker.model.openvino_backend import OpenVinoBackend

    backend = OpenVinoBackend(artifact, streams)
    if backend.outputs != artifact.logits:
        raise ArtifactError(
            artifact.path, [f"the graph gives {backend.outputs} logits, the manifest names {artifact.logits}"]
        )
    return backend


def _needs(artifact: Artifact, name: str) -> None:
    if not artifact.has(name):
        raise ArtifactError(artifact.path, [f"{name} is missing: this backend cannot serve it"])


def _cuda() -> bool:
    """Whether torch can use a GPU. It is 500 MB of memory, so it is asked only where there is a driver."""
    if importlib.util.find_spec("torch") is None or not _driver():
        return False
    import torch

    return torch.cuda.is_available()


def _driver() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
