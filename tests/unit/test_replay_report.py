"""From answers to the report: every figure against scikit-learn's, the sentences, and the page."""

from __future__ import annotations

import json
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn import metrics

from tests.support.predictions import (
    HOSTILE,
    SIX,
    START,
    TRUTH,
    N,
    answered,
    folder_with,
    hostile,
    noisy,
    report_on,
    says,
    two,
)
from worker.errors import ConfigurationError
from worker.replay.history.analysis import analyse
from worker.replay.history.contest import Answered
from worker.replay.history.page import html, visible
from worker.replay.history.results import merge
from worker.replay.history.truth import Gold
from worker.settings import KafkaSettings
from worker.types import EMOTIONS, LABELS


@pytest.mark.parametrize("truth", [TRUTH, SIX], ids=["with neutral", "six classes"])
def test_figures_are_those_of_scikit_learn_on_the_parquet(tmp_path: Path, truth: np.ndarray) -> None:
    found = report_on(tmp_path, answered(N, two(truth)), truth)
    rows = pq.read_table(tmp_path / "predictions.parquet").to_pandas()
    rows = rows[rows.truth.notna()]
    assert len(rows) == found.scored == N - 100
    classes = list(LABELS) if "neutral" in set(rows.truth) else list(EMOTIONS)
    right = {}
    for one in found.contestants:
        six = rows[[f"{one.letter}_{emotion}" for emotion in EMOTIONS]].to_numpy()
        label = rows[f"{one.letter}_label"]
        answer = label if len(classes) == 7 else np.array(EMOTIONS)[six.argmax(axis=1)]
        right[one.letter] = answer == rows.truth
        figures = one.figures
        assert figures is not None
        assert figures.accuracy == pytest.approx(metrics.accuracy_score(rows.truth, answer))
        assert figures.macro_f1 == pytest.approx(metrics.f1_score(rows.truth, answer, average="macro"))
        assert figures.weighted_f1 == pytest.approx(metrics.f1_score(rows.truth, answer, average="weighted"))
        assert figures.confusion == metrics.confusion_matrix(rows.truth, answer, labels=classes).tolist()
        table = metrics.precision_recall_fscore_support(rows.truth, answer, labels=classes)
        for place, name in enumerate(classes):
            assert list(msgspec.structs.astuple(figures.per_class[name])) == pytest.approx(
                [column[place] for column in table]
            )
        assert sum(one.n for one in (found.contestants[0].calibration or [])) == found.scored
    [pair] = found.pairs
    everything = pq.read_table(tmp_path / "predictions.parquet").to_pandas()
    assert pair.agreement.value == pytest.approx((everything.A_label == everything.B_label).mean())
    assert pair.kappa == pytest.approx(metrics.cohen_kappa_score(everything.A_label, everything.B_label))
    assert pair.test is not None
    assert pair.test.right_wrong.only_a == int((right["A"] & ~right["B"]).sum())
    assert pair.test.mcnemar.p < 0.001
    assert found.verdict.startswith("A (model-a@1) is better: it answers")
    assert found.verdict == pair.sentence


def test_a_lone_model_is_held_against_gold_and_its_surest_mistakes_come_first(tmp_path: Path) -> None:
    found = report_on(tmp_path, answered(N, {"A": two(TRUTH)["A"]}), TRUTH)
    assert found.pairs == []
    assert found.verdict.startswith("A (model-a@1) answers 8")
    assert "95% interval" in found.verdict
    [differing] = found.disagreements
    accuracy = found.contestants[0].accuracy
    assert accuracy is not None
    assert differing.n == round(found.scored * (1 - accuracy.value))
    margins = [one.margin for one in differing.examples]
    assert margins == sorted(margins, reverse=True)
    assert all(one.reference != one.answers["A"].label for one in differing.examples)


def test_without_gold_nobody_is_called_better(tmp_path: Path) -> None:
    found = report_on(tmp_path, answered(N, two(TRUTH, (1.0, 0.9))), None)
    assert found.reference is None
    assert (found.scored, found.contestants[0].figures, found.pairs[0].test) == (0, None, None)
    assert "better" not in found.verdict
    assert "give the same label to 9" in found.verdict
    assert found.verdict.endswith("label the posts below and give them with --gold.")
    [differing] = found.disagreements
    assert differing.n == N - np.trace(found.pairs[0].table)
    assert {one.reference for one in differing.examples} == {None}


def test_of_three_the_first_is_named_with_what_it_is_surely_better_than(tmp_path: Path) -> None:
    three = two(TRUTH, (0.86, 0.84)) | {"C": says(noisy(TRUTH, 0.3, 3), seed=3)}
    found = report_on(tmp_path, answered(N, three), TRUTH)
    assert len(found.pairs) == 3
    tests = [pair.test for pair in found.pairs if pair.test is not None]
    assert all(test.p_adjusted >= test.mcnemar.p for test in tests)
    assert "surely more than C (model-c@1)" in found.verdict
    assert "not surely more than" in found.verdict
    assert "corrected for 3 pairs" in found.verdict


def test_a_post_that_one_model_failed_on_is_compared_by_none(tmp_path: Path) -> None:
    codes = noisy(TRUTH, 0.8, 2)
    codes[150] = -1
    found = report_on(tmp_path, answered(N, {"A": two(TRUTH)["A"], "B": says(codes)}), TRUTH)
    assert [one.answered for one in found.contestants] == [N, N - 1]
    assert found.scored == N - 101
    assert found.pairs[0].n == N - 1


def test_parts_of_the_posts_add_up(tmp_path: Path) -> None:
    langs = ["en"] * 8 + ["de", None]
    sources = [f"source-{number:02d}" for number in range(20)]
    part = answered(N, two(TRUTH), langs=langs, sources=sources, every=timedelta(minutes=7))
    found = report_on(tmp_path, part, TRUTH)
    assert [(one.name, one.n) for one in found.by_language] == [("en", 480), ("de", 60), ("unknown", 60)]
    assert [one.name for one in found.by_source] == [*sources[:15], "other (5)"]
    for groups in (found.by_language, found.by_source, found.over_time):
        assert sum(one.n for one in groups) == N
        assert sum(one.scored for one in groups) == found.scored
    assert found.step_s == 10_800
    hits = sum(one.accuracy["A"] * one.scored for one in found.over_time if one.scored)
    accuracy = found.contestants[0].accuracy
    assert accuracy is not None
    assert hits == pytest.approx(accuracy.value * found.scored)


def test_a_post_with_a_wrong_year_does_not_make_the_steps_years_long(tmp_path: Path) -> None:
    part = answered(N, two(TRUTH))
    part.facts[3] = msgspec.structs.replace(part.facts[3], created_at=START.replace(year=1971))
    found = report_on(tmp_path, part, TRUTH)
    assert found.step_s == 900
    assert found.over_time[0].start.year == 1971
    assert "1971" not in (page := html(found))
    assert "most of them written 2026-03-01" in page


def test_only_the_first_post_of_an_id_is_scored(tmp_path: Path) -> None:
    part = answered(N, two(TRUTH))
    part.facts[200] = msgspec.structs.replace(part.facts[200], id="150")
    found = report_on(tmp_path, part, TRUTH)
    assert found.matched is not None
    assert (found.matched.repeated_posts, found.matched.gold_without_post) == (1, 1)
    assert (found.matched.posts_with_gold, found.matched.posts_without_gold) == (499, 100)
    assert found.scored == 499


def test_gold_of_other_posts_is_an_error_that_shows_ids_of_both(tmp_path: Path) -> None:
    folder, state = folder_with(tmp_path, answered(N))
    gold = Gold("gold.csv", {"at://a": "joy", "at://b": "fear"}, 2)
    with pytest.raises(ConfigurationError, match="gold has 'at://a', 'at://b', the posts have '0', '1'"):
        merge(folder, state, gold, None, KafkaSettings())
    assert sorted(one.name for one in tmp_path.iterdir()) == ["parts", "replay.json"]


def test_a_range_of_bad_records_is_an_error_that_counts_their_kinds(tmp_path: Path) -> None:
    part = answered(3, {"A": says([-1, -1, -1])})
    bad = [msgspec.structs.replace(one, outcome="invalid_json", id=None) for one in part.facts]
    folder, state = folder_with(tmp_path, Answered(bad, part.answers, {}))
    with pytest.raises(ConfigurationError, match=r"no record of the range is a post \(3 invalid_json\)"):
        merge(folder, state, None, None, KafkaSettings())


def test_the_same_predictions_can_be_held_against_other_gold(tmp_path: Path) -> None:
    """Hours of classifying are not done again because a label was corrected."""
    folder, state = folder_with(tmp_path, answered(N, two(TRUTH)))
    first = Gold("a.csv", {str(row): LABELS[code] for row, code in enumerate(TRUTH.tolist())}, N)
    before = analyse(folder, state, merge(folder, state, first, None, KafkaSettings()), first)
    done = folder.complete(state)
    second = msgspec.structs.replace(first, labels={"5": "joy", "6": "fear"})
    few = analyse(folder, done, merge(folder, done, second, None, KafkaSettings()), second)
    assert few.scored == 2
    again = analyse(folder, done, merge(folder, done, first, None, KafkaSettings()), first)
    assert msgspec.structs.replace(again, replay=state) == before


class Elements(HTMLParser):
    """The elements of a page, their attributes and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_what_strangers_write_stays_text(tmp_path: Path) -> None:
    page = Elements(html(hostile(tmp_path)))
    plain = Elements(html(report_on(tmp_path / "plain", answered(N, two(TRUTH), texts=["x"]), TRUTH)))
    assert set(page.tags) <= set(plain.tags)
    assert not {"script", "img", "iframe", "link", "object", "embed"} & set(page.tags)
    assert page.tags.count("h1") == 1
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    for text in HOSTILE[:3]:
        assert text in page.text
    assert HOSTILE[4] in page.text
    assert not {"\u202e", "\u202c", "\x00", "\x1b"} & set(page.text)


def test_the_page_asks_nobody_for_anything(tmp_path: Path) -> None:
    page = html(report_on(tmp_path, answered(N, two(TRUTH)), TRUTH))
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    for outside in ("http:", "https:", "url(", "@import", "<script"):
        assert outside not in page.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_long_texts_are_cut_on_the_page() -> None:
    assert visible("a" * 1000) == "a" * 400 + " ..."
    assert visible("a\u202eb\nc") == "a b c"


def test_the_page_says_what_the_report_says(tmp_path: Path) -> None:
    found = report_on(tmp_path, answered(N, two(TRUTH)), TRUTH)
    text = " ".join(Elements(html(found)).text.split())
    assert found.verdict in text
    for one in found.contestants:
        assert one.figures is not None
        assert f"{one.figures.macro_f1:.3f}" in text
    assert f"{found.disagreements[0].n} posts" in text
    json.dumps(msgspec.to_builtins(found))  # as machines get it


@pytest.mark.parametrize("truth", [None, SIX], ids=["no gold", "six classes"])
def test_every_kind_of_report_has_a_page(tmp_path: Path, truth: np.ndarray | None) -> None:
    three = two(SIX) | {"C": says(noisy(SIX, 0.5, 3), seed=3)}
    page = Elements(html(report_on(tmp_path, answered(N, three), truth)))
    assert page.tags.count("main") == 1
    assert "C (model-c@1)" in page.text
