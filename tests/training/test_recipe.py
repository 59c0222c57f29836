"""Recipes: every mistake is said, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.recipe import load, names
from training.request import make_request
from worker.errors import ConfigurationError


@pytest.mark.parametrize("name", names())
def test_every_bundled_recipe_loads(name: str) -> None:
    assert load(name).description


def test_the_default_recipe() -> None:
    recipe = load("default")

    assert (recipe.base, recipe.max_length, recipe.batch_size) == ("minilm", 128, 64)


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(
        'epochs = 0\nlearning_rate = "fast"\nschedule = "exponential"\ncolour = "red"\n'
        "text_version = 99\nlabel_smoothing = 1.5\n"
    )

    with pytest.raises(ConfigurationError) as refused:
        load(str(file))

    problems = "\n".join(refused.value.problems)
    for field in ("epochs", "learning_rate", "schedule", "colour: unknown", "label_smoothing"):
        assert field in problems
    assert "description: missing" in problems
    assert "line 4: colour: unknown" in problems
    assert "text_version: 99 is unknown, known are [0, 1, 2, 3]" in problems
    assert len(refused.value.problems) == 7


def test_an_unknown_recipe_says_which_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"nothing.*one of .*default"):
        load("nothing")


def test_a_recipe_that_is_not_toml(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("epochs = = 2")

    with pytest.raises(ConfigurationError, match="is not TOML"):
        load(str(tmp_path / "broken.toml"))


def test_a_request_takes_what_was_given_and_fills_in_the_rest(tmp_path: Path) -> None:
    request = make_request(
        "default",
        [tmp_path],
        changes={"seed": 7, "base": None},
        output=tmp_path / "new",
        version="1.2",
    )

    assert (request.recipe.seed, request.recipe.base) == (7, "minilm")
    assert (request.name, request.version, request.output) == ("default", "1.2", tmp_path / "new")


def test_a_request_never_writes_over_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="exists: choose another --output"):
        make_request("default", [], output=tmp_path)


@pytest.mark.parametrize("name", ["../up", "", " ", "a b"])
def test_a_name_that_no_manifest_may_hold_is_refused_before_training(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        make_request("default", [], output=tmp_path / "new", name=name)
    with pytest.raises(ConfigurationError, match="version"):
        make_request("default", [], output=tmp_path / "new", version=name)
