"""The whole path: train, calibrate, export, load, predict; and the command around it."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from click.testing import Result as CommandResult

from training.cli import train
from training.data import SIX, Split
from training.run import Reading, check_int8
from worker.errors import ArtifactError, ConfigurationError
from worker.model import artifact
from worker.model.classifier import load as load_classifier
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
    return command(tiny_recipe, tiny_base, output, *data, "--json", "--name", "gated", "--seed", "7")


def test_the_last_line_is_the_result_and_all_else_goes_to_standard_error(plain: CommandResult) -> None:
    assert plain.exit_code == 0, plain.output
    [line] = plain.stdout.splitlines()
    result = json.loads(line)

    assert result["model"] == "tiny@1.0"
    assert [epoch["epoch"] for epoch in result["epochs"]] == list(range(1, 13))
    assert result["epochs"][-1]["training_loss"] < result["epochs"][0]["training_loss"]
    assert "written-here/validation accuracy" in result["epochs"][0]
    assert set(result["scores"]) == {"written-here/test", "written-here/validation"}
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
        *("config.json", "tokenizer.json", "model.safetensors", "openvino.xml", "openvino.bin")
    }


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_the_artefact_is_served(plain: CommandResult, gated: CommandResult, backend: str) -> None:
    for trained in (plain, gated):
        made = artifact.load(Path(json.loads(trained.stdout)["path"]))
        classifier = load_classifier(made, backend)  # type: ignore[arg-type] # one of its names

        answer = classifier.classify(classifier.prepare(TEXTS))

        assert [LABELS[label] for label in answer.label[:3]] == ["anger", "fear", "joy"]
        assert answer.scores.sum(axis=1) == pytest.approx(np.ones(4))


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


def test_the_card_is_complete_and_names_no_path(gated: CommandResult) -> None:
    path = Path(json.loads(gated.stdout)["path"])
    card = (path / "README.md").read_text()

    assert card.startswith("---\nlanguage: en\n")
    for part in ("model-index", "CC BY 4.0", "Demszky", "tiny-bert", "int8_accuracy", "## Limits"):
        assert part in card
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


def test_nothing_is_left_of_a_training_that_fails(
    tmp_path: Path, tiny_base: Path, emotion_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text('description = "x"\nepochs = 0.1\nmax_length = 16\n')
    monkeypatch.setattr("training.run.check_int8", refuse)

    done = command(recipe, tiny_base, tmp_path / "out" / "model", "--data", emotion_folder)

    assert isinstance(done.exception, ArtifactError)
    assert list((tmp_path / "out").iterdir()) == []


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
