"""A trained network to the files of an artefact: half precision for GPUs, 8 bits for CPUs."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import random
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import nncf
import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from training.graph import serving_graph
from training.model import by_length, pad

Ids = Sequence[Sequence[int]]

_CALIBRATION_TEXTS = 512
"""Enough for ranges that no longer move; more made no difference in accuracy (NNCF's default: 300)."""
_BATCH = 16


def export(model: PreTrainedModel, tokenizer: Tokenizer, training_ids: Ids, folder: Path, seed: int) -> None:
    """Write `config.json`, `tokenizer.json`, `model.safetensors` and the 8-bit `openvino.*`.

    The graph takes `input_ids` and `attention_mask`, both int64 (n, tokens) with any n and any number
    of tokens, and gives `logits`, float32 (n, logits). It is quantised after training (NNCF, the
    scheme for transformers): the ranges of the activations are those of some training texts.

    Args:
        model: The trained network, in single precision; left as it is.
        tokenizer: As it was used in training.
        training_ids: Token ids of the training texts.
        folder: Where to write; it exists.
        seed: For the choice of training texts.
    """
    tokenizer.save(str(folder / "tokenizer.json"))
    half = copy.deepcopy(model).half()  # type: ignore[no-untyped-call] # transformers' own, untyped
    half.save_pretrained(folder)
    chosen = random.Random(seed).sample(  # noqa: S311 - a sample of texts, not a secret
        range(len(training_ids)), min(_CALIBRATION_TEXTS, len(training_ids))
    )
    inputs = list(_batches([training_ids[row] for row in chosen]))
    with _silence():
        graph = nncf.quantize(
            _openvino(model, inputs[0]),
            nncf.Dataset(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(inputs),
        )
        ov.save_model(graph, folder / "openvino.xml", compress_to_fp16=True)
    for file in folder.iterdir():
        file.chmod(0o644)  # Some writers keep their files from the user that a container runs as.


def predict_openvino(graph: Path, rows: Ids) -> NDArray[np.float32]:
    """(n, logits) what an exported graph answers on this machine's CPU."""
    compiled = ov.compile_model(graph, "CPU")
    batches = by_length(rows, _BATCH)
    parts = [compiled(_inputs([rows[row] for row in batch]))["logits"] for batch in batches]
    answer = np.empty((len(rows), parts[0].shape[1]), np.float32)
    for batch, part in zip(batches, parts, strict=True):
        answer[batch] = part
    return answer


def _openvino(model: PreTrainedModel, example: dict[str, NDArray[np.int64]]) -> ov.Model:
    """The graph in single precision, with the number of texts and of tokens left open."""
    any_shape = ov.PartialShape([-1, -1])
    with torch.inference_mode():
        graph = ov.convert_model(
            serving_graph(model),
            example_input={name: torch.from_numpy(part) for name, part in example.items()},
            input=[(name, any_shape, ov.Type.i64) for name in example],
        )
    graph.outputs[0].get_tensor().set_names({"logits"})
    return graph


def _batches(rows: Ids) -> Iterator[dict[str, NDArray[np.int64]]]:
    for batch in by_length(rows, _BATCH):
        yield _inputs([rows[row] for row in batch])


def _inputs(rows: Ids) -> dict[str, NDArray[np.int64]]:
    ids, mask = pad(rows)
    return {"input_ids": ids, "attention_mask": mask}


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep NNCF's bars off standard output, and the deprecation of the tracer that OpenVINO uses."""
    logging.getLogger("nncf").setLevel(logging.ERROR)  # its own setter silences the root's handlers
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
