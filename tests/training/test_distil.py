"""Teachers: whose word counts for what."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from training.cli import train
from training.data import SIX, UNKNOWN, Source, Split, build_corpus
from training.distil import ask, blend, distil, mean_answer, unaddressed
from worker.errors import ConfigurationError
from worker.types import EMOTIONS


def row(neutral: float, **emotions: float) -> list[float]:
    return [*(emotions.get(name, 0.0) for name in EMOTIONS), neutral]


def rows(*given: list[float]) -> np.ndarray:
    return np.array(given, np.float32)


def test_a_target_is_drawn_towards_the_teachers_where_both_know() -> None:
    labels = rows(row(0, joy=1), row(UNKNOWN), row(1))
    taught = rows(row(0.2, joy=0.5, love=0.5), row(0.4, fear=1), row(0.9, anger=1))

    blended = blend(labels, taught, weight=0.6)

    assert blended == pytest.approx(
        rows(row(0.12, joy=0.7, love=0.3), row(0.4, fear=1), row(0.94, anger=1)), abs=1e-6
    )


def test_a_teacher_without_a_gate_leaves_neutral_to_the_label() -> None:
    labels, taught = rows(row(1)), rows(row(UNKNOWN, joy=1))

    assert blend(labels, taught, weight=0.6) == pytest.approx(rows(row(1, joy=1)))


def test_the_mean_of_answers() -> None:
    gated, plain = rows(row(0.4, joy=1)), rows(row(UNKNOWN, fear=1))

    assert mean_answer([gated, plain]) == pytest.approx(rows(row(0.4, joy=0.5, fear=0.5)))
    assert mean_answer([plain, plain])[0, SIX] == UNKNOWN


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("@user so happy for you http", "so happy for you"),
        ("@user @user", "@user @user"),
        ("@username likes httpd", "@username likes httpd"),
    ],
)
def test_a_teacher_is_asked_without_mentions_and_links(text: str, bare: str) -> None:
    assert unaddressed(text) == bare


@pytest.fixture(scope="module")
def teacher(
    tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Path, tiny_base: Path, emotion_folder: Path
) -> Path:
    output = tmp_path_factory.mktemp("teacher") / "model"
    done = CliRunner().invoke(
        train,
        [
            *(str(tiny_recipe), "--base", str(tiny_base), "--output", str(output)),
            *("--data", str(emotion_folder), "--json"),
        ],
    )
    assert done.exit_code == 0, done.output
    return output


def test_a_teacher_answers_with_calibrated_probabilities(teacher: Path) -> None:
    answer = ask(teacher, ["i feel furious", "we were merry all day"])

    assert answer[:, :SIX].sum(axis=1) == pytest.approx([1, 1])
    assert [EMOTIONS[best] for best in answer[:, :SIX].argmax(axis=1)] == ["anger", "joy"]
    assert answer[:, SIX].tolist() == [UNKNOWN, UNKNOWN]


def test_texts_without_labels_are_taught(teacher: Path, tmp_path: Path) -> None:
    known = Split(["i feel furious"], rows(row(0, anger=1)))
    corpus = build_corpus(
        [Source("a", "a", "", "", {"train": known, "validation": known.rows([]), "test": known.rows([])})],
        1,
        ["we were merry all day", "i feel furious", ""],
    )

    said: list[str] = []
    taught = distil(corpus, [teacher], 0.5, said.append, cache=tmp_path)
    again = distil(corpus, [teacher], 0.5, said.append, cache=tmp_path)

    assert taught.texts == ["i feel furious", "we were merry all day"]
    assert taught.targets[1, :SIX].argmax() == EMOTIONS.index("joy")
    assert taught.targets[1, SIX] == UNKNOWN
    assert (again.targets == taught.targets).all()
    assert ["before" in line for line in said] == [False, True]


def test_a_student_of_a_teacher_and_of_changed_texts(
    teacher: Path, tiny_recipe: Path, tiny_base: Path, emotion_folder: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "student.toml"
    recipe.write_text(tiny_recipe.read_text() + "augmentation = 0.5\ndropout = 0.0\n")
    posts = tmp_path / "posts.tsv"
    posts.write_text("they left me gloomy\tsomebody's label\n")
    arguments = [recipe, "--base", tiny_base, "--data", emotion_folder, "--teacher", teacher]
    arguments += ["--unlabelled", posts, "--output", tmp_path / "student", "--json"]

    done = CliRunner().invoke(train, [str(argument) for argument in arguments])

    assert done.exit_code == 0, done.output
    scores = json.loads(done.stdout.splitlines()[-1])["scores"]
    assert scores["written-here/test"]["accuracy"] > 0.7


def test_texts_without_labels_need_a_teacher(tiny_recipe: Path, tmp_path: Path) -> None:
    posts = tmp_path / "posts.txt"
    posts.write_text("hello\n")

    done = CliRunner().invoke(train, [str(tiny_recipe), "--unlabelled", str(posts)])

    assert isinstance(done.exception, ConfigurationError)
    assert "give --teacher DIR" in str(done.exception)
