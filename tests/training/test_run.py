"""The whole path: train, calibrate, export, load, predict; and the command around it."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from click.testing import Result as CommandResult
from safetensors.numpy import load_file

from training.cli import train
from training.data import SIX, Split
from training.measure import Reading, check_int8
from worker.cli import cli
from worker.errors import ArtifactError, ConfigurationError
from worker.model import artifact
from worker.model.classifier import load as load_classifier
from worker.model.reference import read_reference
from worker.types import EMOTIONS, LABELS

TEXTS = ["i feel furious", "today  i am SCARED again", "we were merry all day", "the shop is red"]


def command(recipe: Path, base: Path, output: Path, *more: str | Path) -> CommandResult:
    """Run `moodstream train` in this process."""
    arguments = [recipe, "--base", base, "--output", output, "--model-version", "1.0", *more]
    return CliRunner().invoke(train, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def plain(
    tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Path, tiny_base: Path, emotion_folder: Path
) -> CommandResult:
    """A training without neutral texts."""
    output = tmp_path_factory.mktemp("plain") / "model"
    return command(tiny_recipe, tiny_base, output, "--data", emotion_folder, "--json")


@pytest.fixture(scope="module")
def gated(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_recipe: Path,
    tiny_base: Path,
    emotion_folder: Path,
    goemotions_folder: Path,
) -> CommandResult:
    """A training with neutral texts."""
    output = tmp_path_factory.mktemp("gated") / "model"
    data = ("--data", emotion_folder, "--data", goemotions_folder)
    more = ("--json", "--name", "gated", "--seed", "7", "--epochs", "20")
    return command(tiny_recipe, tiny_base, output, *data, *more)


def test_the_last_line_is_the_result_and_all_else_goes_to_standard_error(plain: CommandResult) -> None:
    assert plain.exit_code == 0, plain.output
    [line] = plain.stdout.splitlines()
    result = json.loads(line)

    assert result["model"] == "tiny@1.0"
    assert [epoch["epoch"] for epoch in result["epochs"]] == list(range(1, 13))
    assert result["epochs"][-1]["training_loss"] < result["epochs"][0]["training_loss"]
    assert "written-here/validation accuracy" in result["epochs"][0]
    assert set(result["scores"]) == {
        *("written-here/test", "written-here/validation"),
        *("behaviour/suite", "invariance/written-here"),
    }
    assert result["scores"]["written-here/test"]["accuracy"] > 0.8
    assert "fine-tuned in" in plain.stderr


def test_without_neutral_texts_there_is_no_gate(plain: CommandResult) -> None:
    made = artifact.load(Path(json.loads(plain.stdout)["path"]))
    manifest = made.manifest

    assert manifest.neutral is None
    assert manifest.labels == list(EMOTIONS)
    assert (manifest.architecture, manifest.base, manifest.max_length) == ("bert", "tiny-bert", 16)
    assert [(d.name, d.rows) for d in manifest.data] == [("written-here", 72)]
    assert set(manifest.files) == {
        *(
            "config.json",
            "tokenizer.json",
            "model.safetensors",
            "openvino.xml",
            "openvino.bin",
            "reference.json",
        )
    }


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_the_artefact_is_served(plain: CommandResult, gated: CommandResult, backend: str) -> None:
    for trained in (plain, gated):
        made = artifact.load(Path(json.loads(trained.stdout)["path"]))
        classifier = load_classifier(made, backend)  # type: ignore[arg-type] # one of its names

        answer = classifier.classify(classifier.prepare(TEXTS))

        assert [LABELS[label] for label in answer.label[:3]] == ["anger", "fear", "joy"]
        assert answer.scores.sum(axis=1) == pytest.approx(np.ones(4))


def test_the_artefact_is_measured_beside_its_peers(plain: CommandResult, tmp_path: Path) -> None:
    texts, picture = tmp_path / "texts.txt", tmp_path / "speed.svg"
    texts.write_text("\n".join(TEXTS * 10))
    only = ["pipeline, batches", "ONNX Runtime int8", "OpenVINO int8, sorted", "moodstream, 16 at once"]
    model = json.loads(plain.stdout)["path"]
    options = ["--set", f"model.path={model}", "--texts", str(texts), "--seconds", "0.3"]
    options += [option for words in only for option in ("--only", words)]

    done = CliRunner().invoke(
        cli, ["bench", "cpu", *options, "--picture", str(picture), "--json"], catch_exceptions=False
    )

    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == len(only)
    assert all(one["posts_per_s"] > 0 and one["p50_ms"] > 0 for one in found.values())
    assert ElementTree.parse(picture).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_with_neutral_texts_the_gate_tells_them(gated: CommandResult) -> None:
    assert gated.exit_code == 0, gated.output
    result = json.loads(gated.stdout)
    made = artifact.load(Path(result["path"]))
    classifier = load_classifier(made, "openvino")

    answer = classifier.classify(classifier.prepare(TEXTS))

    assert result["model"] == "gated@1.0"
    assert made.manifest.neutral is not None
    assert made.manifest.neutral.index == SIX
    assert answer.neutral[3] > answer.neutral[:3].max()
    assert LABELS[answer.label[3]] == "neutral"
    assert result["scores"]["goemotions/test"]["neutral_roc_auc"] > 0.8
    assert result["scores"]["written-here/test"]["gated"] < 0.2


def test_the_artefact_says_how_sure_it_is_on_validation_texts(gated: CommandResult) -> None:
    path = Path(json.loads(gated.stdout)["path"])
    counts = read_reference(path)
    assert counts is not None
    assert counts.sum() > 0
    assert artifact.load(path).has("reference.json")


def test_the_card_is_complete_and_names_no_path(gated: CommandResult) -> None:
    path = Path(json.loads(gated.stdout)["path"])
    card = (path / "README.md").read_text()

    assert card.startswith("---\nlanguage: en\n")
    for part in (
        "model-index",
        "CC BY 4.0",
        "Demszky",
        "tiny-bert",
        "int8_accuracy",
        "## Limits",
        "INV",
        "letters",
    ):
        assert part in card
    for picture in re.findall(r"\]\((\S+\.svg)\)", card):
        assert (path / picture).read_text().startswith("<svg"), picture
    assert "confusion-goemotions-test.svg" in card
    assert "$" not in card, "every placeholder is filled in"
    for file in path.iterdir():
        assert str(path.parent).encode() not in file.read_bytes(), file.name


def test_a_training_can_be_repeated(
    plain: CommandResult, tmp_path: Path, tiny_recipe: Path, tiny_base: Path, emotion_folder: Path
) -> None:
    again = command(tiny_recipe, tiny_base, tmp_path / "again", "--data", emotion_folder, "--json")

    first, second = json.loads(plain.stdout), json.loads(again.stdout)
    assert first["scores"] == second["scores"]
    assert first["epochs"] == second["epochs"]


def test_without_json_people_get_a_table(
    tmp_path: Path, tiny_recipe: Path, tiny_base: Path, emotion_folder: Path
) -> None:
    output = tmp_path / "model"

    done = command(tiny_recipe, tiny_base, output, "--data", emotion_folder, "--epochs", "0.2")

    assert done.exit_code == 0, done.output
    assert "written-here/test    accuracy" in done.stdout
    assert f"Wrote tiny@1.0 to {output}" in done.stdout


def test_a_training_that_fails_leaves_its_checkpoints_alone(
    tmp_path: Path, tiny_base: Path, emotion_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text('description = "x"\nepochs = 0.1\nmax_length = 16\n')
    output = tmp_path / "out" / "model"
    with monkeypatch.context() as patch:
        patch.setattr("training.run.check_int8", refuse)
        done = command(recipe, tiny_base, output, "--data", emotion_folder)

    assert isinstance(done.exception, ArtifactError)
    assert [place.name for place in output.parent.iterdir()] == [".model.training"]

    # What refused the result does not decide about the weights: they are not trained again.
    recipe.write_text(recipe.read_text() + "int8_tolerance = 0.5\n")
    again = command(recipe, tiny_base, output, "--data", emotion_folder)

    assert again.exit_code == 0, again.output
    assert "going on from" in again.stderr
    assert [place.name for place in output.parent.iterdir()] == ["model"]


def test_adapters_are_folded_into_the_network(
    tmp_path: Path, tiny_recipe: Path, tiny_base: Path, emotion_folder: Path
) -> None:
    recipe = tmp_path / "lora.toml"
    faster = tiny_recipe.read_text().replace("2e-3", "1e-2")
    recipe.write_text(faster + "[lora]\nrank = 8\nalpha = 32\ndropout = 0.0\n")

    done = command(recipe, tiny_base, tmp_path / "model", "--data", emotion_folder, "--json")

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["scores"]["written-here/test"]["accuracy"] > 0.5, "one in six by chance"
    names = load_file(tmp_path / "model" / "model.safetensors").keys()
    assert not [name for name in names if "lora" in name]


def test_rare_emotions_are_translated_there_and_back_before_training(
    tmp_path: Path, tiny_recipe: Path, tiny_base: Path, emotion_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(emotion_folder, folder)
    rows = (folder / "train.txt").read_text().splitlines()
    kept = [row for row in rows if not row.endswith("fear")] + [row for row in rows if row.endswith("fear")][
        :2
    ]
    (folder / "train.txt").write_text("\n".join(kept) + "\n")
    recipe = tmp_path / "translated.toml"
    recipe.write_text(tiny_recipe.read_text() + "[back_translation]\nbelow = 0.5\n")
    monkeypatch.setenv("MOODSTREAM_CACHE", str(tmp_path / "cache"))
    asked: list[str] = []

    def there(texts: Sequence[str]) -> list[str]:
        asked.extend(texts)
        return [f"and {text}" for text in texts]

    monkeypatch.setattr("training.run.translators", lambda _: (there, list))
    output = tmp_path / "model"

    done = command(recipe, tiny_base, output, "--data", folder, "--epochs", "0.1")

    assert done.exit_code == 0, done.output
    assert len(asked) == 2, "the two texts of the rare emotion, and no others"
    assert "2 copies of 2 texts" in done.stderr


def refuse(_: object, __: float, path: Path) -> None:
    raise ArtifactError(path, ["too bad"])


def test_wrong_usage_is_said_before_anything_is_trained(tmp_path: Path, tiny_base: Path) -> None:
    done = command(tmp_path / "no.toml", tiny_base, tmp_path / "model")

    assert isinstance(done.exception, ConfigurationError)
    assert CliRunner().invoke(train, ["default", "--data", str(tmp_path / "absent")]).exit_code == 2


def test_the_command_is_called_train_and_explains_every_option() -> None:
    assert isinstance(train, click.Command)
    assert train.name == "train"
    options = [parameter for parameter in train.params if isinstance(parameter, click.Option)]
    assert all(option.help for option in options)


def reading(right: int, int8_right: int, rows: int = 1000) -> Reading:
    """A split of `rows` joyful texts with so many right answers of either form."""
    joy = EMOTIONS.index("joy")
    targets = np.zeros((rows, SIX + 1), np.float32)
    targets[:, joy] = 1
    full, int8 = np.zeros((2, rows, SIX), np.float32)
    full[:right, joy] = int8[:int8_right, joy] = 1
    return Reading("source/validation", Split(["text"] * rows, targets), full, int8)


def test_8_bits_may_lose_what_the_recipe_allows() -> None:
    check_int8([reading(930, 925)], 0.005, Path("model"))
    check_int8([reading(930, 940)], 0.0, Path("model"))
    # Ten of 1000 here and none of 2000 there: 0.0033 in all.
    check_int8([reading(930, 920), reading(1800, 1800, rows=2000)], 0.005, Path("model"))


def test_8_bits_that_lose_more_are_refused() -> None:
    with pytest.raises(ArtifactError, match=r"answer 0\.9240 .* full precision 0\.9300: more than"):
        check_int8([reading(930, 924)], 0.005, Path("model"))
