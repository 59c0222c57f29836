"""The loss by hand, and the exported graph against the network's own forward pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.test_packed_parity import FAMILIES, padded, some_rows, stir
from training.data import SIX, UNKNOWN
from training.graph import BertGraph, DistilBertGraph, RobertaGraph, WholeGraph, serving_graph
from training.loss import emotion_loss
from training.model import Base, by_length, find_base, load_model, load_tokenizer, pad, predict
from training.rows import collate
from worker.errors import ConfigurationError, DependencyError
from worker.types import LABELS


def target(neutral: float = 0.0, **emotions: float) -> list[float]:
    return [*(emotions.get(name, 0.0) for name in LABELS[:SIX]), neutral]


def test_the_loss_of_even_logits() -> None:
    logits = torch.zeros(2, 7)
    targets = torch.tensor([target(joy=1.0), target(joy=0.5, fear=0.5)])

    # Cross-entropy of one in six, whatever the target; binary cross-entropy of one in two.
    assert emotion_loss(logits, targets).item() == pytest.approx(np.log(6) + np.log(2))
    assert emotion_loss(logits, targets, neutral_weight=0).item() == pytest.approx(np.log(6))
    assert emotion_loss(logits[:, :6], targets).item() == pytest.approx(np.log(6))


def test_each_half_is_a_mean_over_the_rows_that_know_it() -> None:
    logits = torch.tensor([[0, 3.0, 0, 0, 0, 0, -2.0], [9, 0, 0, 0, 0, 0, 1.5], [0, 0, 0, 9, 0, 0, 9]])
    targets = torch.tensor([target(joy=1.0), target(neutral=1.0), target(UNKNOWN)])

    emotion = -np.log(np.exp(3) / (np.exp(3) + 5))
    neutral = (-np.log(1 - 1 / (1 + np.exp(2))) - np.log(1 / (1 + np.exp(-1.5)))) / 2
    assert emotion_loss(logits, targets).item() == pytest.approx(emotion + neutral, rel=1e-5)


def test_label_smoothing_spreads_a_share_evenly() -> None:
    logits = torch.tensor([[0, 3.0, 0, 0, 0, 0]])
    log_p = torch.log_softmax(logits, 1)[0].numpy()

    expected = -(0.94 * log_p[1] + 0.06 * log_p.mean())

    loss = emotion_loss(logits, torch.tensor([target(joy=1.0)]), label_smoothing=0.06)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_a_batch_in_which_nobody_knows_anything_can_go_backwards() -> None:
    logits = torch.randn(3, 7, requires_grad=True)

    emotion_loss(logits, torch.tensor([target(UNKNOWN)] * 3)).backward()  # type: ignore[no-untyped-call]

    assert logits.grad is not None
    assert not logits.grad.any()


def test_padding_reaches_the_longest_row() -> None:
    ids, mask = pad([[5, 6], [7]], pad_id=9)

    assert ids.tolist() == [[5, 6], [7, 9]]
    assert mask.tolist() == [[1, 1], [1, 0]]
    batch = collate([{"input_ids": [5], "labels": np.zeros(7, np.float32)}], pad_id=0)
    assert {name: tuple(part.shape) for name, part in batch.items()} == {
        "input_ids": (1, 1),
        "attention_mask": (1, 1),
        "labels": (1, 7),
    }


def test_batches_by_length_hold_every_row_once() -> None:
    rows = [[0] * n for n in (5, 1, 9, 3, 2)]

    assert by_length(rows, 2) == [[1, 4], [3, 0], [2]]


@pytest.mark.parametrize(
    ("family", "graph"), [("bert", BertGraph), ("roberta", RobertaGraph), ("distilbert", DistilBertGraph)]
)
def test_every_graph_gives_the_logits_of_transformers(family: str, graph: type) -> None:
    network = stir(FAMILIES[family]())
    rows = some_rows([3, 40, 128, 17, 3])
    ids, mask = (torch.from_numpy(part) for part in pad(rows, network.config.pad_token_id))

    lean = serving_graph(network)

    assert type(lean) is graph
    with torch.inference_mode():
        found = lean(ids, mask).numpy()
    np.testing.assert_allclose(found, padded(network, rows), rtol=0, atol=2e-5)
    assert np.abs(found).max() > 0.5


def test_the_last_layer_for_the_first_token_alone_changes_nothing(tiny_base: Path) -> None:
    model = load_model(Base("tiny", str(tiny_base)), LABELS)
    ids, mask = (torch.from_numpy(part) for part in pad([[2, 5, 6, 7, 3], [2, 9, 3], [2, 3]]))

    lean, whole = serving_graph(model), WholeGraph(model).eval()

    assert isinstance(lean, BertGraph)
    with torch.inference_mode():
        torch.testing.assert_close(lean(ids, mask), whole(ids, mask), rtol=1e-5, atol=1e-6)


def test_predictions_come_in_the_order_of_the_rows(tiny_base: Path) -> None:
    model = load_model(Base("tiny", str(tiny_base)), LABELS)
    rows = [[2, 5, 6, 7, 3], [2, 9, 3], [2, 3], [2, 8, 8, 3]]

    together = predict(model, rows, batch_size=2)

    alone = np.concatenate([predict(model, [row]) for row in rows])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-6)


def test_minilm_comes_from_its_package_where_that_is_installed() -> None:
    base = find_base("minilm")

    assert base.name == "sentence-transformers/all-MiniLM-L6-v2"
    assert base.licence == "Apache-2.0"


def test_minilm_comes_from_the_hub_where_its_package_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    assert find_base("minilm").location == "sentence-transformers/all-MiniLM-L6-v2"


def test_a_folder_keeps_its_name_and_not_its_path(tmp_path: Path) -> None:
    assert find_base(str(tmp_path)).name == tmp_path.name


def test_a_folder_without_a_model_says_what_it_needs(tmp_path: Path) -> None:
    base = find_base(str(tmp_path))

    for load in (lambda: load_model(base, LABELS), lambda: load_tokenizer(base, 16)):
        with pytest.raises(ConfigurationError, match=r"it needs config\.json"):
            load()


def test_a_folder_with_a_pickle_alone_is_not_read(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((tiny_base / "config.json").read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")

    with pytest.raises(ConfigurationError, match=r"model\.safetensors"):
        load_model(find_base(str(tmp_path)), LABELS)


def test_a_base_out_of_reach_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(DependencyError, match="--base FOLDER"):
        load_model(find_base("nobody/nothing-of-this-name"), LABELS)
