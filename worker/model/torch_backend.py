"""PyTorch: half precision on an NVIDIA GPU, float32 on a CPU.

BERT-shaped networks go through our own forward without padding (`worker.model.packed`). Any other goes
through transformers' own, padded and sorted by length, and a line in the log says why.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from worker.errors import ArtifactError, ConfigurationError
from worker.model.artifact import Artifact
from worker.model.batch import micro_batches
from worker.model.packed.config import UnsupportedModelError
from worker.model.packed.load import Options, load

log = logging.getLogger(__name__)

_MICRO_BATCH_ROWS = 2048
_MICRO_BATCH_TOKENS = 32_768


class Network(Protocol):
    """A network on its device: what this backend hands its rows to."""

    outputs: int

    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]: ...

    def close(self) -> None: ...


class TorchBackend:
    """An artefact's safetensors on the GPU, if there is one.

    Args:
        artifact: With `config.json` and `model.safetensors`.
        options: What a benchmark varies.

    Raises:
        ConfigurationError: The network needs transformers, which is not installed.
        ArtifactError: The weights do not belong to the manifest or to the network.
    """

    name = "torch"

    def __init__(self, artifact: Artifact, options: Options | None = None) -> None:
        device = (
            torch.device("cuda", torch.cuda.current_device())
            if torch.cuda.is_available()
            else torch.device("cpu")
        )
        if device.type == "cpu":
            log.warning(
                "%s: no GPU is to be seen: torch computes on the CPU, where auto would be far faster",
                artifact.full_name,
            )
        self._model = open_network(artifact, device, options)
        if self._model.outputs != artifact.logits:
            raise ArtifactError(
                artifact.path,
                [f"the weights give {self._model.outputs} logits, the manifest names {artifact.logits}"],
            )

    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        return self._model.logits(rows)

    def close(self) -> None:
        self._model.close()
        torch.cuda.empty_cache()  # Other workers may share the GPU. Without one this does nothing.


def open_network(artifact: Artifact, device: torch.device, options: Options | None = None) -> Network:
    """The packed forward of an artefact's network, or transformers' own where there is none; says so.

    Raises:
        ConfigurationError: The network needs transformers, which is not installed.
        ArtifactError: The weights do not belong to the network.
    """
    try:
        return load(
            artifact.config_path,
            artifact.safetensors_path,
            max_length=artifact.manifest.max_length,
            device=device,
            options=options,
        )
    except UnsupportedModelError as error:
        log.warning(
            "%s: no packed forward for this network (%s): transformers' own serves it, more slowly",
            artifact.full_name,
            error,
        )
    if importlib.util.find_spec("transformers") is None:
        raise ConfigurationError(
            [f"model {artifact.path}: this network needs transformers: install moodstream[gpu]"]
        )
    return TransformersModel(artifact, device)


class TransformersModel:
    """transformers' own forward pass, batches sorted by length and padded.

    Args:
        artifact: With `config.json` and `model.safetensors`.
        device: The CPU (float32) or a GPU (float16).
    """

    def __init__(self, artifact: Artifact, device: torch.device) -> None:
        from transformers import AutoConfig, AutoModelForSequenceClassification

        self._device = device
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        config = AutoConfig.from_pretrained(artifact.path, trust_remote_code=False, local_files_only=True)
        model: Any
        model, report = AutoModelForSequenceClassification.from_pretrained(
            artifact.path,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
        if report["missing_keys"]:  # transformers would go on with random numbers in their place.
            raise ArtifactError(
                artifact.path, [f"the weights lack {', '.join(sorted(report['missing_keys']))}"]
            )
        self.outputs = int(model.config.num_labels)
        self._pad_id = int(config.pad_token_id or 0)
        self._model = model.to(device).eval()

    @torch.inference_mode()
    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits (n, outputs), in the order of the rows."""
        answer = np.empty((len(rows), self.outputs), dtype=np.float32)
        pending = []
        for part in micro_batches(
            rows, max_rows=_MICRO_BATCH_ROWS, max_tokens=_MICRO_BATCH_TOKENS, pad_id=self._pad_id
        ):
            out = self._model(
                input_ids=torch.from_numpy(part.input_ids).to(self._device, non_blocking=True),
                attention_mask=torch.from_numpy(part.attention_mask).to(self._device, non_blocking=True),
            )
            pending.append((part.rows, out.logits))
        for indices, logits in pending:
            answer[indices] = logits.float().cpu().numpy()
        return answer

    def close(self) -> None:
        """Give the memory back."""
        del self._model
