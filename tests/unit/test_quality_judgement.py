"""Verdicts: the latest of each person counts, however often and in whatever pieces the topic is read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.quality import NOW, correction, judgement, label
from worker.errors import BadRecordError
from worker.quality.judgement import MOST_ANNOTATORS, check_id, consensus, judge, said
from worker.types import LABELS, Correction, Judgement

EMPTY = said(label("joy", author_id="a person"), "emotion-labels/0/41")


def after(corrections: Sequence[Correction], offsets: Sequence[int]) -> Judgement:
    found = EMPTY
    for offset in offsets:
        found = judge(found, corrections[offset], offset)
    return found


def test_who_wrote_the_post_is_not_kept() -> None:
    assert EMPTY.label.author_id is None
    assert EMPTY.label.text == "we won!!"


def test_the_latest_verdict_of_each_person_counts() -> None:
    found = after(
        [
            correction("anger", by="ann", at=NOW),
            correction("fear", by="bob", at=NOW),
            correction("love", by="ann", at=NOW + timedelta(minutes=1)),
            correction("surprise", by="bob", at=NOW - timedelta(minutes=1)),  # was under way for long
        ],
        range(4),
    )

    assert {by: verdict.label for by, verdict in found.verdicts.items()} == {"ann": "love", "bob": "fear"}
    assert found.verdicts["ann"].offset == 2


def test_of_two_at_the_same_time_the_one_sent_last_counts() -> None:
    found = after([correction("anger"), correction("fear")], [0, 1])

    assert found.verdicts["ann"].label == "fear"
    assert judge(found, correction("anger"), 0) is found


def test_twice_is_once() -> None:
    once = judge(EMPTY, correction("anger"), 5)

    assert judge(once, correction("anger"), 5) is once
    assert judge(once, correction("anger"), 6) is once


@given(
    st.lists(
        st.builds(
            lambda what, by, minute: correction(what, by=by, at=NOW + timedelta(minutes=minute)),
            st.sampled_from(LABELS),
            st.sampled_from(["ann", "bob", "eve"]),
            st.integers(0, 3),
        ),
        min_size=1,
        max_size=8,
    ),
    st.data(),
)
def test_reading_again_from_any_place_any_number_of_times_changes_nothing(
    corrections: list[Correction], data: st.DataObject
) -> None:
    """What a crash does: everything since the last commit comes once more."""
    place, read = 0, []
    while place < len(corrections):
        read.append(place)
        place += 1
        if len(read) < 40 and data.draw(st.booleans()):
            place = data.draw(st.integers(0, place - 1)) if place else 0
    straight = after(corrections, range(len(corrections)))

    assert after(corrections, read) == straight


def test_a_label_of_another_post_is_refused() -> None:
    check_id(correction(id=7), label(id="7"))
    with pytest.raises(BadRecordError) as refused:
        check_id(correction(id=8), label(id="7"))

    assert refused.value.kind == "id_mismatch"


def test_one_judgement_stays_one_record() -> None:
    found = EMPTY
    for number in range(MOST_ANNOTATORS):
        found = judge(found, correction(by=f"person {number}"), number)
    with pytest.raises(BadRecordError) as refused:
        judge(found, correction(by="one more"), MOST_ANNOTATORS)

    assert refused.value.kind == "too_many_annotators"
    changed = judge(found, correction("anger", by="person 3", at=NOW + timedelta(1)), MOST_ANNOTATORS)
    assert changed.verdicts["person 3"].label == "anger"


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        (["joy"], "joy"),
        (["joy", "anger"], None),
        (["joy", "anger", "joy"], "joy"),
        (["joy", "anger", "fear"], None),
        (["joy", "joy", "anger", "anger", "fear"], None),
        (["neutral", "neutral", "anger"], "neutral"),
    ],
)
def test_most_people_are_right(votes: list[str], expected: str | None) -> None:
    assert consensus(judgement("joy", *votes)) == expected  # type: ignore[arg-type]
