"""`moodstream model gate`: a model that is worse on a fixed test is refused, with the paired tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.support.models import bundled_as
from worker.cli import cli
from worker.errors import ConfigurationError
from worker.model.artifact import Manifest, load, write_manifest
from worker.model.bundled import bundled_model
from worker.replay.compare import Comparison, Side, compare
from worker.replay.figures import figures
from worker.replay.gate import worse
from worker.types import EMOTIONS

ROWS = {
    "i feel so happy and cheerful today": "joy",
    "i am furious, this makes me so angry": "anger",
    "i feel so sad and lonely and i cried": "sadness",
    "i am terrified and scared of the dark": "fear",
}


def pair(n: int, only_old: int, only_new: int) -> Comparison:
    """`n` texts, on so many of which one model alone is right."""
    truth = np.arange(n) % 6
    old, new = truth.copy(), truth.copy()
    new[:only_old] = (new[:only_old] + 1) % 6
    old[only_old : only_old + only_new] = (old[only_old : only_old + only_new] + 1) % 6
    a, b = (
        Side(name, figures(truth, np.eye(6)[answers], list(EMOTIONS)))
        for name, answers in (("old@1", old), ("new@2", new))
    )
    return compare(a, b, truth, old, new, classes=6)


@pytest.mark.parametrize(
    ("n", "only_old", "only_new", "reasons"),
    [
        (2000, 0, 0, []),
        (2000, 20, 60, []),  # better
        (2000, 30, 25, []),  # five texts fewer: chance, and less than a point
        (2000, 60, 20, ["McNemar p = 1.3e-05", "95% interval"]),
        (20_000, 150, 90, ["right on 0.30% fewer", "95% interval"]),  # small, and sure
        (300, 12, 6, ["1.00% are allowed", "1.00 are allowed"]),  # two points, and not sure
    ],
)
def test_what_is_worse(n: int, only_old: int, only_new: int, reasons: list[str]) -> None:
    found = worse(pair(n, only_old, only_new), 0.01)
    assert len(found) == len(reasons), found
    assert all(reason in line for reason, line in zip(reasons, found, strict=True)), found


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def last(result: Result) -> Any:
    return json.loads([line for line in result.stdout.splitlines() if line.startswith("{")][-1])


@pytest.fixture
def test_set(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    lines = [f"{text} {number};{label}" for number in range(60) for text, label in ROWS.items()]
    (folder / "test.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The bundled model as another version, and one whose labels were mixed up on the way."""
    folder = tmp_path / "store"
    folder.mkdir()
    bundled_as(folder / "same", "same")
    crossed = bundled_as(folder / "crossed", "crossed")
    labels = crossed.manifest.labels
    mixed = msgspec.structs.replace(crossed.manifest, labels=[*labels[1:], labels[0]])
    write_manifest(crossed.path, mixed)
    return folder


def test_a_model_that_is_as_good_passes(test_set: Path, store: Path) -> None:
    done = run("model", "gate", "default@same", "bundled", "--data", str(test_set), "--json",
               "--set", f"model.store={store}")  # fmt: skip
    assert done.exit_code == 0, done.output
    found = last(done)
    assert (found["passed"], found["reasons"]) == (True, [])
    assert (found["new"], found["old"]) == ("default@same", load(bundled_model()).full_name)
    [test] = found["tests"].values()
    assert test["n"] == 240
    assert test["accuracy_difference"]["value"] == 0


def test_one_that_is_worse_is_refused_and_the_way_back_is_open(test_set: Path, store: Path) -> None:
    crossed, data = str(store / "crossed"), ("--data", str(test_set))
    done = run("model", "gate", crossed, "bundled", *data, "--json")
    assert done.exit_code == 1, done.output
    found = last(done)
    assert not found["passed"]
    assert any("McNemar" in reason for reason in found["reasons"])
    assert run("model", "gate", "bundled", crossed, *data).exit_code == 0


def test_it_must_pass_every_test(test_set: Path, store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text((test_set / "test.txt").read_text().replace(";joy", ";anger"))
    both = ("--data", str(test_set), "--data", str(other))
    done = run("model", "gate", str(store / "crossed"), "bundled", *both, "--json")
    assert done.exit_code == 1
    assert set(last(done)["tests"]) == {str(test_set), str(other)}


def test_people_are_told_why(test_set: Path, store: Path) -> None:
    done = run("model", "gate", str(store / "crossed"), "bundled", "--data", str(test_set))
    assert "refused: " in done.output
    assert "is better" in done.output
    passed = run("model", "gate", "bundled", "bundled", "--data", str(test_set))
    assert "passed: " in passed.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bundled", "bundled", "--min-texts", "241"), "240 texts are too few"),
        (("default@nowhere", "bundled"), "default@nowhere"),
        (("no/such/folder", "bundled"), "no such folder"),
    ],
)
def test_what_cannot_be_asked_is_said(test_set: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run("model", "gate", *arguments, "--data", str(test_set))
    assert isinstance(done.exception, ConfigurationError)
    assert said in str(done.exception)


def test_a_manifest_is_read_as_it_was_written(store: Path) -> None:
    """The model that fails above fails for its labels alone."""
    crossed = msgspec.json.decode((store / "crossed" / "manifest.json").read_bytes(), type=Manifest)
    assert sorted(crossed.labels) == sorted(EMOTIONS)
