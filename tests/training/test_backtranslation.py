"""Back-translation: whose texts get copies, which copies are kept, and that no model is asked twice."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from tests.training.conftest import sentences
from training.backtranslation import BackTranslation, augmented, default_cache, minority, translators
from training.data import SIX, UNKNOWN, Split
from training.translate import MarianTranslator, Translator
from worker.errors import ConfigurationError, DependencyError
from worker.types import EMOTIONS

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = BackTranslation(batch_size=2)


class Counting:
    """A translator of the tests' own: says the words in another order, and remembers what it was asked."""

    def __init__(self, speak: Callable[[str], str] = lambda text: " ".join(reversed(text.split()))) -> None:
        self.asked: list[str] = []
        self.batches: list[int] = []
        self._speak = speak

    def __call__(self, texts: Sequence[str], /) -> list[str]:
        self.asked += texts
        self.batches.append(len(texts))
        return [self._speak(text) for text in texts]


class Interrupted(Counting):
    """One whose process dies at its second batch."""

    def __call__(self, texts: Sequence[str], /) -> list[str]:
        if self.batches:
            raise KeyboardInterrupt
        return super().__call__(texts)


@pytest.fixture(scope="module")
def tiny_marian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MarianMT model of one layer with random weights, and a tokenizer that knows the tests' words."""
    import sentencepiece
    from transformers import MarianConfig, MarianMTModel

    folder = tmp_path_factory.mktemp("translation") / "tiny-marian"
    folder.mkdir()
    texts = [text for emotion in EMOTIONS for text in sentences(emotion)]
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=trained,
        vocab_size=80,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes(trained.getvalue())
    pieces = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    known = [pieces.id_to_piece(piece) for piece in range(3, pieces.get_piece_size())]
    vocabulary = ["</s>", "<unk>", *known, "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(vocabulary)}))
    padding = len(vocabulary) - 1
    torch.manual_seed(0)
    model = MarianMTModel(
        MarianConfig(
            vocab_size=len(vocabulary),
            decoder_vocab_size=len(vocabulary),
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            max_position_embeddings=16,
            pad_token_id=padding,
            decoder_start_token_id=padding,
            eos_token_id=0,
            forced_eos_token_id=0,
            init_std=0.5,
        )
    )
    model.generation_config.bad_words_ids = [[padding]]
    model.save_pretrained(folder)
    return folder


@pytest.fixture(params=["counting", "marian"])
def translator(request: pytest.FixtureRequest, tiny_marian: Path) -> Callable[[], Translator]:
    """Makes the tests' own translator, or a real one, as new."""
    if request.param == "counting":
        return Counting
    return lambda: MarianTranslator(str(tiny_marian), temperature=0, seed=1)


class TestEveryTranslator:
    """What back-translation relies on."""

    def test_gives_each_text_its_translation_in_their_order(
        self, translator: Callable[[], Translator]
    ) -> None:
        one, other = "i feel lonely today", "she was so merry"
        translate = translator()

        translated = translate([one, other])

        assert translated == [*translate([one]), *translate([other])]
        assert all(isinstance(text, str) and text for text in translated)
        assert translated[0] != translated[1]

    def test_says_the_same_of_the_same_texts(self, translator: Callable[[], Translator]) -> None:
        used = translator()
        used(["something else"])

        assert used(["i feel lonely"]) == translator()(["i feel lonely"])

    def test_has_nothing_to_say_of_nothing(self, translator: Callable[[], Translator]) -> None:
        assert translator()([]) == []


def test_samples_depend_on_seed_and_texts_alone(tiny_marian: Path) -> None:
    texts = ["i feel lonely", "they left me glad"]
    sampler, other = (MarianTranslator(str(tiny_marian), temperature=1, seed=seed) for seed in (1, 2))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    first = sampler(texts)

    assert torch.equal(torch.rand(3), expected)
    assert sampler(texts) == first
    assert other(texts) != first
    assert len(set(sampler(["i feel lonely"] * 4))) > 1


def test_a_text_longer_than_the_model_is_cut(tiny_marian: Path) -> None:
    (translated,) = MarianTranslator(str(tiny_marian), temperature=0, seed=1)(["lonely " * 50])

    assert translated


def row(**emotions: float) -> list[float]:
    return [*(emotions.get(name, 0.0) for name in EMOTIONS), 0.0]


def split_of(**texts: list[str]) -> Split:
    """Rows that are certain of one emotion each."""
    rows = [(text, row(**{emotion: 1})) for emotion, some in texts.items() for text in some]
    return Split([text for text, _ in rows], np.array([target for _, target in rows], np.float32))


def unbalanced() -> Split:
    """Six rows of joy, three of anger and two of fear."""
    return split_of(joy=sentences("joy")[:6], anger=sentences("anger")[:3], fear=sentences("fear")[:2])


def translate(
    split: Split, cache: Path, settings: BackTranslation = SETTINGS, **options: Any
) -> tuple[Split, Counting, list[str]]:
    """With two new translators: what comes of it, the first of them, and what was said."""
    there, back = Counting(), Counting(lambda text: f"so {text}")
    said: list[str] = []
    result = augmented(split, settings, there, back, cache, say=said.append, **options)
    assert len(back.asked) == len(there.asked)
    return result, there, said


def test_classes_below_the_share_of_the_largest_are_rare() -> None:
    split = unbalanced()

    assert minority(split, 0.5).tolist() == [9, 10]
    assert minority(split, 0.51).tolist() == [6, 7, 8, 9, 10]
    assert minority(split, 0.1).tolist() == []


def test_rows_that_are_certain_of_nothing_belong_to_no_class() -> None:
    unknown = [*[0.0] * SIX, UNKNOWN]
    more = np.array([row(fear=0.5, joy=0.5), unknown, row(love=1)], np.float32)
    split = unbalanced()
    split = Split([*split.texts, "a", "b", "c"], np.concatenate([split.targets, more]))

    assert minority(split, 0.5).tolist() == [9, 10, 13]
    assert minority(Split(["a"], more[1:2]), 1).tolist() == []
    assert minority(Split([], more[:0]), 1).tolist() == []


def test_copies_follow_the_rows_with_the_same_targets(tmp_path: Path) -> None:
    split = unbalanced()

    result, _, said = translate(split, tmp_path)

    assert result.texts[:11] == split.texts
    assert result.texts[11:] == [f"so {' '.join(reversed(text.split()))}" for text in split.texts[9:]]
    assert np.array_equal(result.targets[11:], split.targets[9:])
    assert said == [
        "back-translation: 2 copies of 2 texts, 2 not translated yet",
        "back-translation: 0 copies say nothing new; added 2: fear 2",
    ]


def test_where_no_class_is_rare_nothing_is_asked(tmp_path: Path) -> None:
    split = unbalanced()

    result, there, said = translate(split, tmp_path, BackTranslation(below=0.1))

    assert result is split
    assert there.asked == []
    assert said == ["back-translation: no class has fewer than 10% of the largest one's rows"]


def test_copies_that_are_not_new_are_dropped(tmp_path: Path) -> None:
    fear = ["Same", "held out", "like a row of joy", "twice", "twice again", "empty", "new"]
    split = split_of(joy=["Known", *map(str, range(20))], fear=fear)
    becomes = dict(zip(fear, ["sAME", "HELD", "kNOWN", "Once", "oNCE", " ", "Fresh"], strict=True))
    said: list[str] = []

    result = augmented(
        split,
        SETTINGS,
        Counting(str),
        Counting(becomes.__getitem__),
        tmp_path,
        say=said.append,
        held_out=["held"],
        normalise=str.strip,
    )

    assert result.texts[len(split) :] == ["Once", "Fresh"]
    assert np.array_equal(result.targets[len(split) :], [row(fear=1)] * 2)
    assert said[-1] == "back-translation: 5 copies say nothing new; added 2: fear 2"


def test_copies_are_normalised_as_their_texts_were(tmp_path: Path) -> None:
    result, _, _ = translate(unbalanced(), tmp_path, normalise=str.upper)

    assert all(text.isupper() for text in result.texts[11:])


def test_no_text_is_translated_twice(tmp_path: Path) -> None:
    split = unbalanced()
    settings = BackTranslation(below=1, batch_size=2)
    first, there, _ = translate(split, tmp_path, settings)
    assert sorted(there.asked) == sorted(split.texts[6:])
    assert there.batches == [2, 2, 1]

    second, again, said = translate(split, tmp_path, settings)

    assert again.asked == []
    assert second.texts == first.texts
    assert said[0].endswith("0 not translated yet")


def test_a_text_that_stands_there_twice_is_translated_once(tmp_path: Path) -> None:
    split = split_of(joy=[str(number) for number in range(9)], fear=["i am afraid", "i am afraid"])

    _, there, _ = translate(split, tmp_path)

    assert there.asked == ["i am afraid"]


@pytest.mark.parametrize(
    "other",
    [{"there": "x"}, {"back": "x"}, {"temperature": 0.1}, {"seed": 1}],
    ids=lambda other: next(iter(other)),
)
def test_what_decides_a_translation_decides_whether_it_is_known(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    translate(unbalanced(), tmp_path)

    _, there, _ = translate(unbalanced(), tmp_path, msgspec.structs.replace(SETTINGS, **other))

    assert len(there.asked) == 2


def test_several_copies_of_a_text_are_asked_for_one_by_one(tmp_path: Path) -> None:
    split = unbalanced()
    numbers = iter(range(100))

    result = augmented(
        split,
        msgspec.structs.replace(SETTINGS, copies=3),
        Counting(),
        Counting(lambda text: f"{text} {next(numbers)}"),
        tmp_path,
        say=lambda _: None,
    )

    assert len(set(result.texts[11:])) == 6
    assert result.targets[11:].argmax(axis=1).tolist() == [EMOTIONS.index("fear")] * 6


@pytest.mark.parametrize("torn", range(1, 20, 6))
def test_a_process_that_was_killed_goes_on_where_it_stopped(tmp_path: Path, torn: int) -> None:
    split = unbalanced()
    settings = BackTranslation(below=1, batch_size=2)
    expected, _, _ = translate(split, tmp_path / "undisturbed", settings)
    killed = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        augmented(split, settings, killed, Counting(lambda text: f"so {text}"), tmp_path, say=lambda _: None)
    file = tmp_path / "translations.jsonl"
    file.write_bytes(file.read_bytes()[:-torn])
    kept = killed.asked[0]  # The second line is torn; at 1 it lacks its end of line alone.

    result, there, _ = translate(split, tmp_path, settings)

    known = [kept] if torn > 1 else killed.asked
    assert sorted(there.asked) == sorted(set(split.texts[6:]) - set(known))
    assert result.texts == expected.texts
    assert translate(split, tmp_path, settings)[1].asked == []


def test_the_cache_is_only_appended_to(tmp_path: Path) -> None:
    translate(unbalanced(), tmp_path)
    file = tmp_path / "translations.jsonl"
    before = file.read_bytes()

    translate(unbalanced(), tmp_path, BackTranslation(below=1, batch_size=2))

    assert file.read_bytes().startswith(before)
    assert len(file.read_bytes()) > len(before)


def test_a_cache_that_cannot_be_written_is_said_before_any_model_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match=r"cannot be kept in .*MOODSTREAM_CACHE moves them"):
        translate(unbalanced(), tmp_path / "file" / "below")


def test_a_cache_that_goes_away_meanwhile_is_said(tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    def remove(text: str) -> str:
        shutil.rmtree(cache, ignore_errors=True)
        return text

    with pytest.raises(ConfigurationError, match="No such file or directory"):
        augmented(unbalanced(), SETTINGS, Counting(), Counting(remove), cache, say=lambda _: None)


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOODSTREAM_CACHE", str(tmp_path))
    assert default_cache() == tmp_path / "translations"

    monkeypatch.delenv("MOODSTREAM_CACHE")
    assert default_cache() == Path.home() / ".cache" / "moodstream" / "translations"


@pytest.mark.parametrize("progress", [True, False])
def test_progress_is_drawn_only_where_somebody_watches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], progress: bool
) -> None:
    translate(unbalanced(), tmp_path, progress=progress)

    out, err = capsys.readouterr()
    assert out == ""
    assert ("translating" in err) == progress


def test_real_models_there_and_back(tiny_marian: Path, tmp_path: Path) -> None:
    settings = BackTranslation(there=str(tiny_marian), back=str(tiny_marian), copies=2, temperature=1)
    split = unbalanced()

    result = augmented(split, settings, *translators(settings), tmp_path, say=lambda _: None)

    assert 11 < len(result) <= 15
    assert result.texts[:11] == split.texts
    assert (result.emotion[11:] == EMOTIONS.index("fear")).all()
    elsewhere = msgspec.structs.replace(settings, batch_size=1)
    again = augmented(split, elsewhere, Counting(), Counting(), tmp_path, say=lambda _: None)
    assert again.texts == result.texts


def test_a_model_out_of_reach_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    there, _ = translators(BackTranslation())

    with pytest.raises(DependencyError, match=r"opus-mt-en-de is neither .*save_pretrained\(FOLDER\)"):
        there(["i feel lonely"])


def test_folders_without_a_usable_model_are_refused(
    tiny_marian: Path, tiny_base: Path, tmp_path: Path
) -> None:
    pickled = tmp_path / "pickled"
    shutil.copytree(tiny_marian, pickled)
    (pickled / "model.safetensors").unlink()
    torch.save({}, pickled / "pytorch_model.bin")
    (tmp_path / "empty").mkdir()

    for folder in (pickled, tiny_base, tmp_path / "empty"):
        with pytest.raises(ConfigurationError, match=r"model\.safetensors, vocab\.json"):
            MarianTranslator(str(folder), temperature=0, seed=1)(["i feel lonely"])


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"below": 0}, "below"),
        ({"below": 1.1}, "below"),
        ({"copies": 0}, "copies"),
        ({"batch_size": 0}, "batch_size"),
        ({"temperature": -1}, "temperature"),
        ({"there": ""}, "there"),
        ({"colour": "red"}, "colour"),
        ({"copies": 2, "temperature": 0}, "copies above 1 need a temperature above 0"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=problem):
        msgspec.convert(wrong, BackTranslation)
