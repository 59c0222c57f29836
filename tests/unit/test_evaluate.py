"""`moodstream evaluate` and `moodstream behaviour` as commands: what they print, and how they end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.support.models import WordModel
from worker.cli import cli
from worker.errors import ArtifactError, ConfigurationError
from worker.model.bundled import bundled_model
from worker.replay import serving
from worker.replay.behaviour.engine import run_suite
from worker.replay.behaviour.suite import read_suite
from worker.settings import Settings
from worker.types import EMOTIONS, Classified

ROWS = {
    "i feel so happy and cheerful today": "joy",
    "i am furious, this makes me so angry": "anger",
    "the meeting is at four in room two": "neutral",
    "the bus stops in front of the school": "neutral",
}
ONE_MODEL = {
    *("n", "accuracy", "macro_f1", "weighted_f1", "precision", "recall", "roc_auc_ovr", "ece"),
    *("confusion", "per_class"),
}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def last(result: Result) -> Any:
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    file = tmp_path / "gold.txt"
    file.write_text("\n".join(f"{text};{label}" for text, label in ROWS.items()))
    return file


class Closable(WordModel):
    """Answers by the first word, see `WordModel`; the one called `sad` always says sadness."""

    def classify(self, rows: Sequence[Sequence[int]]) -> Classified:
        answer = super().classify(rows)
        if self.name != "sad@1":
            return answer
        return Classified(
            np.tile([0.9, *[0.02] * 5], (len(rows), 1)), answer.neutral, answer.label * 0, answer.energy
        )

    def close(self) -> None:
        """Holds nothing."""


@pytest.fixture
def word_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model that is opened answers by the first word of a text; its name is that of its folder."""

    def opened(settings: Settings) -> Closable:
        model = Closable()
        model.name = "words@1" if settings.model.path is None else f"{settings.model.path.name}@1"
        return model

    monkeypatch.setattr(serving, "open_classifier", opened)


def test_one_models_line_keeps_its_names(tmp_path: Path, gold: Path) -> None:
    assert set(last(run("evaluate", "--data", str(gold), "--json"))) == ONE_MODEL | {"neutral_roc_auc"}
    (tmp_path / "test.txt").write_text("\n".join(f"{t};{label}" for t, label in list(ROWS.items())[:2]))
    assert set(last(run("evaluate", "--data", str(tmp_path), "--json"))) == ONE_MODEL


def test_the_gate_is_scored_where_the_truth_knows_neutral(gold: Path) -> None:
    assert last(run("evaluate", "--data", str(gold), "--json"))["neutral_roc_auc"] == 1
    assert "gate's ROC-AUC 1.0000" in " ".join(run("evaluate", "--data", str(gold)).stdout.split())


@pytest.mark.usefixtures("word_models")
def test_a_model_without_a_gate_has_no_area_for_it(gold: Path) -> None:
    assert set(last(run("evaluate", "--data", str(gold), "--json"))) == ONE_MODEL


def test_comparing_reports_both_and_a_verdict(gold: Path) -> None:
    compared = ("evaluate", "--data", str(gold), "--compare", "bundled", str(bundled_model()))
    found = last(run(*compared, "--json"))
    assert set(found) == {
        *("a", "b", "n", "agreement", "right_wrong", "mcnemar"),
        *("accuracy_difference", "macro_f1_difference", "verdict"),
    }
    assert set(found["a"]["figures"]) > ONE_MODEL
    assert found["a"] == found["b"]
    assert (found["n"], found["agreement"], found["mcnemar"]["p"]) == (4, 1, 1)
    assert (found["right_wrong"]["only_a"], found["right_wrong"]["only_b"]) == (0, 0)
    assert found["right_wrong"]["both"] == 4 * found["a"]["figures"]["accuracy"] > 0
    assert "Neither is better" in " ".join(run(*compared).stdout.split())


@pytest.mark.usefixtures("word_models")
def test_the_first_model_is_a_and_the_second_b(tmp_path: Path) -> None:
    file = tmp_path / "gold.jsonl"
    rows = [("joy", "joy")] * 7 + [("sadness", "sadness")] * 2 + [("anger", "fear")]
    file.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in rows))
    found = last(
        run("evaluate", "--data", str(file), "--compare", str(tmp_path / "sad"), "bundled", "--json")
    )
    assert (found["a"]["model"], found["b"]["model"]) == ("sad@1", "words@1")
    assert (found["a"]["figures"]["accuracy"], found["b"]["figures"]["accuracy"]) == (0.2, 0.9)
    assert found["right_wrong"] == {"both": 2, "only_a": 0, "only_b": 7, "neither": 1}
    assert found["accuracy_difference"]["value"] == pytest.approx(0.7)
    assert found["mcnemar"]["p"] == pytest.approx(2 / 2**7)
    assert found["agreement"] == pytest.approx(0.2)
    assert found["verdict"].startswith("B (words@1) is better: it answers 70.00 points more of 10 texts")


def test_a_model_that_is_not_there_is_named(gold: Path, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="nowhere"):
        run("evaluate", "--data", str(gold), "--compare", "bundled", nowhere)
    with pytest.raises(ArtifactError, match="nowhere"):
        run("behaviour", "--model", nowhere)


@pytest.mark.usefixtures("word_models")
def test_the_diagram_is_written_beside_the_figures(tmp_path: Path, gold: Path) -> None:
    picture = tmp_path / "diagram.svg"
    found = last(run("evaluate", "--data", str(gold), "--reliability", str(picture), "--json"))
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    assert f"ECE = {found['ece']:.3f}" in picture.read_text()


@pytest.mark.usefixtures("word_models")
def test_a_diagram_elsewhere_or_of_two_models_is_refused(tmp_path: Path, gold: Path) -> None:
    data = ("evaluate", "--data", str(gold))
    assert run(*data, "--reliability", str(tmp_path / "diagram.png")).exit_code == 2
    both = run(*data, "--reliability", str(tmp_path / "d.svg"), "--compare", "bundled", "bundled")
    assert both.exit_code == 2
    assert "leave out --compare" in both.output
    with pytest.raises(ConfigurationError, match="cannot be written"):
        run(*data, "--reliability", str(tmp_path / "no" / "d.svg"))


@pytest.mark.usefixtures("word_models")
def test_texts_that_are_all_refused_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "blank.txt"
    file.write_text("  ;joy\n")
    with pytest.raises(ConfigurationError, match="no text that the model labelled"):
        run("evaluate", "--data", str(file))
    with pytest.raises(ConfigurationError, match="no text that both models labelled"):
        run("evaluate", "--data", str(file), "--compare", "bundled", "bundled")


CORPUS = """ID,Sentence,Template,Person,Gender,Race,Emotion,Emotion word
1,joy for her,joy for X,her,female,,joy,
2,fear for him,joy for X,him,male,,joy,
3,joy for Imani,joy for X,Imani,female,African-American,joy,
4,joy for Emily,joy for X,Emily,female,European,joy,
"""


@pytest.mark.usefixtures("word_models")
def test_behaviour_reports_what_was_asked_for(tmp_path: Path) -> None:
    posts, corpus = tmp_path / "posts.txt", tmp_path / "eec.csv"
    posts.write_text("joy is here\nanger is here;anger\n")
    corpus.write_text(CORPUS)
    alone = last(run("behaviour", "--json"))
    assert set(alone) == {"model", "suite"}
    assert alone["model"] == "words@1"
    assert {test["kind"] for test in alone["suite"]["tests"]} == {"MFT", "INV", "DIR"}
    for test in alone["suite"]["tests"]:
        assert {"kind", "capability", "name", "n", "passed", "examples", "rate"} == set(test)
    found = last(run("behaviour", "--posts", str(posts), "--eec", str(corpus), "--json"))
    assert found["suite"] == alone["suite"]
    # This model knows its words in lower case; else it answers sadness.
    assert found["posts"]["trailing white space"] == {"n": 2, "unchanged": 2, "rate": 1}
    assert found["posts"]["upper case"] == {"n": 2, "unchanged": 0, "rate": 0}
    gaps = {(gap["attribute"], gap["emotion"]): gap for gap in found["bias"]["gaps"]}
    assert len(gaps) == 2 * len(EMOTIONS)
    assert gaps["female - male", "joy"]["difference"]["value"] == pytest.approx(0.88)
    assert found["bias"]["largest"]["attribute"] == "female - male"


@pytest.mark.usefixtures("word_models")
def test_behaviour_speaks_to_people_too(tmp_path: Path) -> None:
    corpus = tmp_path / "eec.csv"
    corpus.write_text(CORPUS)
    shown = run("behaviour", "--eec", str(corpus)).stdout
    assert "joy, plainly stated" in shown
    assert "largest gap: +0.8800 (joy, female - male)" in shown
    assert "model: words@1" in shown


@pytest.mark.usefixtures("word_models")
def test_a_broken_model_ends_with_one_where_a_share_is_asked_for() -> None:
    assert run("behaviour").exit_code == 0
    assert run("behaviour", "--at-least", "0").exit_code == 0
    assert run("behaviour", "--at-least", "0.8").exit_code == 1


def test_the_bundled_model_does_well_on_plain_words_of_the_suite() -> None:
    """Through the serving path; what it does not do well is in its card."""
    settings = Settings()
    plain = [check for check in read_suite() if check.capability in ("vocabulary", "addition")]
    with serving.opened(settings) as model:
        found = run_suite(serving.asking(model, settings, "suite"), plain)
        with pytest.raises(ConfigurationError, match="text 1"):
            serving.asking(model, settings, "none")(["a text", "  "])
    rates = {one.capability: one.rate for one in found.by_capability()}
    assert rates["vocabulary"] > 0.8
    assert rates["addition"] > 0.9
    assert rates["upper case"] == rates["trailing white space"] == 1
