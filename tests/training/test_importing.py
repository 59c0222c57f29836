"""Published checkpoints become artefacts that answer as transformers does, or are refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import click
import numpy as np
import openvino as ov
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tests.support.importing import by_transformers, command, imported, problems
from tests.support.published import KINDS, NAMELESS, PERMUTED, POSITIONS, TEXTS, Kind, publish
from training.importing.cli import import_model
from training.importing.order import default_name
from worker.cli import cli
from worker.clock import SystemClock
from worker.configuration import load as load_settings
from worker.model import artifact as artifacts
from worker.model.artifact import Artifact
from worker.model.backend import BackendName, make
from worker.model.classifier import load as load_classifier
from worker.replay.offline import label_texts
from worker.stream.role import open_classifier
from worker.types import EMOTIONS, LABELS

ORDER = "sadness,joy,love,anger,fear,surprise"
WITH_NEUTRAL = ["neutral", *PERMUTED]


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact]:
    """A checkpoint of each kind with its classes in an order of its own, and its artefact."""
    kind: Kind = request.param
    folder = tmp_path_factory.mktemp(kind)
    published = publish(folder / f"{kind}-emotion", kind, PERMUTED)
    return published, imported(published, folder / "model")


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_the_artefact_answers_as_transformers_does(pair: tuple[Path, Artifact], backend: BackendName) -> None:
    published, artifact = pair
    classifier = load_classifier(artifact, backend)

    rows = classifier.prepare(TEXTS)

    expected_rows, expected = by_transformers(published, TEXTS, artifact.manifest.max_length)
    assert rows == expected_rows
    np.testing.assert_allclose(classifier.backend.logits(rows), expected, rtol=0, atol=1e-4)
    assert expected.std(axis=0).min() > 0.01, "a network that answers the same to everything proves nothing"
    answer = classifier.classify(rows)
    assert [LABELS[i] for i in answer.label] == [PERMUTED[i].lower() for i in expected.argmax(axis=1)]
    np.testing.assert_allclose(answer.scores.sum(axis=1), 1)
    classifier.close()


def test_the_manifest_says_what_it_is(pair: tuple[Path, Artifact]) -> None:
    published, artifact = pair
    manifest = artifact.manifest

    assert artifact.full_name == f"{published.name}@1.0"
    assert manifest.labels == [name.lower() for name in PERMUTED]
    assert manifest.architecture == json.loads((published / "config.json").read_text())["model_type"]
    assert (manifest.temperature, manifest.neutral, manifest.text_version) == (1.0, None, 0)
    assert (manifest.base, manifest.max_length) == (published.name, POSITIONS)
    assert (manifest.data, manifest.scores) == ([], {})
    for file in artifact.path.iterdir():
        assert str(published.parent).encode() not in file.read_bytes(), file.name


def test_the_weights_are_kept_as_they_are(pair: tuple[Path, Artifact]) -> None:
    published, artifact = pair

    before, after = load_file(published / "model.safetensors"), load_file(artifact.safetensors_path)

    assert set(before) - set(after) <= {name for name in before if name.endswith("position_ids")}
    assert all(tensor.dtype == torch.float32 for tensor in after.values())
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
    constants = [
        node
        for node in ov.Core().read_model(artifact.openvino_path).get_ops()
        if node.get_type_name() == "Constant"
    ]
    assert not any(node.get_element_type() == ov.Type.f16 for node in constants)


def test_the_stream_serves_it(pair: tuple[Path, Artifact]) -> None:
    """Over memory, with the very loop that serves Kafka."""
    published, artifact = pair
    settings = load_settings({"model.path": str(artifact.path), "model.backend": "openvino"})
    classifier = open_classifier(settings)

    labels = list(label_texts(TEXTS * 50, classifier, settings, SystemClock()))

    _, expected = by_transformers(published, TEXTS, artifact.manifest.max_length)
    assert labels[3] is None, "an empty text is a dead letter"
    for label, logits in zip(labels, np.tile(expected, (50, 1)), strict=True):
        if label is None:
            continue
        assert label.model == artifact.full_name
        assert label.label == PERMUTED[int(logits.argmax())].lower()
        share = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert label.score == pytest.approx(share.max(), abs=1e-4)
    classifier.close()


def test_the_command_line_classifies_and_evaluates_with_it(
    pair: tuple[Path, Artifact], emotion_folder: Path
) -> None:
    _, artifact = pair
    serve = ("--json", "--set", f"model.path={artifact.path}")

    classified = CliRunner().invoke(cli, ["classify", *serve], input="i feel furious\nso scared\n")
    evaluated = CliRunner().invoke(cli, ["evaluate", "--data", str(emotion_folder), *serve])

    answers = [json.loads(line) for line in classified.stdout.splitlines()]
    assert [set(answer["scores"]) for answer in answers] == [set(EMOTIONS)] * 2
    assert json.loads(evaluated.stdout.splitlines()[-1])["n"] == 24


@pytest.mark.parametrize("kind", ["bert-cased", "roberta"])
def test_nameless_classes_get_their_names_from_the_user(kind: Kind, tmp_path: Path) -> None:
    published = publish(tmp_path / "old", kind, NAMELESS)

    done = command(
        published, tmp_path / "model", "--labels", " Love, joy,sadness,anger,fear,surprise", "--json"
    )

    assert done.exit_code == 0, done.exception
    [line] = done.stdout.splitlines()
    result = json.loads(line)
    assert result["labels"] == ["love", "joy", "sadness", "anger", "fear", "surprise"]
    assert result["parity"]["texts"] > 90
    assert 0 < result["parity"]["openvino"] < 1e-4
    assert 0 < result["parity"]["torch"] < 1e-4
    assert result["int8_agreement"] is None


def test_a_checkpoint_that_says_nothing_of_its_classes(tmp_path: Path) -> None:
    published = publish(tmp_path / "old", "distilbert", id2label=None, label2id=None)

    [problem] = problems(published, tmp_path / "model")
    assert "does not say what the 6 classes mean" in problem
    assert f'--labels "{", ".join(EMOTIONS)}"' in problem
    assert imported(published, tmp_path / "model", "--labels", ORDER).manifest.labels == list(EMOTIONS)


def test_names_in_other_words_may_be_translated(tmp_path: Path) -> None:
    published = publish(tmp_path / "old", "bert", ["sad", "happy", "love", "angry", "fear", "surprise"])

    [unknown, absent] = problems(published, tmp_path / "model")
    assert "unknown class names: 'sad', 'happy', 'angry'; accepted are sadness, joy, love" in unknown
    assert "no class is called sadness, joy, anger" in absent
    assert imported(published, tmp_path / "model", "--labels", ORDER).manifest.labels == list(EMOTIONS)


def test_weights_in_half_precision_and_with_names_of_the_first_years(tmp_path: Path) -> None:
    published = publish(tmp_path / "old", "bert", PERMUTED)
    tensors = load_file(published / "model.safetensors")
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

    def renamed(name: str) -> str:
        head, _, tail = name.rpartition("LayerNorm.")
        return head + old[f"LayerNorm.{tail}"] if head else name

    halved = {
        renamed(name): part.half() if part.is_floating_point() else part for name, part in tensors.items()
    }
    save_file(halved, published / "model.safetensors", metadata={"format": "pt"})

    made = imported(published, tmp_path / "model")

    kept = load_file(made.safetensors_path)
    assert "bert.embeddings.LayerNorm.weight" in kept
    assert all(torch.equal(kept[name], halved[renamed(name)].float()) for name in kept)


def test_pickles_beside_the_weights_are_not_touched(tmp_path: Path) -> None:
    published = publish(tmp_path / "old", "roberta")
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (published / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))

    made = imported(published, tmp_path / "model")

    assert not (tmp_path / "sprung").exists()
    assert set(made.manifest.files) == {
        *("config.json", "tokenizer.json", "model.safetensors", "openvino.xml", "openvino.bin")
    }


class Trap:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._trace,)


def test_a_tokenizer_json_is_taken_where_there_is_one(tmp_path: Path) -> None:
    published = publish(tmp_path / "new", "roberta")
    AutoTokenizer.from_pretrained(published).backend_tokenizer.save(str(published / "tokenizer.json"))
    for name in ("vocab.json", "merges.txt"):
        (published / name).unlink()

    made = imported(published, tmp_path / "model", "--max-length", "16")

    classifier = load_classifier(made)
    assert classifier.prepare(TEXTS) == by_transformers(published, TEXTS, 16)[0]
    assert made.manifest.max_length == 16


class TestNeutral:
    """A class called neutral is answered by a gate, which needs a threshold."""

    def test_without_data_it_is_refused(self, tmp_path: Path) -> None:
        published = publish(tmp_path / "seven", "bert", WITH_NEUTRAL)

        [problem] = problems(published, tmp_path / "model")

        assert "a class is called 'neutral'" in problem
        assert "--data DIR" in problem
        assert "--drop-neutral" in problem

    @pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
    def test_left_out_the_others_answer_as_before(self, kind: Kind, tmp_path: Path) -> None:
        published = publish(tmp_path / "seven", kind, ["joy", "neutral", *PERMUTED[1:]])

        made = imported(published, tmp_path / "model", "--drop-neutral")

        assert made.manifest.labels == [name.lower() for name in PERMUTED]
        rows, expected = by_transformers(published, TEXTS, made.manifest.max_length)
        for backend in ("openvino", "torch"):
            found = make(made, backend).logits(rows)
            np.testing.assert_allclose(found, expected[:, [0, 2, 3, 4, 5, 6]], rtol=0, atol=1e-4)

    @pytest.mark.parametrize("kind", ["distilbert", "roberta"])
    def test_with_data_that_know_neutral_the_gate_is_fitted(
        self, kind: Kind, tmp_path: Path, emotion_folder: Path, goemotions_folder: Path
    ) -> None:
        published = publish(tmp_path / "seven", kind, WITH_NEUTRAL)

        data = ("--data", emotion_folder, "--data", goemotions_folder)
        made = imported(published, tmp_path / "model", *data)

        manifest = made.manifest
        assert manifest.neutral is not None
        assert manifest.neutral.index == len(manifest.labels) == 6
        assert set(manifest.scores) == {"written-here/validation", "goemotions/validation"}
        assert "neutral_roc_auc" in manifest.scores["goemotions/validation"]
        rows, expected = by_transformers(published, TEXTS, manifest.max_length)
        found = make(made, "torch").logits(rows)
        np.testing.assert_allclose(found, expected[:, [1, 2, 3, 4, 5, 6, 0]], rtol=0, atol=1e-4)

    def test_data_that_know_no_neutral_cannot_fit_it(self, tmp_path: Path, emotion_folder: Path) -> None:
        published = publish(tmp_path / "seven", "bert", WITH_NEUTRAL)

        [problem] = problems(published, tmp_path / "model", "--data", emotion_folder)

        assert "no validation split has both neutral and other texts" in problem


def test_labelled_data_calibrate_and_score(tmp_path: Path, emotion_folder: Path) -> None:
    published = publish(tmp_path / "old", "distilbert", PERMUTED)

    made = imported(published, tmp_path / "model", "--data", emotion_folder)

    scores = made.manifest.scores["written-here/validation"]
    assert made.manifest.temperature != 1.0
    assert scores["rows"] == 24
    evaluated = CliRunner().invoke(
        cli,
        [
            "evaluate",
            "--data",
            str(emotion_folder),
            "--split",
            "val",
            "--json",
            "--set",
            f"model.path={made.path}",
        ],
    )
    served = json.loads(evaluated.stdout.splitlines()[-1])
    assert served["accuracy"] == pytest.approx(scores["accuracy"], abs=1e-4)
    assert served["ece"] == pytest.approx(scores["ece"], abs=1e-4)
    assert "written-here/validation" in (made.path / "README.md").read_text()


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
def test_8_bits_where_asked_for(kind: Kind, tmp_path: Path) -> None:
    published = publish(tmp_path / "old", kind, PERMUTED)

    done = command(published, tmp_path / "model", "--int8", "--json")

    assert done.exit_code == 0, done.exception
    result, made = json.loads(done.stdout), artifacts.load(tmp_path / "model")
    kinds = {node.get_type_name() for node in ov.Core().read_model(made.openvino_path).get_ops()}
    assert "FakeQuantize" in kinds
    assert result["parity"]["openvino"] < 1e-4, "checked before it was quantised"
    assert result["int8_agreement"] > 0.7
    rows, expected = by_transformers(published, TEXTS, made.manifest.max_length)
    np.testing.assert_allclose(make(made, "torch").logits(rows), expected, rtol=0, atol=1e-4)
    off = np.abs(make(made, "openvino").logits(rows) - expected).max()
    assert 1e-4 < off < 0.5 * np.abs(expected).max()


def test_8_bits_with_data_are_scored_as_they_are_served(
    tmp_path: Path, emotion_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = publish(tmp_path / "old", "bert", PERMUTED)
    monkeypatch.setattr("training.importing.run.INT8_TOLERANCE", 1.0)

    made = imported(published, tmp_path / "model", "--int8", "--data", emotion_folder)

    assert made.manifest.scores["written-here/validation"]["rows"] == 24
    monkeypatch.setattr("training.importing.run.INT8_TOLERANCE", -1.0)
    [problem] = problems(published, tmp_path / "other", "--int8", "--data", emotion_folder)
    assert "import without --int8" in problem


def test_names_are_made_fit_for_labels_and_metrics() -> None:
    assert default_name("owner/distilbert-base-uncased-emotion") == "distilbert-base-uncased-emotion"
    assert default_name("_my model (v2)") == "my-model-v2-"
    assert default_name("模型") == "imported"


def test_people_are_told_how_to_serve_it(tmp_path: Path) -> None:
    done = command(publish(tmp_path / "old", "bert"), tmp_path / "model")

    assert f"Wrote old@1.0 to {tmp_path / 'model'}" in done.stdout
    assert f"moodstream classify --set model.path={tmp_path / 'model'}" in done.stdout
    assert "within" in done.stderr


def test_the_command_is_a_plug_in_of_model_and_explains_every_option() -> None:
    shown = CliRunner().invoke(cli, ["model", "import", "--help"])

    assert shown.exit_code == 0
    assert "--drop-neutral" in shown.stdout
    options = [parameter for parameter in import_model.params if isinstance(parameter, click.Option)]
    assert all(option.help for option in options)
