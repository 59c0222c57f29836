"""What computes logits. One protocol, one file an implementation; `make` chooses."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import sys
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from worker.errors import ArtifactError, ConfigurationError
from worker.model.artifact import Artifact
from worker.model.packed.config import UnsupportedModelError

BackendName = Literal["auto", "native", "openvino", "torch", "null"]
log = logging.getLogger(__name__)


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

    Args:
        artifact: What to serve.
        name: auto: torch where there is a GPU; else our own forward pass, if it can compute this network on
            this machine and the artefact is served in 8 bits anyhow; else OpenVINO.
        streams: Cores to use, on a CPU; 0 means all usable ones.

    Raises:
        ConfigurationError: the backend is not installed, or not for this machine or network.
        ArtifactError: the artefact has no weights for it.
    """
    if name == "null":
        return NullBackend(artifact.logits)
    if name == "torch" or (name == "auto" and _cuda()):
        return _torch(artifact)
    if name == "native":
        return _named_native(artifact, streams)
    if name == "auto":
        try:
            return _native(artifact, streams)
        except UnsupportedModelError as error:
            log.info("%s: OpenVINO computes it: %s", artifact.full_name, error)
    return _openvino(artifact, streams)


def _native(artifact: Artifact, streams: int, *, asked_for: bool = False) -> Backend:
    """Our own forward pass.

    Args:
        artifact: What to serve.
        streams: Cores.
        asked_for: Even if the artefact has a graph for single precision.

    Raises:
        UnsupportedModelError: it is not for this artefact or this machine; the message says why.
        ArtifactError: the artefact's weights do not belong to its manifest.
    """
    from worker.model.native.library import library

    if not artifact.has("model.safetensors"):
        raise UnsupportedModelError("the model has no model.safetensors")
    if not asked_for and artifact.has("openvino.xml") and not _in_eight_bits(artifact):
        raise UnsupportedModelError("the model is to be served in single precision")
    compiled = library()
    if compiled is None:
        raise UnsupportedModelError("our own forward pass is there for Linux on x86-64 with AVX2 alone")
    from worker.model.native.backend import NativeBackend

    backend = NativeBackend(artifact, compiled, streams)
    _same(artifact, backend.outputs)
    return backend


def _named_native(artifact: Artifact, streams: int) -> Backend:
    _needs(artifact, "model.safetensors")
    try:
        return _native(artifact, streams, asked_for=True)
    except UnsupportedModelError as error:
        raise ConfigurationError(
            [f"model.backend=native cannot serve {artifact.full_name} ({error}): choose auto or openvino"]
        ) from error


def _in_eight_bits(artifact: Artifact) -> bool:
    """Whether the artefact's graph is quantised: then its maker holds 8 bits to be exact enough."""
    return b'element_type="i8"' in artifact.openvino_path.read_bytes()


def _torch(artifact: Artifact) -> Backend:
    if importlib.util.find_spec("torch") is None:
        raise ConfigurationError(
            ["model.backend=torch needs PyTorch: install moodstream[gpu], or choose auto or openvino"]
        )
    _needs(artifact, "model.safetensors")
    from worker.model.torch_backend import TorchBackend

    return TorchBackend(artifact)


def _openvino(artifact: Artifact, streams: int) -> Backend:
    _needs(artifact, "openvino.xml")
    from worker.model.openvino_backend import OpenVinoBackend

    backend = OpenVinoBackend(artifact, streams)
    _same(artifact, backend.outputs)
    return backend


def _same(artifact: Artifact, outputs: int) -> None:
    if outputs != artifact.logits:
        raise ArtifactError(
            artifact.path, [f"the weights give {outputs} logits, the manifest names {artifact.logits}"]
        )


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
