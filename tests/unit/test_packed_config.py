"""Which networks the packed forward takes, and what it says of the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.unit.test_packed_parity import LONGEST, bert, packed, stir
from worker.model.packed.config import UnsupportedModelError, parse_config, read_config
from worker.model.packed.weights import read_weights

BERT = {
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
}
ROBERTA = BERT | {"model_type": "roberta", "max_position_embeddings": 514, "layer_norm_eps": 1e-5}
DISTILBERT = {
    "model_type": "distilbert",
    "vocab_size": 30522,
    "dim": 768,
    "n_layers": 6,
    "n_heads": 12,
    "hidden_dim": 3072,
    "activation": "gelu",
    "max_position_embeddings": 512,
}


def test_minilm() -> None:
    config = parse_config(BERT)

    assert (config.family, config.width, config.heads, config.head_width) == ("bert", 384, 12, 32)
    assert (config.max_length, config.first_position) == (512, 0)
    assert (config.eps, config.activation) == (1e-12, "gelu")


def test_distilbert_has_other_names() -> None:
    config = parse_config(DISTILBERT)

    assert (config.width, config.layers, config.heads, config.inner) == (768, 6, 12, 3072)


def test_roberta_counts_positions_from_its_padding() -> None:
    config = parse_config(ROBERTA)

    assert (config.first_position, config.max_length, config.eps) == (2, 512, 1e-5)
    assert parse_config(ROBERTA | {"pad_token_id": 0}).max_length == 513


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_type": "deberta-v2"}, "the architecture is 'deberta-v2'"),
        ({"model_type": None}, "the architecture is None"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"is_decoder": True}, "decoder"),
        ({"num_attention_heads": 5}, "5 heads do not divide a width of 384"),
        ({"hidden_act": "silu"}, "the activation is 'silu'"),
        ({"hidden_size": "384"}, "hidden_size is '384'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"model_type": "roberta", "pad_token_id": None}, "pad_token_id is None"),
        ({"model_type": "roberta", "max_position_embeddings": 2}, "2 positions from 2 on"),
    ],
)
def test_what_it_does_not_know(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnsupportedModelError, match=reason):
        parse_config(BERT | change)


def test_a_file_that_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]")

    with pytest.raises(UnsupportedModelError, match="no JSON object"):
        read_config(tmp_path / "config.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    stir(bert(num_hidden_layers=2)).save_pretrained(tmp_path)
    return tmp_path


def edit(folder: Path, **changes: torch.Tensor | None) -> None:
    """Replace, add or (None) remove tensors; `__` stands for a dot."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    for name, tensor in changes.items():
        if tensor is None:
            del tensors[name.replace("__", ".")]
        else:
            tensors[name.replace("__", ".")] = tensor
    save_file(tensors, file)


def test_weights_that_lack_a_tensor(folder: Path) -> None:
    edit(folder, classifier__bias=None)

    with pytest.raises(UnsupportedModelError, match=r"the weights lack classifier\.bias"):
        packed(folder)


def test_weights_of_another_shape(folder: Path) -> None:
    edit(folder, bert__pooler__dense__bias=torch.zeros(95))

    with pytest.raises(UnsupportedModelError, match=r"dense\.bias has shape \(95,\), not \(96,\)"):
        packed(folder)


def test_weights_that_would_be_left_out(folder: Path) -> None:
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(raw | {"num_hidden_layers": 1}))

    with pytest.raises(UnsupportedModelError, match=r"also hold bert\.encoder\.layer\.1.*, \.\.\."):
        packed(folder)


def test_saved_position_ids_are_no_weights(folder: Path) -> None:
    """Older releases of transformers wrote them."""
    rows = [[5, 6, 7]]
    expected = packed(folder).logits(rows)

    edit(folder, bert__embeddings__position_ids=torch.arange(LONGEST)[None])

    assert (packed(folder).logits(rows) == expected).all()


def test_weights_in_bfloat16_are_read_as_they_are(tmp_path: Path) -> None:
    """A type that numpy does not know; a file may mix it with others."""
    network = stir(bert()).to(torch.bfloat16)
    network.bert.embeddings.LayerNorm.float()
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    network.config.save_pretrained(tmp_path)

    read = read_weights(tmp_path / "model.safetensors", read_config(tmp_path / "config.json"))

    assert torch.equal(torch.from_numpy(read.head.final.weight), network.classifier.weight.float())
    moved = read.to(torch.device("cpu"), torch.float32)
    dense = network.bert.encoder.layer[0].intermediate.dense
    assert torch.equal(moved.layers[0].up.weight, dense.weight.float())
    assert torch.equal(moved.embedding.norm.weight, network.bert.embeddings.LayerNorm.weight)
