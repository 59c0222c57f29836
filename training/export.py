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
from worker.model.openvino_backend import PRECISION

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
    chosen = sample(training_ids, seed)
    graph = quantised(single_precision(model, chosen[:_BATCH]), chosen, pad_id(model))
    write_graph(graph, folder, half=True)
    make_readable(folder)


def sample(rows: Ids, seed: int, most: int = _CALIBRATION_TEXTS) -> list[Sequence[int]]:
    """Some of the rows, all of them where there are no more than `most`: for `quantised`."""
    chosen = random.Random(seed).sample(range(len(rows)), min(most, len(rows)))  # noqa: S311 - no secret
    return [rows[row] for row in chosen]


def single_precision(model: PreTrainedModel, examples: Ids) -> ov.Model:
    """The graph in float32, with the number of texts and of tokens left open.

    Args:
        model: The network, in single precision; left as it is.
        examples: Token ids of a few texts, to run through it once.
    """
    any_shape = ov.PartialShape([-1, -1])
    example = _inputs(examples, pad_id(model))
    with torch.inference_mode(), _silence():
        graph = ov.convert_model(
            serving_graph(model),
            example_input={name: torch.from_numpy(part) for name, part in example.items()},
            input=[(name, any_shape, ov.Type.i64) for name in example],
        )
    graph.outputs[0].get_tensor().set_names({"logits"})
    return graph


def quantised(graph: ov.Model, rows: Ids, padding: int) -> ov.Model:
    """The graph in 8 bits; the ranges of its activations are those of some texts.

    Args:
        graph: Of `single_precision`.
        rows: Token ids of the texts.
        padding: The id that fills them up.
    """
    inputs = [_inputs([rows[row] for row in batch], padding) for batch in by_length(rows, _BATCH)]
    with _silence():
        return nncf.quantize(
            graph, nncf.Dataset(inputs), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(inputs)
        )


def write_graph(graph: ov.Model, folder: Path, *, half: bool) -> None:
    """Write `openvino.xml` and `openvino.bin`; with `half`, what is in single precision is halved."""
    for name in ("openvino.xml", "openvino.bin"):
        (folder / name).unlink(missing_ok=True)  # An older one may still be mapped into memory.
    with _silence():
        ov.save_model(graph, folder / "openvino.xml", compress_to_fp16=half)


def make_readable(folder: Path) -> None:
    """Some writers keep their files from the user that a container runs as."""
    for file in folder.iterdir():
        file.chmod(0o644)


def predict_openvino(graph: Path, rows: Ids) -> NDArray[np.float32]:
    """(n, logits) what an exported graph answers on this machine's CPU."""
    compiled = ov.compile_model(graph, "CPU", PRECISION)
    batches = by_length(rows, _BATCH)
    parts = [compiled(_inputs([rows[row] for row in batch]))["logits"] for batch in batches]
    answer = np.empty((len(rows), parts[0].shape[1]), np.float32)
    for batch, part in zip(batches, parts, strict=True):
        answer[batch] = part
    return answer


def pad_id(model: PreTrainedModel) -> int:
    """What the network calls padding."""
    return model.config.pad_token_id or 0


def _inputs(rows: Ids, padding: int = 0) -> dict[str, NDArray[np.int64]]:
    ids, mask = pad(rows, padding)
    return {"input_ids": ids, "attention_mask": mask}


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep NNCF's bars off standard output, and the deprecation of the tracer that OpenVINO uses."""
    logging.getLogger("nncf").setLevel(logging.ERROR)  # its own setter silences the root's handlers
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
