"""The suite is sound, and a model that is broken in some way fails the tests that are about it."""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections.abc import Iterable

import msgspec
import numpy as np
import pytest

from tests.support.answering import by_rule
from worker.replay.behaviour.engine import run_invariances, run_suite
from worker.replay.behaviour.report import KINDS, Behaviour
from worker.replay.behaviour.suite import Check, LabelCase, ScoreCase, read_suite, texts_of, unfold
from worker.types import EMOTIONS, LABELS, Classified, LabelName

CHECKS = read_suite()
SMALL = """
slack = 0.1
bases = ["a fact."]
[slots]
who = ["she", "he"]
[[expect]]
name = "plain joy"
capability = "vocabulary"
labels = ["joy"]
texts = ["{who} is happy", "joy"]
[[expect]]
name = "no anger"
capability = "negation"
never = ["anger"]
texts = ["{who} is not angry"]
[[intensity]]
name = "more joy"
emotion = "joy"
frames = ["i am {}"]
pairs = [["glad", "very happy"]]
[[addition]]
name = "joy added"
emotion = "joy"
added = ["how happy!"]
"""


def rates(found: Behaviour) -> dict[str, float]:
    return {one.name: one.rate for one in found.outcomes}


def keyword(text: str) -> LabelName:
    """Blind to all but one word in lower case."""
    return "joy" if "happy" in text else "anger" if "angry" in text else "neutral"


def test_the_suite_is_large_and_says_what_it_must_not_be_used_for() -> None:
    cases = [case for check in CHECKS for case in check.cases]
    assert len(cases) >= 600
    assert {check.capability for check in CHECKS} == {
        *("vocabulary", "negation", "time", "slang", "emoji", "neutral", "intensity", "addition"),
    }
    for label in LABELS:
        assert any(isinstance(case, LabelCase) and case.allowed == {label} for case in cases)


def test_no_case_stands_there_twice_and_none_contradicts_another() -> None:
    texts = [case.text for check in CHECKS for case in check.cases if isinstance(case, LabelCase)]
    assert len(texts) == len(set(texts))
    pairs = [(c.before, c.after) for check in CHECKS for c in check.cases if isinstance(c, ScoreCase)]
    assert len(pairs) == len(set(pairs))
    assert not any("{" in text for text in [*texts, *(text for pair in pairs for text in pair)])


def oracle(checks: Iterable[Check]) -> tuple[dict[str, LabelName], dict[str, tuple[LabelName, float]]]:
    """What a perfect model would say: labels, and (emotion, score) of the pairs' second texts."""
    labels: dict[str, LabelName] = {}
    scores: dict[str, tuple[LabelName, float]] = {}
    for check in checks:
        for case in check.cases:
            if isinstance(case, LabelCase):
                labels[case.text] = min(case.allowed)
            else:
                scores[case.after] = (case.emotion, 0.9)
    return labels, scores


def test_a_perfect_model_passes_every_plain_case() -> None:
    labels, scores = oracle(CHECKS)

    def rule(text: str) -> LabelName:
        return labels.get(text) or scores.get(text, ("neutral", 0.0))[0]

    found = run_suite(by_rule(rule), CHECKS)
    assert found.total("MFT").rate == 1
    assert found.total("DIR").rate == 1


@pytest.mark.parametrize("label", LABELS)
def test_a_model_that_always_says_the_same_fails(label: LabelName) -> None:
    found = run_suite(by_rule(lambda _: label))
    assert found.total("INV").rate == 1
    assert found.total("DIR").passed == 0
    assert found.total("MFT").rate < 0.5
    assert found.worst() == 0
    if label != "neutral":
        assert rates(found)["facts"] == 0


def test_a_model_that_answers_at_random_fails() -> None:
    def at_random(texts: object) -> Classified:
        rows = [zlib.crc32(text.encode()) for text in texts]  # type: ignore[attr-defined]
        scores = np.array([np.random.default_rng(row).dirichlet(np.ones(6)) for row in rows])
        return Classified(scores, np.zeros(len(rows)), scores.argmax(axis=1), np.zeros(len(rows)))

    found = run_suite(at_random)
    assert found.total("INV").rate < 0.4
    assert found.total("MFT").rate < 0.5
    assert found.total("DIR").rate < 0.7


def test_a_model_that_does_not_see_negation_fails_just_there() -> None:
    found = rates(run_suite(by_rule(keyword)))
    assert found["joy denied is not joy"] < 0.8
    assert found["anger denied is not anger"] < 0.9
    assert found["fear denied is not fear"] == 1  # it never says fear
    assert found["facts"] == 1


def test_a_model_that_minds_case_fails_just_there() -> None:
    found = rates(run_suite(by_rule(keyword)))
    assert found["upper case"] < 1
    assert found["trailing white space"] == found["mention added"] == found["link changed"] == 1


def test_a_model_whose_score_falls_with_intensity_fails() -> None:
    strong = ("absolutely", "extremely", "so ", "really", "utter", "truly", "cherish", "love")
    found = run_suite(
        by_rule(
            lambda text: next((name for name in EMOTIONS if name in text), "joy"),
            lambda text: 0.5 if any(word in text for word in strong) else 0.9,
        )
    )
    assert rates(found)["joy rises with its words"] == 0


def test_a_small_suite_by_hand() -> None:
    found = run_suite(by_rule(keyword), read_suite(SMALL))
    plain = {one.name: (one.kind, one.n, one.passed) for one in found.outcomes if one.kind != "INV"}
    assert plain == {
        "plain joy": ("MFT", 3, 2),
        "no anger": ("MFT", 2, 0),
        "more joy": ("MFT", 1, 1),
        "joy added": ("DIR", 1, 1),
    }
    assert found.outcomes[0].examples == ("'joy': neutral",)
    assert found.figures()["mft"] == pytest.approx(3 / 6)
    assert found.figures()["dir_rows"] == 1
    assert rates(found)["upper case"] == pytest.approx(1 / 5)  # only of "joy" it says the same: neutral


def test_a_score_may_fall_by_the_slack_but_must_rise_where_a_sentence_is_added() -> None:
    def nearly(text: str) -> float:
        return 0.80 if "very" in text or "how" in text else 0.85

    found = rates(run_suite(by_rule(lambda _: "joy", nearly), read_suite(SMALL)))
    assert found["more joy"] == 1
    assert found["joy added"] == 0


def test_the_report_reads_well_for_people_and_machines() -> None:
    found = run_suite(by_rule(keyword), read_suite(SMALL))
    table = found.markdown().splitlines()
    assert "| MFT | vocabulary | 3 | 66.7% |" in table
    assert "| **DIR** | **all** | 1 | **100.0%** |" in table
    assert {line.count("|") for line in table} == {5}
    as_json = msgspec.json.decode(msgspec.json.encode(found.as_json()))
    assert as_json["tests"][0] == {
        "kind": "MFT", "capability": "vocabulary", "name": "plain joy", "n": 3, "passed": 2,
        "examples": ["'joy': neutral"], "rate": 2 / 3,
    }  # fmt: skip
    assert {f"{kind.lower()}_rows" for kind in KINDS} < set(as_json)


def test_the_suite_and_its_outcome_are_the_same_each_time() -> None:
    assert run_suite(by_rule(keyword)) == run_suite(by_rule(keyword), read_suite())


def test_posts_are_counted_and_never_shown() -> None:
    found = {one.name: one for one in run_invariances(by_rule(keyword), ["i am happy", "plain", "plain"])}
    assert (found["upper case"].n, found["upper case"].passed) == (3, 2)
    assert found["link changed"].n == 0
    assert not any(one.examples for one in found.values())


def test_training_can_use_it_without_what_only_serving_needs() -> None:
    code = (
        "import sys, worker.replay.behaviour.engine, worker.replay.behaviour.bias, worker.replay.reliability;"
        "print({'torch', 'openvino', 'confluent_kafka', 'scipy', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_too_few_answers_are_an_error() -> None:
    ask = by_rule(keyword)
    with pytest.raises(ValueError, match="answers to"):
        run_suite(lambda texts: ask(texts[1:]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (SMALL.replace("{who}", "{whom}"), "whom"),
        (SMALL.replace('labels = ["joy"]', 'labels = ["bliss"]'), "bliss"),
        (SMALL.replace('labels = ["joy"]', ""), "either labels or never"),
        (SMALL.replace("pairs =", "words ="), "words"),
    ],
)
def test_a_suite_that_is_wrong_is_refused(wrong: str, message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        read_suite(wrong)


def test_slots_unfold_to_every_combination() -> None:
    slots = {"a": ["1", "2"], "b": ["x", "y"]}
    assert list(unfold("{a}{b}{a}", slots)) == ["1x1", "1y1", "2x2", "2y2"]
    assert list(unfold("none", slots)) == ["none"]
    assert texts_of(read_suite(SMALL)) == [
        "she is happy", "he is happy", "joy", "she is not angry", "he is not angry",
    ]  # fmt: skip
