"""Distances between spreads, and what is called a drift, on arrays that are easy to work out."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.distribution import COLUMNS, MEASURES, SHAPE, WIDTH
from worker.trends.alerts.describe import sentence, webhook_body
from worker.trends.alerts.drift import (
    Counts,
    Floats,
    Reference,
    Rules,
    distance_of,
    judge,
    labels_in,
    lasting,
    reference_of,
)
from worker.trends.alerts.relabelled import relabelled
from worker.types import LABELS, Alert, AlertWindow

RULES = Rules(min_posts=300, min_psi=0.2, min_deviations=4.5)
MIX = np.array([0.12, 0.25, 0.05, 0.13, 0.05, 0.04, 0.36])
JOY = LABELS.index("joy")
CONFIDENCE, LENGTH = MEASURES.index("confidence"), MEASURES.index("length")


def shares(seed: int = 1) -> Floats:
    """(7, columns) shares of each bin within its measure."""
    rng = np.random.default_rng(seed)
    found = np.zeros(SHAPE)
    for columns in COLUMNS.values():
        found[:, columns] = rng.dirichlet(np.full(columns.stop - columns.start, 3.0), len(LABELS))
    return found


USUAL = shares()


def spread(n: float, mix: Floats = MIX, of: Floats = USUAL) -> Floats:
    """`n` labels, exactly as expected."""
    return n * mix[:, None] * of


def drawn(n: int, hours: int, seed: int = 0, mix: Floats = MIX, of: Floats = USUAL) -> Floats:
    """(hours, 7, columns) as chance has it."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n, mix, hours)
    out = np.zeros((hours, *SHAPE))
    for columns in COLUMNS.values():
        out[..., columns] = rng.multinomial(counts, of[:, columns])
    return out


def reference(hours: int = 48) -> Reference:
    found = reference_of(drawn(2000, hours), RULES)
    assert found is not None
    return found


def test_the_index_is_that_of_the_textbook() -> None:
    """Two bins, much counted: (0.8 - 0.5) ln(0.8 / 0.5) + (0.2 - 0.5) ln(0.2 / 0.5), but for the evening."""
    before, now = np.zeros(SHAPE), np.zeros(SHAPE)
    before[:, 4], before[:, 5] = 1e6, 1e6
    now[:, 4], now[:, 5] = 1.6e6, 0.4e6
    found = distance_of(now, before)
    expected = 0.3 * np.log(0.8 / 0.5) - 0.3 * np.log(0.2 / 0.5)
    assert found.psi[CONFIDENCE] == pytest.approx(expected, rel=0.06)
    assert found.own == pytest.approx(np.full(7, expected), rel=0.06)


@given(seed=st.integers(0, 200), n=st.sampled_from([300, 1000, 5000]))
def test_counting_alone_is_taken_off(seed: int, n: int) -> None:
    many = distance_of(drawn(n, 50, seed), spread(10**6))
    for row in range(len(MEASURES)):
        assert np.mean(many.psi[:, row]) == pytest.approx(0, abs=float(2 * np.mean(many.noise[:, row])))
        assert np.std(many.psi[:, row]) < 2 * np.mean(many.noise[:, row])


@given(
    mix=st.lists(st.floats(0.05, 1), min_size=7, max_size=7).map(lambda xs: np.array(xs) / np.sum(xs)),
    n=st.sampled_from([3000, 50_000]),
)
def test_a_mood_alone_moves_nothing(mix: Floats, n: int) -> None:
    """Any mix of emotions whose labels look as they always do."""
    found = judge(spread(n, mix), reference(), RULES)
    assert not found.drifted.any()
    assert not found.own.any()
    assert not found.half.any()


def test_each_measure_is_told_by_itself() -> None:
    for row, (measure, columns) in enumerate(COLUMNS.items()):
        other = USUAL.copy()
        other[:, columns] = np.roll(other[:, columns], 2, axis=1)
        found = judge(spread(2000, of=other), reference(), RULES)
        assert [*found.drifted] == [number == row for number in range(len(MEASURES))], measure


def test_a_window_of_few_labels_is_not_judged() -> None:
    other = np.roll(USUAL, 2, axis=1)
    few = judge(spread(299, of=other), reference(), RULES)
    assert not few.drifted.any()


def test_posts_without_text_have_no_length_to_drift() -> None:
    now = spread(2000)
    now[:, COLUMNS["length"]] = 0
    found = judge(now, reference(), RULES)
    assert np.isnan(found.distance.psi[LENGTH])
    assert not found.drifted.any()


@pytest.mark.parametrize(("surer", "by", "own"), [(False, 0.8, True), (True, 0.8, False), (True, 1.6, True)])
def test_one_emotion_alone_must_lose_confidence_or_gain_a_great_deal(
    surer: bool, by: float, own: bool
) -> None:
    confident = COLUMNS["confidence"]
    other = USUAL.copy()
    tilt = np.exp(by * (1 if surer else -1) * np.linspace(-1.5, 1.5, confident.stop))
    other[JOY, confident] *= tilt
    other[JOY, confident] /= other[JOY, confident].sum()
    found = judge(spread(3000, of=other), reference(), RULES)
    assert bool(found.own[JOY]) is own, found.distance.own[JOY]
    assert not np.delete(found.own, JOY).any()


def test_usual_restlessness_is_no_drift() -> None:
    """Where every second hour looks otherwise, one that does so is nothing special."""
    other = USUAL.copy()
    other[:, COLUMNS["confidence"]] = np.roll(other[:, COLUMNS["confidence"]], 1, axis=1)
    restless = np.concatenate([drawn(2000, 100), drawn(2000, 100, of=other)])
    calm = reference_of(drawn(2000, 200), RULES)
    used = reference_of(restless, RULES)
    assert calm is not None
    assert used is not None
    now = spread(2000, of=other)
    assert judge(now, calm, RULES).drifted[CONFIDENCE]
    assert not judge(now, used, RULES).drifted[CONFIDENCE]


@pytest.mark.parametrize(("hours", "n", "there"), [(5, 2000, False), (6, 2000, True), (6, 100, False)])
def test_too_little_history_judges_nothing(hours: int, n: int, there: bool) -> None:
    history: Counts = np.zeros((40, *SHAPE))
    history[-hours:] = drawn(n, hours)
    assert (reference_of(history, RULES) is not None) is there


def test_what_lasts_for_half_a_day_is_no_longer_in_the_way() -> None:
    hours = np.zeros((30, 3), dtype=np.bool_)
    hours[-12:, 0] = True
    assert not lasting(hours).any()
    hours[-13:, 0] = True
    assert [*lasting(hours)] == [True, False, False]


def test_labels_are_counted_by_their_confidence() -> None:
    assert labels_in(spread(500)) == pytest.approx(500)
    assert labels_in(np.zeros((4, *SHAPE))).tolist() == [0] * 4
    assert USUAL.shape[1] == WIDTH


class TestNewModel:
    """Ten days by the hour; `new` labels from some hour on."""

    @staticmethod
    def days(hours: int, new_mix: Floats, *, seed: int = 0) -> tuple[Floats, Floats]:
        rng = np.random.default_rng(seed)
        every = rng.multinomial(1000, MIX, 240).astype(np.float64)
        new = np.zeros_like(every)
        if hours:
            new[-hours:] = rng.multinomial(1000, new_mix, hours)
            every[-hours:] = new[-hours:]
        return new, every

    ANGRY = np.array([0.10, 0.20, 0.05, 0.33, 0.05, 0.04, 0.23])

    @pytest.mark.parametrize(("hours", "told"), [(2, False), (3, True), (24, True), (25, False)])
    def test_its_first_hours_are_compared_with_the_days_before(self, hours: int, told: bool) -> None:
        found = relabelled(*self.days(hours, self.ANGRY), RULES)
        assert (found is not None) is told
        assert found is None or (found.moved and found.hours == hours)

    @pytest.mark.parametrize("seed", range(10))
    def test_one_that_says_the_same_is_no_drift(self, seed: int) -> None:
        found = relabelled(*self.days(6, MIX, seed=seed), RULES)
        assert found is not None
        assert not found.moved

    def test_days_that_differ_among_each_other_give_leave_to_differ(self) -> None:
        new, every = self.days(6, self.ANGRY)
        for day in range(0, 9, 2):
            every[day * 24 : (day + 1) * 24] = np.random.default_rng(day).multinomial(1000, self.ANGRY, 24)
        found = relabelled(new, every, RULES)
        assert found is not None
        assert not found.moved

    def test_a_canary_that_has_been_here_for_days_is_not_new(self) -> None:
        new, every = self.days(6, self.ANGRY)
        new[:-6] = every[:-6] * 0.3
        assert relabelled(new, every, RULES) is None

    def test_an_hour_without_labels_changes_nothing(self) -> None:
        new, every = self.days(6, self.ANGRY)
        new[-3] = every[-3] = 0
        found = relabelled(new, every, RULES)
        assert found is not None
        assert found.hours == 6

    def test_a_young_topic_says_nothing(self) -> None:
        new, every = self.days(6, self.ANGRY)
        assert relabelled(new[-60:], every[-60:], RULES) is None
        every[:-6] = 0
        assert relabelled(new, every, RULES) is None


def told(**more: object) -> Alert:
    given_ = {
        "id": "drift/confidence/all/a@2/3600",
        "kind": "drift",
        "measure": "confidence",
        "window": AlertWindow(1800, 3600),
        "value": 0.41,
        "baseline": 0.02,
        "ratio": 20.5,
        "n": 1234,
        "models": ("a@2",),
        "at": datetime.fromtimestamp(3600, UTC),
        **more,
    }
    return Alert(**given_)  # type: ignore[arg-type]


def test_a_drift_in_words() -> None:
    assert sentence(told()) == (
        "confidence: a@2 is 0.41 (PSI) away from the usual from 1970-01-01 00:30 to 1970-01-01 01:00 UTC, "
        "over 1,234 labels; usual hours are 0.02 away"
    )
    assert sentence(told(emotion="joy")).startswith("confidence of joy: a@2 is")
    new = told(measure="labels", models=("a@2", "a@1"))
    assert sentence(new).startswith("label mix of a new model: a@2 after a@1 is 0.41")
    assert b'"text":"Drift: confidence. ' in webhook_body(told())
    assert b'"value":0.41' in webhook_body(told())
