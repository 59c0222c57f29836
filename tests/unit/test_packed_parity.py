"""The packed forward against transformers' own, which pads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.model.packed.flow import PackedModel
from worker.model.packed.load import Options, load

pytestmark = pytest.mark.usefixtures("one_thread")

VOCABULARY = 500
OUTPUTS = 7
LONGEST = 128
CPU = torch.device("cpu")

Rows = list[list[int]]


def made(name: str, **config: Any) -> Any:
    """A sequence classifier of transformers."""
    import transformers

    shape = getattr(transformers, f"{name}Config")(vocab_size=VOCABULARY, num_labels=OUTPUTS, **config)
    return getattr(transformers, f"{name}ForSequenceClassification")(shape)


_SHAPE = {
    "hidden_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "max_position_embeddings": LONGEST + 32,
}


def bert(**changes: Any) -> Any:
    """In MiniLM's shape: narrow heads, a thin feed-forward part."""
    return made("Bert", **(_SHAPE | changes))


def roberta() -> Any:
    """With as many positions as it needs and no more."""
    special = {"max_position_embeddings": LONGEST + 2, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
    return made("Roberta", **(_SHAPE | special))


def distilbert() -> Any:
    """Its parameters have names of their own."""
    return made("DistilBert", dim=96, n_layers=3, n_heads=4, hidden_dim=256, max_position_embeddings=160)


FAMILIES: dict[str, Callable[[], Any]] = {"bert": bert, "distilbert": distilbert, "roberta": roberta}


def stir(network: Any) -> Any:
    """Random numbers everywhere, large enough that every part of the network shows in the logits."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            scale = 0.5 if parameter.dim() == 1 or "embeddings" in name else 1.5 * parameter.shape[1] ** -0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
            if parameter.dim() == 1 and "norm" in name.lower() and name.endswith("weight"):
                parameter.add_(1)
    return network.eval()


def packed(folder: Path, **options: Any) -> PackedModel:
    return load(
        folder / "config.json",
        folder / "model.safetensors",
        max_length=LONGEST,
        device=CPU,
        options=Options(**options),
    )


@torch.inference_mode()
def padded(network: Any, rows: Rows) -> NDArray[np.float32]:
    """transformers' own logits of all rows in one padded batch."""
    ids = torch.full((len(rows), max(map(len, rows))), network.config.pad_token_id)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = 1
    logits: NDArray[np.float32] = network(input_ids=ids, attention_mask=mask).logits.float().numpy()
    return logits


def some_rows(lengths: Sequence[int], seed: int = 0) -> Rows:
    generator = np.random.default_rng(seed)
    return [generator.integers(5, VOCABULARY, length).tolist() for length in lengths]


@pytest.fixture(scope="module", params=list(FAMILIES))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A network of each family, and the folder it is saved in."""
    network = stir(FAMILIES[request.param]())
    folder = tmp_path_factory.mktemp(request.param)
    network.save_pretrained(folder)
    return network, folder


@pytest.mark.parametrize("count", [1, 2, 17, 300])
def test_the_logits_are_those_of_transformers(pair: tuple[Any, Path], count: int) -> None:
    network, folder = pair
    rows = some_rows(np.random.default_rng(count).integers(3, LONGEST + 1, count).tolist())

    found = packed(folder).logits(rows)

    assert found.shape == (count, OUTPUTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, padded(network, rows), rtol=0, atol=1e-4)
    if count == 300:  # A network that answers the same to everything would prove nothing.
        assert found.std(axis=0).min() > 0.1


@pytest.mark.parametrize("length", [1, 2, 3, 64, 127, 128])
def test_a_single_row(pair: tuple[Any, Path], length: int) -> None:
    network, folder = pair
    rows = some_rows([length])

    np.testing.assert_allclose(packed(folder).logits(rows), padded(network, rows), rtol=0, atol=1e-4)


def test_no_rows(pair: tuple[Any, Path]) -> None:
    assert packed(pair[1]).logits([]).shape == (0, OUTPUTS)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lengths=st.lists(st.integers(1, LONGEST), min_size=1, max_size=40), seed=st.integers(0, 99))
def test_a_row_does_not_feel_its_neighbours(pair: tuple[Any, Path], lengths: list[int], seed: int) -> None:
    rows, model = some_rows(lengths, seed), packed(pair[1])

    together = model.logits(rows)

    alone = np.concatenate([model.logits([row]) for row in rows])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-4)
    np.testing.assert_allclose(model.logits(rows[::-1]), together[::-1], rtol=0, atol=1e-4)


def test_the_last_layer_for_first_tokens_alone_changes_nothing(pair: tuple[Any, Path]) -> None:
    rows = some_rows(np.random.default_rng(3).integers(1, LONGEST + 1, 60).tolist())

    found = packed(pair[1], first_only=True).logits(rows)

    np.testing.assert_allclose(found, packed(pair[1], first_only=False).logits(rows), rtol=0, atol=1e-5)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"])
def test_every_activation(activation: str, tmp_path: Path) -> None:
    network = stir(bert(hidden_act=activation))
    network.save_pretrained(tmp_path)
    rows = some_rows([3, 40, 17])

    np.testing.assert_allclose(packed(tmp_path).logits(rows), padded(network, rows), rtol=0, atol=2e-5)


def test_the_exact_gelu_is_not_the_tanh_one(tmp_path: Path) -> None:
    """So that the test above can tell them apart."""
    rows, answers = some_rows([3, 40, 17]), []
    for activation in ("gelu", "gelu_new"):
        stir(bert(hidden_act=activation)).save_pretrained(tmp_path / activation)
        answers.append(packed(tmp_path / activation).logits(rows))

    assert np.abs(answers[0] - answers[1]).max() > 2e-4


def test_one_layer_and_heads_of_an_odd_width(tmp_path: Path) -> None:
    network = stir(bert(num_hidden_layers=1, hidden_size=60, num_attention_heads=5, layer_norm_eps=0.01))
    network.save_pretrained(tmp_path)
    rows = some_rows([3, 128, 17])

    np.testing.assert_allclose(packed(tmp_path).logits(rows), padded(network, rows), rtol=0, atol=1e-4)


def test_half_precision_files_are_computed_in_float32(tmp_path: Path) -> None:
    network = stir(bert()).half()
    network.save_pretrained(tmp_path)
    rows = some_rows([3, 40, 17])

    expected = padded(network.float(), rows)

    np.testing.assert_allclose(packed(tmp_path).logits(rows), expected, rtol=0, atol=1e-4)
