"""An artefact's safetensors through PyTorch: packed where our forward knows the network, else padded."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.unit.test_artifact import MANIFEST
from tests.unit.test_packed_parity import bert, made, padded, roberta, some_rows, stir
from worker.errors import ArtifactError, ConfigurationError
from worker.model.artifact import Artifact, write_manifest
from worker.model.artifact import load as load_artifact
from worker.model.backend import make
from worker.model.bundled import bundled_model
from worker.model.torch_backend import TorchBackend, TransformersModel

TOLERANCE = 0.1 if torch.cuda.is_available() else 1e-4
ROWS = some_rows([3, 128, 40, 17, 3, 90])


def artifact(folder: Path, network: Any, **changes: Any) -> Artifact:
    """A network with seven logits as an artefact (its tokenizer is not asked for here)."""
    network.save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return write_manifest(folder, msgspec.structs.replace(MANIFEST, **changes))


def mpnet() -> Any:
    """Relative positions: the packed forward does not know them."""
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return made("MPNet", **shape, max_position_embeddings=160)


def test_a_known_network_is_packed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = stir(bert())

    backend = make(artifact(tmp_path, network), "torch")

    assert backend.name == "torch"
    np.testing.assert_allclose(backend.logits(ROWS), padded(network, ROWS), rtol=0, atol=TOLERANCE)
    assert "no packed forward" not in caplog.text
    backend.close()


def test_an_unknown_network_goes_through_transformers_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = stir(mpnet())

    backend = TorchBackend(artifact(tmp_path, network))
    for _ in range(2):
        np.testing.assert_allclose(backend.logits(ROWS), padded(network, ROWS), rtol=0, atol=TOLERANCE)

    assert caplog.text.count("tiny@1.0: no packed forward for this network") == 1
    assert "the architecture is 'mpnet'" in caplog.text
    backend.close()


def test_padding_is_what_the_network_calls_padding(tmp_path: Path) -> None:
    """RoBERTa counts positions over what is no padding."""
    network = stir(roberta())

    reference = TransformersModel(artifact(tmp_path, network), torch.device("cpu"))

    np.testing.assert_allclose(reference.logits(ROWS), padded(network, ROWS), rtol=0, atol=1e-4)


def test_without_transformers_only_known_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = artifact(tmp_path / "unknown", stir(mpnet()))
    known = artifact(tmp_path / "known", stir(bert()))
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "transformers" else find(name, *rest)
    )

    assert TorchBackend(known).logits(ROWS).shape == (6, 7)
    with pytest.raises(ConfigurationError, match=r"needs transformers: install moodstream\[gpu\]"):
        TorchBackend(unknown)


def test_weights_that_do_not_belong_to_the_manifest(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="the weights give 7 logits, the manifest names 6"):
        TorchBackend(artifact(tmp_path, stir(bert()), neutral=None))


def test_weights_that_transformers_would_make_up(tmp_path: Path) -> None:
    made = artifact(tmp_path, stir(bert()))
    tensors = load_file(made.safetensors_path)
    del tensors["classifier.weight"]
    save_file(tensors, made.safetensors_path, metadata={"format": "pt"})

    with pytest.raises(ArtifactError, match=r"the weights lack classifier\.weight"):
        TorchBackend(made)


def test_rows_are_cut_at_the_manifest_s_length(tmp_path: Path) -> None:
    backend = TorchBackend(artifact(tmp_path, stir(bert()), max_length=64))

    with pytest.raises(ValueError, match="row 1 has 65 tokens: the model takes 1 to 64"):
        backend.logits([[5] * 64, [5] * 65])


@pytest.mark.skipif(
    not bundled_model().is_dir(),
    reason="the bundled model is not in this checkout: git checkout models/default",
)
def test_the_bundled_model_answers_as_transformers_does() -> None:
    bundled = load_artifact(bundled_model())
    vocabulary = json.loads(bundled.config_path.read_text())["vocab_size"]
    generator = np.random.default_rng(5)
    lengths = generator.integers(3, bundled.manifest.max_length + 1, 24)
    rows = [generator.integers(1000, vocabulary, length).tolist() for length in lengths]

    found = TorchBackend(bundled).logits(rows)

    expected = TransformersModel(bundled, torch.device("cpu")).logits(rows)
    np.testing.assert_allclose(found, expected, rtol=0, atol=max(1e-3, TOLERANCE))
