"""Rows that people added: read, kept apart from what is measured with, and trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.training.test_data import certain, source
from training.cli import train
from training.data import SIX, Split, build_corpus
from training.extra import read_extra, target
from worker.errors import ConfigurationError
from worker.types import EMOTIONS

NEUTRAL_ROW = np.eye(SIX + 1, dtype=np.float32)[SIX:]


def write(file: Path, *rows: object) -> Path:
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


def test_votes_become_shares() -> None:
    assert target({"joy": 1}) == [0, 1, 0, 0, 0, 0, 0]
    assert target({"joy": 3, "love": 1}) == [0, 0.75, 0.25, 0, 0, 0, 0]
    assert target({"neutral": 1}) == [0, 0, 0, 0, 0, 0, 1]
    assert target({"neutral": 1, "fear": 3}) == [0, 0, 0, 0, 1, 0, 0.25]


def test_a_label_alone_is_enough(tmp_path: Path) -> None:
    split = read_extra([write(tmp_path / "a", {"text": "x", "label": "fear"}), write(tmp_path / "b")])

    assert split.texts == ["x"]
    assert split.emotion.tolist() == [EMOTIONS.index("fear")]


def test_every_wrong_line_is_told(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.jsonl",
        {"text": "x"},
        {"text": "x", "label": "boredom"},
        {"text": "x", "label": "joy", "votes": {"joy": 0}},
        {"text": "x", "label": "joy", "votes": {"joy": 2, "fear": -1}},
    )

    with pytest.raises(ConfigurationError) as refused:
        read_extra([file, tmp_path / "missing"])

    assert all(f"line {n}:" in problem for n, problem in enumerate(refused.value.problems[:4], start=1))
    assert len(refused.value.problems) == 5


def added(*texts: str, neutral: bool = False) -> Split:
    targets = np.repeat(NEUTRAL_ROW, len(texts), axis=0) if neutral else certain(*["fear"] * len(texts))
    return Split(list(texts), targets)


ONE = source("one", Split(["known"], certain("joy")), Split(["Measured"], certain("joy")))


@pytest.mark.parametrize("deduplicate", [True, False])
def test_what_is_measured_with_is_left_out_however_the_recipe_cleans(*, deduplicate: bool) -> None:
    corpus = build_corpus(
        [ONE], 1, extra=added("new", "measured", "held  out for validation"), deduplicate=deduplicate
    )

    assert list(corpus.train.texts) == ["known", "new"]
    assert (corpus.extra.rows, corpus.extra.held_out) == (1, 2)
    assert corpus.train_rows == {"one": 1}


def test_a_known_text_becomes_one_row_with_both_opinions() -> None:
    corpus = build_corpus([ONE], 1, extra=added("KNOWN"))

    assert list(corpus.train.texts) == ["known"]
    assert corpus.train.targets[0, [EMOTIONS.index("joy"), EMOTIONS.index("fear")]].tolist() == [0.5, 0.5]


def test_neutral_is_only_taught_where_it_can_be_calibrated() -> None:
    """Without a neutral row in any data set there is none to find a threshold on either."""
    without = build_corpus([ONE], 1, extra=added("flat", neutral=True))
    knowing = source("two", Split(["dull"], NEUTRAL_ROW), Split(["x"], certain("joy")))
    with_it = build_corpus([ONE, knowing], 1, extra=added("flat", neutral=True))

    assert (without.extra.rows, without.extra.neutral, without.has_neutral) == (0, 1, False)
    assert (with_it.extra.rows, with_it.extra.neutral) == (1, 0)


def test_nothing_added_changes_nothing() -> None:
    assert build_corpus([ONE], 1).train.texts == build_corpus([ONE], 1, extra=added()).train.texts


def test_a_training_takes_them_and_its_card_says_so(
    tmp_path: Path, tiny_recipe: Path, tiny_base: Path, emotion_folder: Path
) -> None:
    [measured, *_] = (emotion_folder / "test.txt").read_text().splitlines()
    extra = write(
        tmp_path / "corrections.jsonl",
        {"text": "the queue at the post office made me cross", "label": "anger"},
        {"text": measured.rpartition(";")[0], "label": "fear"},
        {"text": "nothing much", "label": "neutral"},
    )
    output = tmp_path / "model"
    arguments = [tiny_recipe, "--base", tiny_base, "--data", emotion_folder, "--extra", extra]

    done = CliRunner().invoke(train, [*map(str, arguments), "--output", str(output), "--epochs", "0.1"])

    assert done.exit_code == 0, done.output
    assert "rows that people added: rows 1  held_out 1  neutral 1" in done.stderr
    assert "| people's corrections | 1 |" in (output / "README.md").read_text()
