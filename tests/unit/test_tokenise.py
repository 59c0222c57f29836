from __future__ import annotations

import random
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, WordLevel, WordPiece

from worker.errors import ArtifactError
from worker.model.bundled import bundled_model
from worker.model.recent import Recent
from worker.model.text import VERSIONS, normalise, steps
from worker.model.tokenise import Tokeniser, open_tokeniser
from worker.model.whole import WholeTokeniser
from worker.model.wordpiece import wordpiece_of
from worker.model.words import WordTokeniser

PATH = bundled_model() / "tokenizer.json"
MAX_LENGTH = 32

ODD = [
    *map(chr, range(0x00, 0x250)),
    *map(chr, range(0x300, 0x330)),
    *map(chr, range(0x2000, 0x2070)),
    *"\u3000\ufffd\u00ad\u200d\u4e2d\U0001f600\ue000\u0378\u1e9e\u0130\ufb01\uac00\u1100\u1161\u180e\ufeff",
    *" abcdefgh.,!?#@" * 20,
    *"’“”…–—‘†‽⁉ABCXYZ0123456789",
    "[SEP]",
    "[MASK]",
    "##ing",
    " ",
]


def wordpiece(words: Sequence[str] = (), **normalizer: Any) -> Tokenizer:
    """A small BERT tokenizer: pieces of one letter, and some words."""
    pieces = [*("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), *string.printable.strip(), *words]
    pieces += [f"##{letter}" for letter in string.ascii_letters + string.digits]
    made = Tokenizer(WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(**normalizer)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def byte_level() -> Tokenizer:
    """A small RoBERTa tokenizer, with merges learnt from a few words."""
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained = ByteLevelBPETokenizer()
    words = ["so happy and so sad today ", "i am the happy one, don't say I'm not ", "naïve café 😀 "]
    trained.train_from_iterator(words * 3, vocab_size=400, special_tokens=specials)
    made = Tokenizer.from_str(trained.to_str())
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    made.add_special_tokens(specials)
    return made


@pytest.fixture(scope="module")
def tokeniser() -> WordTokeniser:
    return WordTokeniser(Tokenizer.from_file(str(PATH)), MAX_LENGTH, capacity=500)


@pytest.fixture(scope="module")
def reference() -> Tokenizer:
    made = Tokenizer.from_file(str(PATH))
    made.no_padding()
    made.enable_truncation(MAX_LENGTH)
    return made


def test_ids_equal_the_reference_on_fuzzed_text(tokeniser: WordTokeniser, reference: Tokenizer) -> None:
    rng = random.Random(7)
    texts = ["".join(rng.choices(ODD, k=rng.randint(0, 40))) for _ in range(20_000)]
    for start in range(0, len(texts), 256):
        part = texts[start : start + 256]
        assert tokeniser.encode(part) == [encoding.ids for encoding in reference.encode_batch(part)]


def test_ids_equal_the_reference_on_any_text(tokeniser: WordTokeniser, reference: Tokenizer) -> None:
    @settings(max_examples=1000)
    @given(st.lists(st.text(), max_size=5))
    def check(texts: list[str]) -> None:
        assert tokeniser.encode(texts) == [encoding.ids for encoding in reference.encode_batch(texts)]

    check()


@pytest.mark.needs_data
def test_ids_equal_the_reference_on_real_posts(
    tokeniser: WordTokeniser, reference: Tokenizer, data: Path
) -> None:
    texts = (data / "tweets" / "traffic.txt").read_text(encoding="utf-8").splitlines()
    for start in range(0, len(texts), 1024):
        part = texts[start : start + 1024]
        assert tokeniser.encode(part) == [encoding.ids for encoding in reference.encode_batch(part)]


@pytest.mark.parametrize(
    "text",
    [
        "so sad " * 15_000,
        "a" * 50_000,
        "\u00e9a" * 25_000,
        "e" + "\u0301" * 5_000,
        "".join(f"{letter}\u0301\u0323\u0330" for letter in "i am so angry") * 50,
        "".join(map(chr, range(32))) * 500,
        "\ud83d sad \udc00" * 1_000,
        "\u6f22" * 50_000,
        "@a " * 20_000,
        "&amp;amp;" * 10_000,
        "\u202e\u200f" * 20_000,
        "\U0001f469\u200d\U0001f469\u200d\U0001f467" * 5_000,
        "!?" * 30_000,
        ("q" * 150 + " ") * 600,
        "\ufb01\ufdfa" * 20_000,
        "\x00\x01",
        "",
    ],
    ids=lambda text: f"{text[:8]!a} x {len(text)}",
)
def test_hostile_posts_give_the_ids_of_the_reference(
    tokeniser: WordTokeniser, reference: Tokenizer, text: str
) -> None:
    for version in VERSIONS:
        clean = normalise(text, version)
        assert tokeniser.encode([clean]) == [reference.encode(clean).ids]


ODD_WORDS = """
    hapy Definitly, soooo @hapy i #SoHpapy 😂 😂😂👍🏽lol :)hapy :-P <3<3 &lt;3 1:Dx =Dx :D waaaaay @a@b x@
    www.a wwww. http://t.co/x https://a&amp;b httpooooo://x @uuuuuser #IAmSooooHapy AT&T & &amp; &amp;amp;lt;
    &#10; &#x1F602; &#38;#38;#38;#38;#38;
""".split()  # noqa: SIM905 - a list of one word a line is no help to anybody
ODD_PARTS = [*ODD_WORDS, *"\x0b\u00a0\u2028\ud83d\ude00\ufe0f\u200d \n", "a\x85b", "  ", "\ud83d\ude00"]


def test_words_changed_one_by_one_are_the_text_changed_as_a_whole(tokeniser: WordTokeniser) -> None:
    by_word = {version: open_tokeniser(PATH, MAX_LENGTH, steps(version)[1]) for version in VERSIONS}

    @settings(max_examples=1000)
    @given(
        st.lists(st.one_of(st.sampled_from(ODD_PARTS), st.text(max_size=8)), max_size=12),
        st.sampled_from(["", " ", "\t"]),
    )
    def check(words: list[str], between: str) -> None:
        text = between.join(words)
        for version, changing in by_word.items():
            expected = tokeniser.encode([normalise(text, version)])
            assert changing.encode([steps(version)[0](text)]) == expected

    check()


def test_long_texts_are_cut_and_said_to_be(tokeniser: WordTokeniser) -> None:
    short, long = tokeniser.encode(["happy", "happy " * 10_000])
    assert len(long) == MAX_LENGTH
    assert tokeniser.was_cut(long)
    assert not tokeniser.was_cut(short)
    assert (short[0], short[-1]) == (long[0], long[-1])


def test_the_cache_is_bounded_and_keeps_what_is_used() -> None:
    cache: Recent[tuple[int, ...]] = Recent(capacity=10)
    for index in range(100):
        if "often" not in cache.young:
            assert cache.promote(["often"]) == ([] if index else ["often"])
            cache.young["often"] = (1,)
        cache.young[f"once-{index}"] = (2,)
        cache.age()
        assert len(cache) <= 12


def test_a_long_word_is_not_kept(tokeniser: WordTokeniser) -> None:
    word = "x" * 5000
    assert tokeniser.encode([word]) == tokeniser.encode([word])
    assert tokeniser._cache.promote([word]) == [word]


def test_plain_words_are_cut_as_the_reference_cuts_them(reference: Tokenizer) -> None:
    """Without the reference's help: nothing but the file that is under test."""
    cutting = wordpiece_of(reference)
    assert cutting is not None
    rng = random.Random(5)
    letters = string.ascii_letters * 4 + string.digits + string.punctuation + "’“”…–—"
    words = ["".join(rng.choices(letters, k=rng.randint(1, 14))) for _ in range(30_000)]
    words += ["x" * 100, "x" * 101, "xq" * 60, "don't", "#ThankYou", "a" * 5000, "!" * 300, "]", "\\"]
    expected = [encoding.ids for encoding in reference.encode_batch(words, add_special_tokens=False)]
    plain = 0
    for word, ids in zip(words, expected, strict=True):
        found = cutting.encode(word)
        if found is not None:
            assert list(found[:MAX_LENGTH]) == ids, word
            plain += 1
    assert plain > 25_000


@pytest.mark.parametrize("word", ["caf\u00e9", "\u4e2d", "\U0001f600", "a\u200db", "[SEP]", "a[b", "\x07"])
def test_words_that_are_not_plain_are_left_to_the_reference(reference: Tokenizer, word: str) -> None:
    cutting = wordpiece_of(reference)
    assert cutting is not None
    assert cutting.encode(word) is None


def opened(made: Tokenizer, folder: Path) -> Tokeniser:
    made.save(str(folder / "tokenizer.json"))
    return open_tokeniser(folder / "tokenizer.json", MAX_LENGTH)


def fuzzed(seed: int, count: int = 3000) -> list[str]:
    odd = [*ODD, "<s>", "</s>", "<mask>", "  ", "\n\n", "don't", "I'M", "happy", "café", "\u00e9"]
    rng = random.Random(seed)
    return ["".join(rng.choices(odd, k=rng.randint(0, 40))) for _ in range(count)]


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        pytest.param(byte_level, WholeTokeniser, id="RoBERTa"),
        pytest.param(lambda: wordpiece(lowercase=True), WordTokeniser, id="BERT uncased"),
        pytest.param(lambda: wordpiece(["Happy", "é"], lowercase=False), WordTokeniser, id="BERT cased"),
        pytest.param(
            lambda: wordpiece(lowercase=False, strip_accents=True, handle_chinese_chars=False),
            WordTokeniser,
            id="BERT cased without accents",
        ),
        pytest.param(lambda: wordpiece(clean_text=False), WholeTokeniser, id="BERT that cleans nothing"),
    ],
)
def test_every_known_kind_gives_the_ids_of_the_reference(
    make: Callable[[], Tokenizer], kind: type, tmp_path: Path
) -> None:
    tokeniser, reference = opened(make(), tmp_path), make()
    reference.enable_truncation(MAX_LENGTH)
    texts = [*fuzzed(11), "", " ", "happy " * 500]

    assert isinstance(tokeniser, kind)
    for start in range(0, len(texts), 256):
        part = texts[start : start + 256]
        assert tokeniser.encode(part) == [encoding.ids for encoding in reference.encode_batch(part)]


def test_a_token_with_white_space_in_it_is_found_across_words(tmp_path: Path) -> None:
    made = wordpiece()
    made.add_tokens(["so happy"])
    tokeniser = opened(made, tmp_path)

    assert isinstance(tokeniser, WholeTokeniser)
    assert tokeniser.encode(["so happy"]) == [[2, made.token_to_id("so happy"), 3]]


def test_byte_level_texts_are_cut_between_their_special_tokens(tmp_path: Path) -> None:
    tokeniser = opened(byte_level(), tmp_path)

    short, long, nothing = tokeniser.encode(["so happy", "so happy " * 1000, ""])

    assert (long[0], long[-1], len(long)) == (0, 2, MAX_LENGTH)
    assert (short[0], short[-1]) == (0, 2)
    assert nothing == [0, 2]
    assert tokeniser.was_cut(long)
    assert not tokeniser.was_cut(short)


def test_what_a_tokenizer_file_says_about_cutting_and_padding_does_not_count(tmp_path: Path) -> None:
    made = byte_level()
    made.enable_truncation(5)
    made.enable_padding(length=8)

    [row] = opened(made, tmp_path).encode(["so happy and so sad today"])

    assert row == byte_level().encode("so happy and so sad today").ids
    assert len(row) > 5


def word_level() -> Tokenizer:
    made = Tokenizer(WordLevel({"[CLS]": 0, "[SEP]": 1, "a": 2}, unk_token="a"))
    made.post_processor = processors.BertProcessing(("[SEP]", 1), ("[CLS]", 0))
    return made


def metaspace() -> Tokenizer:
    """BPE, but of characters after SentencePiece's manner."""
    made = Tokenizer(BPE({"<s>": 0, "</s>": 1, "a": 2}, []))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    return made


def endless() -> Tokenizer:
    made = byte_level()
    made.post_processor = processors.ByteLevel()
    return made


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(word_level, r"WordLevel tokenizer of another kind: known are WordPiece", id="words"),
        pytest.param(metaspace, r"BPE tokenizer of another kind", id="BPE of characters"),
        pytest.param(endless, r"puts 0 special tokens around a text and should put two", id="no ends"),
    ],
)
def test_other_kinds_are_refused_and_say_what_is_known(
    make: Callable[[], Tokenizer], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match=message):
        opened(make(), tmp_path)


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")

    with pytest.raises(ArtifactError, match=r"tokenizer\.json is no tokenizer"):
        open_tokeniser(tmp_path / "tokenizer.json", MAX_LENGTH)
