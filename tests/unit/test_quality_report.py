"""Figures from verdicts: against scikit-learn, against a known truth, by window, slice and model."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from tests.support.quality import NOW, ago, judgement, scores_for, simulated
from worker.metrics import Metrics
from worker.quality.agreement import agreement
from worker.quality.gauges import QualityGauges
from worker.quality.judgement import consensus
from worker.quality.report import MOST_MODELS, WINDOWS, Report, report
from worker.replay.paired import Interval
from worker.slices import Review
from worker.types import LABELS, Judgement, LabelName

REVIEW = Review(0.2, 0.2)
T = NOW.timestamp()


def of(judgements: list[Judgement], now: float = T) -> Report:
    return report(judgements, REVIEW, now)


def accuracy(found: Report, model: str = "mini@1", window: str = "all", slice_: str = "all") -> Interval:
    interval = found.models[model][window][slice_].accuracy  # type: ignore[index]
    assert interval is not None
    return interval


def votes(**counts: int) -> Counter[LabelName]:
    return Counter({name: counts[name] for name in LABELS if name in counts})


def test_figures_are_scikit_learns() -> None:
    judged = list(simulated(800, 0.8, random.Random(1)))
    answers, truths = [one.label.label for one in judged], [consensus(one) for one in judged]

    figures = of(judged).models["mini@1"]["all"]["all"]

    assert figures.accuracy is not None
    assert figures.macro_f1 is not None
    assert figures.n == 800
    assert figures.accuracy.value == pytest.approx(accuracy_score(truths, answers))
    assert figures.macro_f1.value == pytest.approx(f1_score(truths, answers, average="macro"))
    assert figures.confusion == confusion_matrix(truths, answers, labels=list(LABELS)).tolist()


def test_the_interval_covers_a_known_truth() -> None:
    """100 streams of 500 corrections each, of a model that is wrong one time in ten."""
    rng = random.Random(20260101)
    found = [accuracy(of(list(simulated(500, 0.9, rng)))) for _ in range(100)]

    assert np.mean([one.low <= 0.9 <= one.high for one in found]) >= 0.9


def overconfidence(judged: list[Judgement]) -> Interval:
    found = of(judged).models["mini@1"]["all"]["all"].overconfidence
    assert found is not None
    return found


def test_scores_that_no_longer_hold_are_told() -> None:
    """100 streams each of a model that scores 0.9: right as often as it says, and much less often."""
    rng = random.Random(20260102)
    steady = [overconfidence(list(simulated(500, 0.9, rng))) for _ in range(100)]
    drifted = [overconfidence(list(simulated(500, 0.75, rng))) for _ in range(100)]

    assert np.mean([one.low <= 0 <= one.high for one in steady]) >= 0.9
    assert np.mean([one.low <= 0.15 <= one.high for one in drifted]) >= 0.9
    assert min(one.low for one in drifted) > 0.05 > max(one.low for one in steady)
    assert overconfidence([judgement("joy", "joy", score=0.4)] * 50).high < -0.5


def test_windows_are_by_the_time_of_the_label() -> None:
    judged = [
        judgement("joy", "joy", number=number, labelled_at=when)
        for number, when in enumerate([ago(minutes=5), ago(hours=5), ago(days=3), ago(days=30)])
    ]

    windows = of(judged).models["mini@1"]

    assert {name: windows[name]["all"].n for name in WINDOWS} == {"hour": 1, "day": 2, "week": 3, "all": 4}
    assert {name: of(judged, T + 3600).models["mini@1"][name]["all"].n for name in WINDOWS} == {
        "hour": 0,
        "day": 2,
        "week": 3,
        "all": 4,
    }


def test_slices_are_by_what_the_label_is() -> None:
    judged = [
        judgement("joy", "joy", number=number, scores=scores_for("joy", 0.25 if number % 2 else 0.9))
        for number in range(400)
    ]
    expected = Counter(name for one in judged for name in REVIEW.slices(one.label))

    slices = of(judged).models["mini@1"]["all"]

    assert slices["all"].n == 400
    assert slices["random"].n == expected["random"] == pytest.approx(80, abs=40)
    assert slices["low_margin"].n == expected["low_margin"] == 200


def test_the_random_slice_is_not_misled_by_who_corrects_what() -> None:
    """People correct what is wrong; on the random slice everything was reviewed."""
    rng, judged = random.Random(5), []
    for one in simulated(4000, 0.9, rng):
        reviewed = "random" in REVIEW.slices(one.label)
        if reviewed or (consensus(one) != one.label.label and rng.random() < 0.5):
            judged.append(one)

    found = of(judged)

    assert accuracy(found).high < 0.85
    unbiased = accuracy(found, slice_="random")
    assert unbiased.low <= 0.9 <= unbiased.high


def test_models_are_told_apart_and_the_last_ones_are_shown() -> None:
    judged = [
        judgement("joy", "joy", number=number, model=f"mini@{number}", labelled_at=ago(hours=number))
        for number in range(MOST_MODELS + 3)
    ]

    found = of(judged)

    assert list(found.models) == [f"mini@{number}" for number in range(MOST_MODELS)]
    assert found.models_left_out == 3
    assert found.judgements == MOST_MODELS + 3


def test_a_tie_is_in_no_figure_and_is_counted() -> None:
    figures = of([judgement("joy", "joy", "anger"), judgement("joy", "joy", number=1)]).models["mini@1"]

    assert (figures["all"]["all"].n, figures["all"]["all"].undecided) == (1, 1)


def test_nothing_judged_is_a_report_too() -> None:
    found = of([])

    assert (found.judgements, found.models, found.agreement.disagreement) == (0, {}, None)


def test_the_order_of_judgements_does_not_matter() -> None:
    judged = list(simulated(300, 0.7, random.Random(2)))
    shuffled = random.Random(3).sample(judged, len(judged))

    assert of(judged) == of(shuffled)


class TestAgreement:
    KRIPPENDORFF = (
        (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
        (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
        (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
        (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
    )
    """Four observers, twelve units: example C of "Computing Krippendorff's Alpha-Reliability" (2011)."""

    def test_alpha_is_krippendorffs(self) -> None:
        units = [
            Counter(LABELS[said] for said in unit if said is not None)
            for unit in zip(*self.KRIPPENDORFF, strict=True)
        ]

        found = agreement(units)

        assert found.alpha == pytest.approx(0.743, abs=5e-4)
        assert found.n == 11  # one unit has one observer
        assert found.disagreement is not None
        assert found.disagreement.value == pytest.approx(3 / 11)

    @pytest.mark.parametrize("accuracy", [0.2, 0.6, 0.95])
    def test_alpha_of_many_pairs_is_cohens_kappa(self, accuracy: float) -> None:
        from sklearn.metrics import cohen_kappa_score

        rng = random.Random(11)
        a = [rng.choice(LABELS) for _ in range(4000)]
        b = [x if rng.random() < accuracy else rng.choice(LABELS) for x in a]

        found = agreement(Counter(pair) for pair in zip(a, b, strict=True))

        assert found.alpha == pytest.approx(cohen_kappa_score(a, b), abs=2e-3)

    def test_one_person_a_label_agrees_with_nobody(self) -> None:
        found = agreement([votes(joy=1), votes(anger=1)])

        assert (found.n, found.disagreement, found.alpha) == (0, None, None)

    def test_alpha_is_not_defined_where_all_say_one_thing(self) -> None:
        found = agreement([votes(joy=2), votes(joy=3)])

        assert found.alpha is None
        assert found.disagreement is not None
        assert found.disagreement.value == 0


class TestGauges:
    def shown(self, metrics: Metrics) -> dict[tuple[str, ...], float]:
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in metrics.registry.collect()
            for sample in family.samples
        }

    def test_a_report_is_shown_and_its_predecessor_is_not(self) -> None:
        metrics = Metrics()
        gauges = QualityGauges(metrics)
        gauges.show(of([judgement("joy", "joy", model="old@1")]))
        gauges.show(of(list(simulated(50, 0.8, random.Random(4)))))

        shown = self.shown(metrics)
        assert not [name for name in shown if "old@1" in name]
        assert shown["moodstream_quality_labels", "mini@1", "all", "week"] == 50
        found = accuracy(of(list(simulated(50, 0.8, random.Random(4)))))
        for name, value in (("", found.value), ("_low", found.low), ("_high", found.high)):
            assert shown[f"moodstream_quality_accuracy{name}", "mini@1", "all", "all"] == value

    def test_what_is_not_known_has_no_series(self) -> None:
        metrics = Metrics()
        gauges = QualityGauges(metrics)
        gauges.show(of([judgement("joy", "joy", labelled_at=ago(days=2))]))

        shown = self.shown(metrics)
        assert ("moodstream_quality_accuracy", "mini@1", "all", "day") not in shown
        assert shown["moodstream_quality_labels", "mini@1", "all", "day"] == 0
        assert np.isnan(shown["moodstream_quality_disagreement",])
        gauges.clear()
        assert not [name for name in self.shown(metrics) if "mini@1" in name]
