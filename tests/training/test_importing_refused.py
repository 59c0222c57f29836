"""What cannot be imported is refused with every reason, and leaves nothing; what the hub answers."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.support.hub import fake_hub
from tests.support.importing import command, imported, problems
from tests.support.published import PERMUTED, Kind, publish
from worker.errors import ArtifactError, ConfigurationError, DependencyError


@pytest.mark.parametrize("part", ["_served_ids", "_distance"])
def test_an_artefact_that_answers_otherwise_is_refused(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = publish(tmp_path / "old", "bert")
    wrong: dict[str, Callable[..., Any]] = {
        "_served_ids": lambda _, texts: [[2, 3]] * len(texts),
        "_distance": lambda *_: float("nan"),
    }
    monkeypatch.setattr(f"training.importing.parity.{part}", wrong[part])

    done = command(published, tmp_path / "out" / "model")

    assert isinstance(done.exception, ArtifactError)
    assert "cannot be served as it was published" in str(done.exception)
    assert list((tmp_path / "out").iterdir()) == []


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def only_tensorflow(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "tf_model.h5")


def in_parts(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text("{}")


def cut_short(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def lacking(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        del tensors[name]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def no_json(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text("{no")

    return change


BAD = {
    "only a pickle": (
        "bert",
        {},
        only_a_pickle,
        r"pytorch_model\.bin is a pickle, which runs code .* never read.*save_pretrained",
    ),
    "only TensorFlow": ("bert", {}, only_tensorflow, r"tf_model\.h5 is of another framework"),
    "in parts": ("bert", {}, in_parts, r"the weights lie in several files"),
    "no weights": ("bert", {}, without("model.safetensors"), r"model\.safetensors is missing"),
    "weights cut short": ("bert", {}, cut_short, r"model\.safetensors cannot be read"),
    "no classifier": ("bert", {}, lacking("classifier.weight"), r"was never fine-tuned to classify"),
    "a hole in the weights": (
        "roberta",
        {},
        lacking("roberta.encoder.layer.1.output.dense.bias"),
        r"lacks 1 tensors of this network, such as roberta\.encoder\.layer\.1\.output\.dense\.bias",
    ),
    "another shape": (
        "bert",
        {"intermediate_size": 65},
        None,
        r"transformers cannot load model\.safetensors",
    ),
    "no config": ("bert", {}, without("config.json"), r"config\.json is missing"),
    "config is no JSON": ("bert", {}, no_json("config.json"), r"config\.json is not JSON"),
    "another architecture": (
        "bert",
        {"model_type": "deberta"},
        None,
        r"is 'deberta'; bert, distilbert, roberta can be imported",
    ),
    "no classifier by its name": (
        "bert",
        {"architectures": ["BertForMaskedLM"]},
        None,
        r"says it is a BertForMaskedLM, which classifies no texts",
    ),
    "several labels at once": (
        "bert",
        {"problem_type": "multi_label_classification"},
        None,
        r"problem_type is multi_label_classification",
    ),
    "a decoder": ("bert", {"is_decoder": True}, None, r"it is a decoder"),
    "more logits than names": (
        "bert",
        {"outputs": 7},
        None,
        r"id2label of config\.json names 6 classes and the weights give 7 logits",
    ),
    "no vocabulary": ("distilbert", {}, without("vocab.txt"), r"vocab\.txt is missing"),
    "no merges": ("roberta", {}, without("merges.txt"), r"merges\.txt is missing"),
    "unknown case": (
        "bert",
        {},
        without("tokenizer_config.json"),
        r"tokenizer_config\.json \(it says whether text is lower-cased\) is missing",
    ),
    "broken vocabulary": ("roberta", {}, no_json("vocab.json"), r"transformers cannot load the tokenizer"),
}


@pytest.mark.parametrize(("kind", "config", "change", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_imported_is_refused_with_what_to_do(
    kind: Kind,
    config: dict[str, Any],
    change: Callable[[Path], None] | None,
    message: str,
    tmp_path: Path,
) -> None:
    published = publish(tmp_path / "bad", kind, **config)
    if change is not None:
        change(published)

    found = problems(published, tmp_path / "out" / "model")

    assert any(re.search(message, problem) for problem in found), found
    assert all(problem.startswith("bad: ") for problem in found)


def test_every_problem_is_said_at_once(tmp_path: Path, emotion_folder: Path) -> None:
    names = ["joy", "joy", "disgust", "sadness", "trust", "fear", "neutral"]
    published = publish(tmp_path / "bad", "bert", names, architectures=["BertModel"], outputs=8)
    only_a_pickle(published)
    without("vocab.txt")(published)
    (tmp_path / "model").mkdir()
    shutil.copytree(emotion_folder, tmp_path / "data")
    (tmp_path / "data" / "val.txt").write_text("no label\n")

    done = command(
        published,
        tmp_path / "model",
        *("--name", "no name", "--max-length", "49", "--data", tmp_path / "data"),
    )

    assert isinstance(done.exception, ConfigurationError)
    text = "\n".join(done.exception.problems)
    for part in (
        *("--name 'no name'", "exists: choose another --output", "val.txt, line 1", "pytorch_model.bin"),
        *("vocab.txt is missing", "it is a BertModel", "unknown class names: 'disgust', 'trust'"),
        *("named more than once: joy", "no class is called love, anger, surprise"),
        "--max-length 49 is more than the 48 tokens",
    ):
        assert part in text, part


def test_labels_that_contradict_the_checkpoint(tmp_path: Path) -> None:
    published = publish(tmp_path / "old", "bert", PERMUTED)

    found = problems(
        published, tmp_path / "model", "--labels", "joy,anger,surprise,love,fear,sadness,neutral"
    )

    assert [problem.partition(": ")[2].partition(":")[0] for problem in found] == [
        "--labels names 7 classes and the weights give 6 logits",
        "class 4 is called 'sadness' by the checkpoint and 'fear' by --labels",
        "class 5 is called 'fear' by the checkpoint and 'sadness' by --labels",
        "a class is called 'neutral', which moodstream answers by a gate with a threshold",
    ]


class TestHub:
    """Fetching by id."""

    @pytest.fixture
    def hub(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[tuple[dict[str, Path], list[str]]]:
        """The models of a hub on this machine, and what was asked of it."""
        models: dict[str, Path] = {}
        asked: list[str] = []
        with fake_hub(models, asked) as address:
            monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
            files = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
            monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", files)
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
            yield models, asked

    def test_a_model_is_fetched_and_nothing_but_what_is_needed(
        self, hub: tuple[dict[str, Path], list[str]], tmp_path: Path
    ) -> None:
        models, asked = hub
        models["somebody/my-emotions"] = publish(tmp_path / "there", "distilbert", PERMUTED)
        (tmp_path / "there" / "pytorch_model.bin").write_bytes(b"never fetched")

        made = imported("somebody/my-emotions", tmp_path / "model")

        assert made.full_name == "my-emotions@1.0"
        assert made.manifest.base == "somebody/my-emotions"
        assert not any("pytorch_model.bin" in path for path in asked)

    def test_only_a_pickle_is_said_to_be_one(
        self, hub: tuple[dict[str, Path], list[str]], tmp_path: Path
    ) -> None:
        models, _ = hub
        models["somebody/old"] = publish(tmp_path / "there", "bert")
        only_a_pickle(tmp_path / "there")

        [problem] = problems("somebody/old", tmp_path / "model")

        assert problem.startswith("somebody/old: pytorch_model.bin is a pickle")

    @pytest.mark.usefixtures("hub")
    def test_an_id_that_the_hub_does_not_know(self, tmp_path: Path) -> None:
        [problem] = problems("nobody/nothing", tmp_path / "model")

        assert "the Hugging Face hub has no such model that you may see" in problem

    def test_what_is_neither_folder_nor_id(self, tmp_path: Path) -> None:
        [problem] = problems(tmp_path / "no" / "such" / "folder", tmp_path / "model")
        assert "neither a folder here nor an id of the Hugging Face hub" in problem

        (tmp_path / "model.safetensors").write_bytes(b"")
        [problem] = problems(tmp_path / "model.safetensors", tmp_path / "model")
        assert "is a file: give the folder that it lies in" in problem

    def test_a_hub_that_does_not_answer(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))

        done = command("somebody/my-emotions", tmp_path / "model")

        assert isinstance(done.exception, DependencyError)
        assert "download its config.json, model.safetensors" in str(done.exception)


def test_without_the_packages_of_training_it_says_which_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "training.importing.run", None)
    monkeypatch.delattr("training.importing.run", raising=False)

    [problem] = problems(tmp_path, tmp_path / "model")

    assert "pip install moodstream[train]" in problem
