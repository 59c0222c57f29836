"""A decoder with adapters, as Pythia: trained, exported and served like any other network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.training.conftest import EMOTIONS_TEXTS
from training.cli import train
from training.recipe import load
from worker.model import artifact
from worker.model.classifier import load as load_classifier
from worker.types import EMOTIONS


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-NeoX of two layers with random weights and a byte-level BPE of the words in conftest."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPTNeoXConfig, GPTNeoXModel, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|padding|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(EMOTIONS_TEXTS, trainer)
    folder = tmp_path_factory.mktemp("decoder") / "tiny-neox"
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call] # transformers' own, untyped
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", bos_token="<|endoftext|>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=64,
        initializer_range=0.1,
    )
    GPTNeoXModel(config).save_pretrained(folder)  # type: ignore[no-untyped-call] # transformers' own, untyped
    return folder


def test_the_recipe_names_pythia_and_its_adapters() -> None:
    recipe = load("pythia-1b-lora")

    assert recipe.base == "EleutherAI/pythia-1b"
    assert recipe.lora is not None
    assert (recipe.lora.rank, recipe.lora.quantised) == (8, False)


def test_a_decoder_is_trained_exported_and_served(
    decoder: Path, emotion_folder: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "decoder.toml"
    recipe.write_text(
        'description = "x"\nepochs = 12\nbatch_size = 8\nlearning_rate = 1e-2\nmax_length = 24\n'
        'precision = "fp32"\nint8_tolerance = 0.9\n[lora]\nrank = 16\nalpha = 32\ndropout = 0.0\n'
    )
    arguments = [recipe, "--base", decoder, "--data", emotion_folder, "--output", tmp_path / "model"]

    done = CliRunner().invoke(train, [*map(str, arguments), "--json"])

    assert done.exit_code == 0, done.output
    scores = json.loads(done.stdout)["scores"]["written-here/test"]
    assert scores["accuracy"] > 0.5, "one in six by chance"
    assert scores["int8_accuracy"] == pytest.approx(scores["accuracy"], abs=0.15)
    made = artifact.load(tmp_path / "model")
    classifier = load_classifier(made, "openvino")
    texts = ["i feel furious", "we were merry all day again and again", "they left me tearful"]

    together = classifier.classify(classifier.prepare(texts))

    alone = [classifier.classify(classifier.prepare([text])).scores[0] for text in texts]
    # A shorter text is filled up beside a longer one; 8 bits answer a little differently in company.
    np.testing.assert_allclose(together.scores, alone, atol=0.1)
    assert together.scores.shape == (3, len(EMOTIONS))
