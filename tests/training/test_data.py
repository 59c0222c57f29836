"""Reading data sets, and making one training set of them that leaks nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.training.conftest import GOEMOTIONS
from training.data import (
    SIX,
    UNKNOWN,
    Audit,
    Source,
    Split,
    Targets,
    build_corpus,
    clean_train,
    load_sources,
)
from training.sources import GOEMOTIONS_OPEN, GOEMOTIONS_TO_SIX, go_target, read_folder, read_hub
from worker.errors import ConfigurationError, DependencyError
from worker.types import EMOTIONS


def certain(*emotions: str) -> Targets:
    """(n, 7) rows that express one emotion each and are not neutral."""
    targets = np.zeros((len(emotions), SIX + 1), np.float32)
    for row, emotion in enumerate(emotions):
        targets[row, EMOTIONS.index(emotion)] = 1
    return targets


def source(key: str, train: Split, test: Split) -> Source:
    validation = Split(["held out for validation"], certain("joy"))
    splits = {"train": train, "validation": validation, "test": test}
    return Source(key, key, "none", "", splits)  # type: ignore[arg-type] # str is invariant here


def test_a_folder_of_text_and_label_lines(emotion_folder: Path) -> None:
    read = read_folder(emotion_folder)

    assert (read.key, read.licence) == ("written-here", "not stated")
    assert [len(read.splits[name]) for name in ("train", "validation", "test")] == [72, 24, 24]
    assert read.splits["train"].texts[0] == "i feel lonely"
    assert read.splits["train"].emotion[0] == EMOTIONS.index("sadness")
    assert set(read.splits["train"].neutral) == {0}


def test_the_last_semicolon_separates_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        (tmp_path / f"{name}.txt").write_text("one; two;joy\r\n\n  \nthree\u2028four;fear\n")

    split = read_folder(tmp_path).splits["test"]

    assert split.texts == ["one; two", "three\u2028four"]
    assert list(split.emotion) == [EMOTIONS.index("joy"), EMOTIONS.index("fear")]


def test_every_problem_of_every_folder_is_listed(tmp_path: Path) -> None:
    one, two, three = tmp_path / "one", tmp_path / "two", tmp_path / "three"
    for folder in (one, two, three):
        folder.mkdir()
    (one / "train.txt").write_text("fine;joy\nno label\nodd;boredom\n" + "bad\n" * 9)
    (one / "val.txt").write_text("\n")
    (three / "emotions.txt").write_text("\n".join(GOEMOTIONS))
    (three / "train.tsv").write_text("a\t99\tid\nb\t1\n")

    with pytest.raises(ConfigurationError) as refused:
        load_sources([one, two, three])

    problems = "\n".join(refused.value.problems)
    assert "train.txt, line 2 ends with no ';' and one of sadness" in problems
    assert "train.txt: 6 more such lines" in problems
    assert "val.txt is empty" in problems
    assert "test.txt cannot be read" in problems
    assert f"{two} holds no data set" in problems
    assert "train.tsv, line 1 is not text, ids below 28" in problems
    assert "train.tsv, line 2" in problems
    assert "no label" not in problems, "a problem names the line and never holds the text"


def test_two_folders_of_one_name_would_share_their_scores(emotion_folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="two data folders are called written-here"):
        load_sources([emotion_folder, emotion_folder])


def test_goemotions_is_mapped_to_the_six_and_neutral(goemotions_folder: Path) -> None:
    read = read_folder(goemotions_folder)
    split = read.splits["train"]

    assert (read.key, read.licence) == ("goemotions", "CC BY 4.0")
    assert list(split.neutral) == [1] * 15 + [0] * 12
    assert list(split.emotion) == [-1] * 15 + [EMOTIONS.index("fear")] * 12


def test_every_label_of_goemotions_goes_to_exactly_one_place() -> None:
    grouped = [fine for group in GOEMOTIONS_TO_SIX.values() for fine in group]

    assert sorted([*grouped, *GOEMOTIONS_OPEN, "neutral"]) == sorted(GOEMOTIONS)
    assert tuple(GOEMOTIONS_TO_SIX) == tuple(EMOTIONS)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["gratitude"], {"joy": 1.0}),
        (["neutral"], {"neutral": 1.0}),
        (["joy", "pride"], {"joy": 1.0}),
        (["anger", "sadness"], {"anger": 0.5, "sadness": 0.5}),
        (["anger", "neutral"], {"anger": 1.0, "neutral": 0.5}),
        (["disgust", "fear", "annoyance"], {"anger": 2 / 3, "fear": 1 / 3}),
        (["curiosity", "surprise"], {"surprise": 1.0}),
        (["curiosity", "neutral"], {"neutral": 1.0}),
        (["approval", "realization"], {"neutral": UNKNOWN}),
    ],
)
def test_targets_of_goemotions(labels: list[str], expected: dict[str, float]) -> None:
    names = (*EMOTIONS, "neutral")

    assert go_target(labels) == pytest.approx([expected.get(name, 0.0) for name in names])


def test_unknown_names_in_emotions_txt(tmp_path: Path) -> None:
    (tmp_path / "emotions.txt").write_text("joy\nboredom\n")

    with pytest.raises(ConfigurationError, match="boredom"):
        read_folder(tmp_path)


def test_a_repeated_text_stays_once_with_the_mean_of_its_labels() -> None:
    split = Split(["a", "b", "A", "a"], certain("joy", "fear", "anger", "joy"))

    clean, origin = clean_train([split])

    assert clean.texts == ["a", "b"]
    assert clean.targets[0] == pytest.approx([0, 2 / 3, 0, 1 / 3, 0, 0, 0])
    assert list(clean.emotion) == [-1, EMOTIONS.index("fear")]
    assert list(origin) == [0, 0]


def test_copies_that_do_not_know_leave_it_to_those_that_do() -> None:
    unsure = certain("joy")
    unsure[0, SIX] = UNKNOWN
    neutral = np.zeros((1, SIX + 1), np.float32)
    neutral[0, SIX] = 1

    clean, _ = clean_train([Split(["a"], unsure), Split(["a"], neutral)])

    assert clean.targets[0] == pytest.approx([0, 1, 0, 0, 0, 0, 1])

    clean, _ = clean_train([Split(["a"], unsure), Split(["a"], unsure)])

    assert clean.targets[0, SIX] == UNKNOWN
    assert list(clean.neutral) == [-1]


def test_texts_of_any_held_out_split_leave_the_training_rows() -> None:
    first = source("first", Split(["A &amp; B", "keep"], certain("joy", "joy")), Split(["x"], certain("joy")))
    second = source(
        "second", Split(["X", "", "also"], certain("joy", "joy", "fear")), Split(["a & b"], certain("joy"))
    )

    corpus = build_corpus([first, second], text_version=1)

    assert corpus.train.texts == ["keep", "also"]
    assert corpus.train_rows == {"first": 1, "second": 1}
    assert not corpus.has_neutral
    assert corpus.sources[0].splits["train"].texts[0] == "A & B"


def test_what_is_wrong_with_rows_is_counted_whether_or_not_it_is_mended() -> None:
    rows = Split(["a", "A", "b", "", "x", "b"], certain("joy", "fear", "joy", "joy", "joy", "joy"))

    for deduplicate, kept in ((True, 2), (False, 6)):
        corpus = build_corpus([source("one", rows, Split(["X"], certain("joy")))], 1, deduplicate=deduplicate)
        assert corpus.audit == Audit(empty=1, repeated=2, conflicting=1, held_out=1)
        assert len(corpus.train) == kept


def test_rows_of_a_split() -> None:
    split = Split(["a", "b", "c"], certain("joy", "fear", "love"))

    assert split.rows([2, 0]).texts == ["c", "a"]
    assert split.rows(split.emotion == EMOTIONS.index("fear")).texts == ["b"]
    with pytest.raises(ValueError, match="2 texts, targets of shape"):
        Split(["a", "b"], certain("joy"))


def test_the_hub_is_asked_where_no_folder_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str, configuration: str) -> dict[str, dict[str, list[object]]]:
        assert (name, configuration) == ("dair-ai/emotion", "split")
        return {split: {"text": ["i feel so"], "label": [4]} for split in ("train", "validation", "test")}

    hub = ModuleType("datasets")
    hub.load_dataset = load_dataset  # type: ignore[attr-defined] # a stand-in for the library
    monkeypatch.setitem(sys.modules, "datasets", hub)

    [loaded] = load_sources([])

    assert (loaded.key, loaded.name) == ("emotion", "dair-ai/emotion")
    assert list(loaded.splits["test"].emotion) == [4]


def test_a_hub_out_of_reach_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: str) -> None:
        raise ConnectionError("no route")

    hub = ModuleType("datasets")
    hub.load_dataset = load_dataset  # type: ignore[attr-defined] # a stand-in for the library
    monkeypatch.setitem(sys.modules, "datasets", hub)

    with pytest.raises(DependencyError, match="--data DIR"):
        read_hub()


def test_the_published_data(data: Path) -> None:
    corpus = build_corpus(load_sources([data / "emotion", data / "goemotions"]), text_version=1)

    assert [source.name for source in corpus.sources] == ["dair-ai/emotion", "GoEmotions"]
    assert corpus.has_neutral
    emotion = corpus.sources[0].splits
    assert [len(emotion[name]) for name in ("train", "validation", "test")] == [16000, 2000, 2000]
    assert np.bincount(emotion["test"].emotion).tolist() == [581, 695, 159, 275, 224, 66]
    # 31 texts repeated, 16 held out; GoEmotions' own copies and leaks go too.
    assert corpus.train_rows["emotion"] == 16000 - 31 - 16
    assert corpus.train_rows["goemotions"] == 36_609
    # Those whose labels are all open: not trained on without a teacher.
    assert 6_000 < len(corpus.unlabelled) < 7_000
