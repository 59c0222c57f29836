"""Several seeds: the figures of all of them, and none that chose itself by test data."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
from click.testing import CliRunner

from training.cli import train


@pytest.fixture(scope="module")
def seeds(
    tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Path, tiny_base: Path, emotion_folder: Path
) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("seeds")
    arguments = [tiny_recipe, "--base", tiny_base, "--data", emotion_folder, "--output", folder / "model"]
    arguments += ["--seeds", "2", "--seed", "5", "--epochs", "3", "--json"]
    done = CliRunner().invoke(train, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_each_seed_is_an_artefact_of_its_own(seeds: tuple[Path, dict[str, object]]) -> None:
    folder, found = seeds

    assert sorted(place.name for place in folder.iterdir()) == ["model-seed5", "model-seed6"]
    assert found["models"] == [str(folder / "model-seed5"), str(folder / "model-seed6")]


def test_mean_and_spread_are_those_of_the_manifests(seeds: tuple[Path, dict[str, object]]) -> None:
    folder, found = seeds
    scores = [
        json.loads((place / "manifest.json").read_text())["scores"] for place in folder.glob("model-seed*")
    ]
    accuracies = [one["written-here/test"]["accuracy"] for one in scores]

    assert found["mean"]["written-here/test"]["accuracy"] == pytest.approx(  # type: ignore[index]
        statistics.fmean(accuracies), abs=1e-5
    )
    assert found["spread"]["written-here/test"]["accuracy"] == pytest.approx(  # type: ignore[index]
        statistics.stdev(accuracies), abs=1e-5
    )
    assert "written-here/validation" not in found["mean"]  # type: ignore[operator]


def test_the_best_is_the_best_on_validation_data(seeds: tuple[Path, dict[str, object]]) -> None:
    folder, found = seeds
    accuracy = {
        str(place): json.loads((place / "manifest.json").read_text())["scores"]["written-here/validation"][
            "accuracy"
        ]
        for place in folder.iterdir()
    }

    assert accuracy[found["best"]["path"]] == max(accuracy.values())  # type: ignore[index]


def test_what_was_trained_before_is_not_trained_again(
    seeds: tuple[Path, dict[str, object]], tiny_recipe: Path, tiny_base: Path, emotion_folder: Path
) -> None:
    folder, found = seeds
    before = (folder / "model-seed6" / "manifest.json").stat().st_mtime_ns
    arguments = [tiny_recipe, "--base", tiny_base, "--data", emotion_folder, "--output", folder / "model"]

    done = CliRunner().invoke(
        train, [str(argument) for argument in [*arguments, "--seeds", "2", "--seed", "5", "--json"]]
    )

    assert done.exit_code == 0, done.output
    assert "seed 6 has been trained before" in done.stderr
    assert json.loads(done.stdout)["mean"] == found["mean"]
    assert (folder / "model-seed6" / "manifest.json").stat().st_mtime_ns == before
