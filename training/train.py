"""Fine-tuning: the loss, and transformers' Trainer around it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from torch.utils.data import Dataset
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from training.data import SIX, UNKNOWN, Split
from training.model import pad
from training.recipe import Recipe
from training.scores import accuracy, macro_f1

Row = dict[str, Any]
"""`input_ids`: a list of ids; `labels`: (7,) the target."""


class Rows(Dataset[Row]):
    """A split as the Trainer wants it."""

    def __init__(self, ids: Sequence[Sequence[int]], split: Split) -> None:
        self._ids = ids
        self._targets = split.targets

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Row:
        return {"input_ids": self._ids[index], "labels": self._targets[index]}


def emotion_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    neutral_weight: float = 1.0,
) -> torch.Tensor:
    """Cross-entropy with the emotions' soft targets, plus binary cross-entropy for neutral.

    Each half is the mean over the rows that know it; a half that no row knows is 0. Neutral is a
    logit of its own and no seventh class, so that the answer among the six is learnt from rows that
    are certain of one and not pushed down by the many neutral ones.

    Args:
        logits: (n, 6) or, with a gate, (n, 7).
        targets: (n, 7) as `training.data` describes.
        label_smoothing: As in the recipe.
        neutral_weight: As in the recipe.

    Returns:
        A scalar, in nats.
    """
    logits = logits.float()
    expresses = targets[:, :SIX].sum(dim=1) > 0
    loss = logits.sum() * 0.0  # A graph to go backwards through, even where no row knows anything.
    if expresses.any():
        loss = loss + functional.cross_entropy(
            logits[expresses, :SIX], targets[expresses, :SIX], label_smoothing=label_smoothing
        )
    known = targets[:, SIX] != UNKNOWN
    if logits.shape[1] > SIX and known.any():
        loss = loss + neutral_weight * functional.binary_cross_entropy_with_logits(
            logits[known, SIX], targets[known, SIX]
        )
    return loss


def collate(rows: Sequence[Row], pad_id: int) -> dict[str, torch.Tensor]:
    """A batch, padded to its own longest text."""
    ids, mask = pad([row["input_ids"] for row in rows], pad_id)
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
        "labels": torch.from_numpy(np.stack([row["labels"] for row in rows])),
    }


class EmotionTrainer(Trainer):
    """The Trainer with `emotion_loss`."""

    def __init__(self, recipe: Recipe, **rest: Any) -> None:
        super().__init__(**rest)
        self._recipe = recipe
        # Our loss is a mean: the Trainer has to divide it by the number of accumulated batches.
        self.model_accepts_loss_kwargs = False

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Mapping[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """The loss of a batch, as `emotion_loss` defines it."""
        outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        loss = emotion_loss(
            outputs.logits,
            inputs["labels"],
            label_smoothing=self._recipe.label_smoothing,
            neutral_weight=self._recipe.neutral_weight,
        )
        return (loss, outputs) if return_outputs else loss


class EpochLog(TrainerCallback):
    """Gathers a row of figures an epoch, and hands each to `report` when it is complete."""

    def __init__(self, sources: Sequence[str], report: Callable[[dict[str, float]], None]) -> None:
        self.rows: list[dict[str, float]] = []
        self._sources = sources
        self._report = report

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Take the training loss, and each source's validation figures, as the Trainer logs them."""
        logs = logs or {}
        if "loss" in logs:
            self.rows.append({"epoch": logs["epoch"], "training_loss": logs["loss"]})
        for source in self._sources:
            prefix = f"eval_{source}_"
            if f"{prefix}accuracy" not in logs or not self.rows:
                continue
            row = self.rows[-1]
            for figure in ("loss", "accuracy", "macro_f1"):
                row[f"{source}/validation {figure}"] = logs[f"{prefix}{figure}"]
            if source == self._sources[-1]:
                self._report(row)


class SilentProgress(ProgressCallback):
    """The Trainer's progress bar, without the figures that it writes to standard output."""

    def on_log(self, *_: Any, **__: Any) -> None:
        """Leave the figures to `EpochLog`."""


def fine_tune(
    model: PreTrainedModel,
    recipe: Recipe,
    train: Rows,
    validation: Mapping[str, Rows],
    report: Callable[[dict[str, float]], None],
    *,
    progress: bool = False,
    pad_id: int = 0,
) -> list[dict[str, float]]:
    """Train a model in place.

    Args:
        model: As `load_model` gives it.
        recipe: What decides everything else.
        train: The training rows.
        validation: By source key; measured after every epoch, never trained on.
        report: Called with each epoch's figures when they are known.
        progress: Whether to draw a progress bar on standard error.
        pad_id: The tokenizer's id for padding.

    Returns:
        One row of figures an epoch: `epoch`, `training_loss`, and for each source
        `SOURCE/validation loss`, `... accuracy` and `... macro_f1`.
    """
    log = EpochLog(list(validation), report)
    with tempfile.TemporaryDirectory(prefix="moodstream-train-") as scratch:
        trainer = EmotionTrainer(
            recipe,
            model=model,
            args=_arguments(recipe, scratch, progress=progress),
            train_dataset=train,
            eval_dataset=dict(validation),
            data_collator=lambda rows: collate(rows, pad_id),
            compute_metrics=_figures,
            callbacks=[log],
        )
        trainer.remove_callback(PrinterCallback)  # It prints to standard output.
        if progress:
            trainer.add_callback(SilentProgress)
        trainer.train()
    return log.rows


def _arguments(recipe: Recipe, scratch: str, *, progress: bool) -> TrainingArguments:
    on_gpu = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=scratch,
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.evaluation_batch_size,
        gradient_accumulation_steps=recipe.accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule if recipe.schedule != "constant" else "constant_with_warmup",
        warmup_steps=recipe.warmup,
        weight_decay=recipe.weight_decay,
        bf16=True,  # Half the time of float32 on a CPU with AVX512-BF16, a third on a GPU.
        use_cpu=not on_gpu,
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        dataloader_pin_memory=on_gpu,
        eval_strategy="epoch",
        logging_strategy="epoch",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=recipe.seed,
    )


def _figures(prediction: EvalPrediction) -> dict[str, float]:
    """Accuracy and macro F1 among the six, over the rows that express exactly one of them."""
    logits: NDArray[np.float32] = np.asarray(prediction.predictions)[:, :SIX]
    targets: NDArray[np.float32] = np.asarray(prediction.label_ids)[:, :SIX]
    certain = targets.max(axis=1) == 1
    truth, answer = targets[certain].argmax(axis=1), logits[certain].argmax(axis=1)
    return {"accuracy": accuracy(truth, answer), "macro_f1": macro_f1(truth, answer)}
