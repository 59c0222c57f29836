"""Network and tokenizer of a checkpoint, as transformers loads them and as the artefact keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from training.importing.checkpoint import WEIGHTS, Checkpoint, head_rows
from training.importing.labels import Classes
from worker.errors import ConfigurationError
from worker.types import NEUTRAL


@dataclass(frozen=True)
class Network:
    """What transformers makes of a checkpoint."""

    model: PreTrainedModel
    """In single precision on the CPU, without dropout; its logits in the published order."""
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    """Tokens that texts are cut at, special ones included."""


def load(checkpoint: Checkpoint, max_length: int | None) -> Network:
    """Load a checkpoint; only safetensors are read and no code of its own is run.

    Args:
        checkpoint: What to load.
        max_length: Tokens to cut at; None for as many as network and tokenizer take.

    Raises:
        ConfigurationError: transformers cannot load it, or would make up some of its weights.
    """
    tokenizer = _load_tokenizer(checkpoint)
    most = min(checkpoint.max_length, tokenizer.model_max_length)
    return Network(_load_model(checkpoint), tokenizer, max_length or most)


def _load_model(checkpoint: Checkpoint) -> PreTrainedModel:
    model: Any
    try:
        model, report = AutoModelForSequenceClassification.from_pretrained(
            checkpoint.folder,
            num_labels=checkpoint.outputs,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            dtype="float32",
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise _cannot_load(checkpoint, f"{WEIGHTS} and config.json", error) from error
    missing = sorted(report["missing_keys"])
    if missing:  # transformers would go on with random numbers in their place.
        raise ConfigurationError(
            [
                f"{checkpoint.place.name}: {WEIGHTS} lacks {len(missing)} tensors of this network, such as"
                f" {', '.join(missing[:3])}: fetch the file again, or choose a checkpoint that is whole"
            ]
        )
    network: PreTrainedModel = model.eval()
    return network


def _load_tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerBase:
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            checkpoint.folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # `tokenizers` raises nothing more precise.
        raise _cannot_load(checkpoint, "the tokenizer", error) from error
    if not isinstance(getattr(tokenizer, "backend_tokenizer", None), Tokenizer):
        raise ConfigurationError(
            [
                f"{checkpoint.place.name}: its tokenizer ({type(tokenizer).__name__}) exists as Python code"
                " only and cannot be served: choose a checkpoint with a tokenizer.json"
            ]
        )
    return tokenizer


def _cannot_load(checkpoint: Checkpoint, what: str, error: Exception) -> ConfigurationError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ConfigurationError(
        [
            f"{checkpoint.place.name}: transformers cannot load {what} ({reason}): the files do not belong"
            " together or are damaged; fetch them again"
        ]
    )


def arranged(model: PreTrainedModel, architecture: str, classes: Classes) -> PreTrainedModel:
    """Give a network the artefact's logits, in its order, and their names; changes the network itself.

    Rows of the last layer are put in another order or left out; no number in them changes.
    """
    head: Any = model.get_submodule(head_rows(architecture))
    if list(classes.rows) != list(range(len(head.bias))):
        _keep_rows(head, classes.rows)
    names = [*classes.labels, *([NEUTRAL] if classes.neutral else [])]
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: index for index, name in enumerate(names)}
    return model


def _keep_rows(linear: Any, rows: Sequence[int]) -> None:
    linear.weight = nn.Parameter(linear.weight.detach()[list(rows)].clone(), requires_grad=False)
    linear.bias = nn.Parameter(linear.bias.detach()[list(rows)].clone(), requires_grad=False)
    linear.out_features = len(rows)


def write(network: Network, folder: Path) -> None:
    """Write `config.json`, `model.safetensors` in single precision and `tokenizer.json`.

    Tensors get the names of today, which serving knows: old checkpoints call a norm's weight gamma.
    """
    network.model.config.save_pretrained(folder)
    # transformers' own saving gives tensors the names that they had in the published file.
    tensors = {name: tensor.contiguous() for name, tensor in network.model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer = Tokenizer.from_str(network.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(folder / "tokenizer.json"))


@torch.inference_mode()
def answers(network: Network, texts: Sequence[str], batch_size: int = 16) -> tuple[list[list[int]], Any]:
    """What transformers says itself: token ids of each text, and logits (n, outputs) in float32."""
    rows = network.tokenizer(list(texts), truncation=True, max_length=network.max_length)["input_ids"]
    parts = []
    for start in range(0, len(rows), batch_size):
        batch = network.tokenizer.pad({"input_ids": rows[start : start + batch_size]}, return_tensors="pt")
        logits = network.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        parts.append(logits.float())
    return rows, torch.cat(parts).numpy()
