"""A language of forty words, a network that can learn it in seconds, and data sets written in it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.types import EMOTIONS

WORDS = {
    "sadness": ("lonely", "gloomy", "tearful", "empty"),
    "joy": ("cheerful", "delighted", "merry", "glad"),
    "love": ("tender", "loving", "adored", "fond"),
    "anger": ("furious", "irritated", "bitter", "enraged"),
    "fear": ("afraid", "scared", "anxious", "nervous"),
    "surprise": ("amazed", "stunned", "astonished", "startled"),
}
FRAMES = ("i feel {}", "today i am {} again", "she was so {}", "they left me {}", "we were {} all day")
THINGS = ("the bus", "the shop", "the form", "page two", "the door")
FACTS = ("is red", "has a number", "comes at noon", "is open", "costs ten")

GOEMOTIONS = [
    *("admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion"),
    *("curiosity", "desire", "disappointment", "disapproval", "disgust", "embarrassment"),
    *("excitement", "fear", "gratitude", "grief", "joy", "love", "nervousness", "optimism"),
    *("pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral"),
]


def sentences(emotion: str) -> list[str]:
    """Twenty sentences that express one emotion."""
    return [frame.format(word) for frame, word in itertools.product(FRAMES, WORDS[emotion])]


def plain_sentences() -> list[str]:
    """Twenty-five sentences that express none."""
    return [f"{thing} {fact}" for thing, fact in itertools.product(THINGS, FACTS)]


EMOTIONS_TEXTS = [text for emotion in EMOTIONS for text in sentences(emotion)]
"""All of the language that expresses something."""


@pytest.fixture(scope="session", autouse=True)
def one_core() -> Iterator[None]:
    """Threads that wait for one another make a tiny network ten times slower on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        if hasattr(os, "sched_getaffinity"):
            patch.setattr(os, "sched_getaffinity", lambda _: {0})
        yield


@pytest.fixture(scope="session")
def emotion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of `text;label` lines: 72, 24 and 24 rows."""
    folder = tmp_path_factory.mktemp("data") / "written-here"
    folder.mkdir()
    rows = [(text, emotion) for emotion in EMOTIONS for text in sentences(emotion)]
    for name, remainders in (("train", (0, 1, 2)), ("val", (3,)), ("test", (4,))):
        chosen = [f"{text};{label}" for i, (text, label) in enumerate(rows) if i % 5 in remainders]
        (folder / f"{name}.txt").write_text("\n".join(chosen) + "\n")
    return folder


@pytest.fixture(scope="session")
def goemotions_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in the form of GoEmotions, with texts that express nothing."""
    folder = tmp_path_factory.mktemp("data") / "goemotions"
    folder.mkdir()
    (folder / "emotions.txt").write_text("\n".join(GOEMOTIONS))
    neutral, fear = GOEMOTIONS.index("neutral"), GOEMOTIONS.index("nervousness")
    rows = [(text, neutral) for text in plain_sentences()]
    rows += [(f"and {text}", fear) for text in sentences("fear")]
    for name, remainders in (("train", (0, 1, 2)), ("dev", (3,)), ("test", (4,))):
        chosen = [f"{text}\t{ids}\tid" for i, (text, ids) in enumerate(rows) if i % 5 in remainders]
        (folder / f"{name}.tsv").write_text("\n".join(chosen) + "\n")
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with random weights and a vocabulary of the words above."""
    import torch
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    texts = [*EMOTIONS_TEXTS, *plain_sentences(), "and"]
    words = sorted({word for text in texts for word in text.split()})
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    folder = tmp_path_factory.mktemp("base") / "tiny-bert"
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call] # transformers' own, untyped
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.05,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertModel(config)  # type: ignore[no-untyped-call] # as above
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe for that network."""
    file = tmp_path_factory.mktemp("recipes") / "tiny.toml"
    file.write_text(
        'description = "For tests."\nepochs = 12\nbatch_size = 8\nlearning_rate = 2e-3\n'
        "max_length = 16\nlabel_smoothing = 0.05\nint8_tolerance = 0.2\n"
    )
    return file
