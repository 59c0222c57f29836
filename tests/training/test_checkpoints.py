"""A training that is killed goes on to the same result, and never from another training's checkpoints."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from training.checkpoints import digest, folder_of, mark_whole, open_folder
from worker.errors import ConfigurationError


def test_the_last_whole_checkpoint_is_found(tmp_path: Path) -> None:
    output = tmp_path / "model"

    folder, last = open_folder(output, {"seed": 1}, fresh=False)
    assert last is None
    for step in (9, 10, 11):
        (folder / f"checkpoint-{step}").mkdir()
        (folder / f"checkpoint-{step}" / "trainer_state.json").touch()  # As a kill leaves it: begun, empty.
    for step in (9, 10):
        mark_whole(folder / f"checkpoint-{step}")

    assert open_folder(output, {"seed": 1}, fresh=False) == (folder, folder / "checkpoint-10")
    assert open_folder(output, {"seed": 1}, fresh=True) == (folder, None)


def test_checkpoints_of_another_training_are_refused_and_kept(tmp_path: Path) -> None:
    folder, _ = open_folder(tmp_path / "model", {"seed": 1, "epochs": 2}, fresh=False)
    (folder / "checkpoint-1").mkdir()

    with pytest.raises(ConfigurationError) as refused:
        open_folder(tmp_path / "model", {"seed": 2, "rows": 5}, fresh=False)

    problems = "\n".join(refused.value.problems)
    for line in ("epochs is 2 there and None here", "rows is None there", "seed is 1 there and 2 here"):
        assert line in problems
    assert "--fresh" in problems
    assert (folder / "checkpoint-1").is_dir()


def test_a_digest_tells_texts_apart() -> None:
    assert digest(["ab"], b"x") == digest(["ab"], b"x")
    assert digest(["ab"], b"x") != digest(["a", "b"], b"x")


@pytest.mark.timeout(300)  # Three processes, each of which imports torch and exports a model.
def test_a_kill_in_the_middle_changes_nothing(
    tiny_recipe: Path, tiny_base: Path, emotion_folder: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "killed.toml"
    recipe.write_text(tiny_recipe.read_text() + "augmentation = 0.5\ndropout = 0.1\n")

    def start(output: Path) -> subprocess.Popen[bytes]:
        arguments = [str(recipe), "--base", str(tiny_base), "--data", str(emotion_folder), "--json"]
        code = "import sys; from worker.cli import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", code, "train", *arguments, "--output", str(output)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
        )

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with start(whole) as process:
        assert process.wait() == 0
    with start(killed) as process:
        _wait_for_checkpoint(folder_of(killed), process)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not killed.exists()

    with start(killed) as process:
        assert process.wait() == 0

    expected, found = (load_file(folder / "model.safetensors") for folder in (whole, killed))
    assert all((found[name] == expected[name]).all() for name in expected)
    assert not folder_of(killed).exists(), "nothing is left behind"


def _wait_for_checkpoint(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Until some of the epochs are done, so that the kill comes in the middle of the others."""
    while not list(folder.glob("checkpoint-*/whole")):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
