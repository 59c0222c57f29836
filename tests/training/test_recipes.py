"""What reaches the Trainer for each published recipe, with its true architecture in small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from training import train as training_train
from training.data import SIX, Split
from training.model import Base, encode, load_model, load_tokenizer
from training.recipe import Recipe, load, names
from training.rows import Rows
from training.sources import read_folder
from training.train import fine_tune, installed_trackers
from worker.types import EMOTIONS

COMMON = {
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,
    "seed": 42,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "save_total_limit": 2,
    "max_grad_norm": 1.0,
    "bf16": False,
    "fp16": False,
}
GOLDEN: dict[str, dict[str, object]] = {
    "jayshah-tweet": {
        "learning_rate": 2e-5,
        "per_device_train_batch_size": 64,
        "per_device_eval_batch_size": 64,
        "gradient_accumulation_steps": 1,
        "num_train_epochs": 10,
        "weight_decay": 0.0,
    },
    "hamzawaheed": {
        "learning_rate": 6e-5,
        "per_device_train_batch_size": 16,
        "per_device_eval_batch_size": 32,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 2,
        "weight_decay": 0.01,
        "logging_steps": 10,
        "report_to": ["tensorboard"],
    },
    "distilbert-124": {
        "learning_rate": 2e-5,
        "per_device_train_batch_size": 124,
        "per_device_eval_batch_size": 124,
        "gradient_accumulation_steps": 1,
        "num_train_epochs": 5,
        "weight_decay": 0.0,
    },
    "ismaelmousa-bert": {
        "learning_rate": 5e-5,
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 8,
        "gradient_accumulation_steps": 1,
        "num_train_epochs": 3,
        "weight_decay": 0.0,
    },
    "emotionsincheck": {
        "learning_rate": 5e-5,
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 8,
        "gradient_accumulation_steps": 1,
        "num_train_epochs": 3,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_emotion_loss",
    },
}
BASES = {"ismaelmousa-bert": "bert-base-cased"}
"""The others name distilbert-base-uncased."""


@pytest.fixture
def base(request: pytest.FixtureRequest, tiny_base: Path, tmp_path: Path) -> Base:
    """The architecture that a recipe names, two layers small, with random weights."""
    name = str(request.param)
    kind = "bert" if name.startswith("bert") else "distilbert"
    vocabulary = json.loads((tiny_base / "config.json").read_text())["vocab_size"]
    small = {"vocab_size": vocabulary, "max_position_embeddings": 512}
    if kind == "bert":
        small |= {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        small |= {"intermediate_size": 64}
    else:
        small |= {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    torch.manual_seed(0)
    configuration = AutoConfig.for_model(kind, **small)
    model = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call] # theirs
        configuration
    )
    folder = tmp_path / name
    model.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).write_bytes((tiny_base / file).read_bytes())
    return Base(name, str(folder))


class Spy:
    """Keeps what the Trainer was given, and the first batch that reached the network."""

    def __init__(self) -> None:
        self.trainer: Any = None
        self.shapes: list[tuple[int, ...]] = []


def spied(monkeypatch: pytest.MonkeyPatch) -> Spy:
    spy = Spy()

    class Spied(training_train.EmotionTrainer):
        def __init__(self, *arguments: Any, **rest: Any) -> None:
            super().__init__(*arguments, **rest)
            spy.trainer = self

        def compute_loss(self, model: Any, inputs: Any, *more: Any, **rest: Any) -> Any:
            spy.shapes.append(tuple(inputs["input_ids"].shape))
            return super().compute_loss(model, inputs, *more, **rest)

    monkeypatch.setattr(training_train, "EmotionTrainer", Spied)
    return spy


@pytest.mark.parametrize(
    ("name", "base"),
    [(name, BASES.get(name, "distilbert-base-uncased")) for name in GOLDEN],
    indirect=["base"],
)
def test_what_reaches_the_trainer(
    name: str, base: Base, emotion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # TensorBoard's ./logs
    recipe = load(name)
    spy = spied(monkeypatch)

    assert recipe.base == base.name
    train_tiny(recipe, base, emotion_folder, tmp_path / "checkpoints")

    expected = COMMON | GOLDEN[name]
    assert {key: getattr(spy.trainer.args, key) for key in expected} == expected
    assert spy.trainer.model.config.model_type == ("bert" if name in BASES else "distilbert")
    assert spy.shapes[0][0] == recipe.batch_size
    assert (spy.shapes[0][1] == 32) == (name == "hamzawaheed"), "padded to its maximum, or to the batch"
    if name == "hamzawaheed":
        assert list((tmp_path / "logs").iterdir()), "TensorBoard's events"


def train_tiny(recipe: Recipe, base: Base, folder: Path, checkpoints: Path) -> None:
    """As `training.run` does, for the recipe's own epochs on 360 rows, without the files of an artefact."""
    source = read_folder(folder)
    repeated = source.splits["train"].rows([*range(72)] * 5)
    model = load_model(base, EMOTIONS)
    tokenizer = load_tokenizer(base, recipe.max_length, lower_case=recipe.lower_case)
    train, validation = (
        Rows(encode(tokenizer, split.texts), split) for split in (repeated, source.splits["validation"])
    )

    epochs = fine_tune(
        model,
        recipe,
        train,
        {"emotion": validation},
        folder=checkpoints,
        report=lambda _: None,
        trackers=installed_trackers(recipe, say=lambda _: None),
    )

    assert 1 <= len(epochs) <= recipe.epochs
    assert all(np.isfinite(list(row.values())).all() for row in epochs)
    kept = list(checkpoints.glob("checkpoint-*"))
    assert 1 <= len(kept) <= recipe.checkpoints


def test_every_recipe_of_a_card_is_tested() -> None:
    assert {*GOLDEN, "default", "teacher", "pythia-1b-lora"} == set(names())


@pytest.mark.parametrize("name", GOLDEN)
def test_cards_are_reproduced_on_the_rows_as_they_are(name: str) -> None:
    recipe = load(name)

    assert (recipe.deduplicate, recipe.text_version) == (False, 0)
    assert recipe.lower_case == (name == "ismaelmousa-bert")
    assert recipe.class_weights == ("balanced" if name == "emotionsincheck" else "none")


@pytest.mark.parametrize("base", ["bert-base-cased"], indirect=True)
def test_lower_casing_becomes_part_of_the_tokenizer(base: Base) -> None:
    tokenizer = load_tokenizer(base, 16, lower_case=True)

    assert encode(tokenizer, ["I FEEL Furious"]) == encode(tokenizer, ["i feel furious"])


@pytest.mark.parametrize("base", ["distilbert-base-uncased"], indirect=True)
def test_early_stopping_keeps_the_best_epoch(
    base: Base, emotion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = msgspec.structs.replace(
        load("emotionsincheck"), trackers=[], epochs=30, learning_rate=0.5, early_stopping=2
    )
    spy = spied(monkeypatch)
    source = read_folder(emotion_folder)
    model = load_model(base, EMOTIONS)
    tokenizer = load_tokenizer(base, recipe.max_length)
    rows = {key: Rows(encode(tokenizer, split.texts), split) for key, split in source.splits.items()}

    epochs = fine_tune(
        model,
        recipe,
        rows["train"],
        {"emotion": rows["validation"]},
        folder=tmp_path,
        report=lambda _: None,
    )

    losses = [row["emotion/validation loss"] for row in epochs]
    assert len(losses) < 30, "a rate that wrecks the network stops it early"
    assert spy.trainer.state.best_metric == pytest.approx(min(losses))
    assert len(losses) - 1 - int(np.argmin(losses)) == 2


def test_a_tracker_that_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "wandb" else object())
    said: list[str] = []
    recipe = msgspec.structs.replace(load("default"), trackers=["tensorboard", "wandb"])

    assert installed_trackers(recipe, said.append) == ["tensorboard"]
    assert "pip install wandb" in said[0]


def test_too_little_memory_says_which_settings_to_change(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.errors import ConfigurationError

    def no_memory(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate")

    monkeypatch.setattr(training_train.EmotionTrainer, "train", no_memory)
    base = Base("tiny", str(tiny_base))
    targets = np.zeros((2, SIX + 1), np.float32)
    targets[:, 0] = 1
    rows = Rows([[2, 5, 3], [2, 6, 3]], Split(["a", "b"], targets))

    with pytest.raises(ConfigurationError, match="lower batch_size"):
        fine_tune(
            load_model(base, EMOTIONS),
            load("default"),
            rows,
            {"emotion": rows},
            folder=tmp_path,
            report=lambda _: None,
        )
