"""What a change may do to a text, and that it depends on the seed alone."""

from __future__ import annotations

import random

import pytest

from training.augment import (
    CHANGES,
    augment,
    double_letter,
    drop_letter,
    hashtag,
    mention,
    shout,
    stretch,
    swap_letters,
    unmark,
)

TEXT = "I'm so happy about this, @user: http #blessed 😀"


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_empties_a_text_or_needs_letters(change: object) -> None:
    assert callable(change)
    for text in (TEXT, "a", "😀", "!!!", "@user", "ab cd"):
        for seed in range(20):
            assert augment(text, random.Random(seed)).strip()
            assert isinstance(change(text, random.Random(seed)), str)


def test_the_same_seed_gives_the_same_text() -> None:
    made = {augment(TEXT, random.Random(7)) for _ in range(5)}

    assert len(made) == 1
    assert len({augment(TEXT, random.Random(seed)) for seed in range(50)}) > 20


def test_typos_stay_inside_a_word() -> None:
    for seed in range(50):
        rng = random.Random(seed)
        swapped, dropped = swap_letters("happy", rng), drop_letter("happy", rng)
        assert (swapped[0], swapped[-1], sorted(swapped)) == ("h", "y", sorted("happy"))
        assert (dropped[0], dropped[-1], len(dropped)) == ("h", "y", 4)
        assert len(double_letter("happy", rng)) == 6
    assert swap_letters("so on", random.Random(1)) == "so on", "short words are other words"


def test_a_held_letter_is_as_long_as_normalisation_leaves_it() -> None:
    assert stretch("so", random.Random(1)) == "sooo"
    assert stretch("shh", random.Random(1)) == "shhhh"


def test_marks() -> None:
    assert mention("hi", random.Random(1)) == "@user hi"
    assert hashtag("@user great", random.Random(1)) == "@user #great"
    assert shout("@user great http", random.Random(1)) == "@user GREAT http"
    assert unmark("I'm happy, SO happy!", random.Random(1)) == "im happy so happy"
