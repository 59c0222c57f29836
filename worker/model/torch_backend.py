"""Half precision on an NVIDIA GPU through PyTorch; the same code runs in float32 on a CPU, for parity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForSequenceClassification

from worker.model.artifact import Artifact
from worker.model.batch import micro_batches

_MICRO_BATCH_ROWS = 2048
_MICRO_BATCH_TOKENS = 32_768


class TorchBackend:
    """transformers' own forward pass over the artefact's safetensors, batches sorted by length."""

    name = "torch"

    def __init__(self, artifact: Artifact) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.float16 if self._device.type == "cuda" else torch.float32
        config = AutoConfig.from_pretrained(artifact.path, trust_remote_code=False)
        model: Any = AutoModelForSequenceClassification.from_pretrained(
            artifact.path, config=config, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
        self._model = model.to(self._device).eval()

    @torch.inference_mode()
    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        answer = np.empty((len(rows), self._model.config.num_labels), dtype=np.float32)
        pending = []
        for part in micro_batches(rows, max_rows=_MICRO_BATCH_ROWS, max_tokens=_MICRO_BATCH_TOKENS):
            out = self._model(
                input_ids=torch.from_numpy(part.input_ids).to(self._device, non_blocking=True),
                attention_mask=torch.from_numpy(part.attention_mask).to(self._device, non_blocking=True),
            )
            pending.append((part.rows, out.logits))
        for indices, logits in pending:
            answer[indices] = logits.float().cpu().numpy()
        return answer

    def close(self) -> None:
        del self._model
