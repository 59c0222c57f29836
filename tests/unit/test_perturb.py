from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.replay.behaviour.perturb import PERTURBATIONS, perturbed

NAMES = list(PERTURBATIONS)
POST = "@sam_k We really LIKED the concert, see https://t.co/Ab1 :D #live!"


def disturbed(name: str, text: str = POST, seed: int = 0) -> str:
    found = perturbed(name, text, seed)
    assert found is not None
    return found


@given(st.sampled_from(NAMES), st.text(), st.integers(0, 5))
def test_any_text_may_be_disturbed_and_the_same_seed_does_the_same(name: str, text: str, seed: int) -> None:
    found = perturbed(name, text, seed)
    assert found != text
    assert perturbed(name, text, seed) == found


def test_another_seed_disturbs_elsewhere() -> None:
    text = "several different words stand here together"
    assert len({disturbed("letters swapped", text, seed) for seed in range(20)}) > 5


def test_case_spares_links_mentions_and_emoticons() -> None:
    assert disturbed("upper case") == "@sam_k WE REALLY LIKED THE CONCERT, SEE https://t.co/Ab1 :D #LIVE!"
    assert disturbed("lower case") == "@sam_k we really liked the concert, see https://t.co/Ab1 :D #live!"
    assert disturbed("title case") == "@sam_k We Really Liked The Concert, See https://t.co/Ab1 :D #live!"
    assert disturbed("upper case", "a cat i saw") == "A CAT I SAW"


def test_mentions_and_links_are_changed_or_added() -> None:
    assert not disturbed("mention changed").startswith("@sam_k")
    assert re.fullmatch(r"@\w+ We.*", disturbed("mention changed"))
    assert "t.co" not in disturbed("link changed")
    assert len(re.findall(r"https?://", disturbed("link added"))) == 2
    assert disturbed("mention added", "hello").count("@") == 1
    assert perturbed("mention changed", "no one, mail a@b.org", 0) is None
    assert perturbed("link changed", "none here", 0) is None


def test_a_swap_keeps_the_letters_and_the_ends_of_the_word() -> None:
    for seed in range(50):
        found = disturbed("letters swapped", "something", seed)
        assert Counter(found) == Counter("something")
        assert (found[0], found[-1]) == ("s", "g")
        assert sum(a != b for a, b in zip(found, "something", strict=True)) == 2


def test_words_too_short_or_without_different_letters_are_not_swapped() -> None:
    for text in ("so it was", "feel", "@something", "https://something.org", "#something", ":D"):
        assert perturbed("letters swapped", text, 0) is None, text


def test_a_dropped_letter_is_an_inner_one() -> None:
    assert {disturbed("letter dropped", "word", seed) for seed in range(30)} == {"wrd", "wod"}


def test_elongation_stretches_the_last_vowel() -> None:
    assert re.fullmatch(r"so{3,6}", disturbed("vowel elongated", "so"))
    assert re.fullmatch(r"happy{3,6}", disturbed("vowel elongated", "happy"))
    assert perturbed("vowel elongated", "I hmm", 0) is None


def test_only_the_last_mark_is_repeated() -> None:
    assert re.fullmatch(r"who\? me\?{3,5}", disturbed("punctuation repeated", "who? me?"))
    assert perturbed("punctuation repeated", "no mark", 0) is None
    assert perturbed("punctuation repeated", "see https://t.co/x.y?", 0) is None


def test_white_space_and_hashtags() -> None:
    assert disturbed("trailing white space", "fine").rstrip() == "fine"
    assert disturbed("hashtag set", "so happy") == "so #happy"


@pytest.mark.parametrize("name", NAMES)
def test_every_disturbance_changes_something(name: str) -> None:
    assert perturbed(name, POST + " end.", 0) is not None
