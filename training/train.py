"""Fine-tuning: transformers' Trainer with our loss, as a recipe says."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from training.checkpoints import mark_whole
from training.data import SIX
from training.loss import balanced_weights, emotion_loss
from training.recipe import Recipe
from training.rows import ChangingRows, EpochCount, Rows, collate
from training.scores import accuracy, macro_f1, weighted_f1
from worker.errors import ConfigurationError

Report = Callable[[dict[str, float]], None]


class EmotionTrainer(Trainer):
    """The Trainer with `emotion_loss`.

    Args:
        recipe: What decides about the loss.
        class_weights: (6,) or None, as the loss takes them.
        rest: As the Trainer takes it.
    """

    def __init__(self, recipe: Recipe, class_weights: torch.Tensor | None, **rest: Any) -> None:
        super().__init__(**rest)
        self._recipe = recipe
        self._class_weights = None if class_weights is None else class_weights.to(self.args.device)
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
            class_weights=self._class_weights,
        )
        return (loss, outputs) if return_outputs else loss


class EpochLog(TrainerCallback):
    """Gathers a row of figures an epoch, and hands each to `report` when it is complete.

    After a resumption the epochs before it come from the Trainer's own history.
    """

    def __init__(self, sources: Sequence[str], report: Report) -> None:
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
        """Report the epoch when the last source's figures are there."""
        if f"eval_{self._sources[-1]}_loss" in (logs or {}):
            self._report(epoch_rows(state.log_history, self._sources)[-1])


class WholeCheckpoint(TrainerCallback):
    """Marks each checkpoint when the Trainer has written all of it."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Mark the one that was just saved."""
        mark_whole(Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")


def epoch_rows(history: Sequence[Mapping[str, float]], sources: Sequence[str]) -> list[dict[str, float]]:
    """One row of figures an epoch, from the Trainer's log.

    Returns:
        Rows of `epoch`, `step`, `training_loss` (the mean of the epoch's entries), and for each source
        `SOURCE/validation loss`, `... accuracy`, `... macro_f1` and `... weighted_f1`.
    """
    rows: list[dict[str, float]] = []
    losses: list[float] = []
    row: dict[str, float] = {}
    for entry in history:
        if "loss" in entry:
            losses.append(entry["loss"])
        for source in sources:
            prefix = f"eval_{source}_"
            if f"{prefix}loss" not in entry:
                continue
            if not row:
                row = {"epoch": round(entry["epoch"], 4), "step": entry["step"]}
                row["training_loss"] = float(np.mean(losses)) if losses else float("nan")
            for figure in ("loss", "accuracy", "macro_f1", "weighted_f1"):
                row[f"{source}/validation {figure}"] = entry[f"{prefix}{figure}"]
            if source == sources[-1]:
                rows.append(row)
                row, losses = {}, []
    return rows


class SilentProgress(ProgressCallback):
    """The Trainer's progress bar, without the figures that it writes to standard output."""

    def on_log(self, *_: Any, **__: Any) -> None:
        """Leave the figures to `EpochLog`."""


def fine_tune(
    model: torch.nn.Module,
    recipe: Recipe,
    train: Rows,
    validation: Mapping[str, Rows],
    *,
    folder: Path,
    report: Report,
    trackers: Sequence[str] = (),
    checkpoint: Path | None = None,
    progress: bool = False,
    pad_id: int = 0,
) -> list[dict[str, float]]:
    """Train a model in place.

    Args:
        model: As `training.network` gives it, adapters included.
        recipe: What decides everything else.
        train: The training rows.
        validation: By source key; measured after every epoch, never trained on.
        folder: For checkpoints, one after every epoch.
        report: Called with each epoch's figures when they are known.
        trackers: Of the recipe's, those that `installed_trackers` found.
        checkpoint: To go on from, with optimiser, schedule and random numbers as they were.
        progress: Whether to draw a progress bar on standard error.
        pad_id: The tokenizer's id for padding.

    Returns:
        As `epoch_rows`, of all epochs, those before a resumption too.

    Raises:
        ConfigurationError: Memory does not suffice; says which settings to change.
    """
    length = recipe.max_length if recipe.padding == "max_length" else None
    trainer = EmotionTrainer(
        recipe,
        balanced_weights(train.targets) if recipe.class_weights == "balanced" else None,
        model=model,
        args=arguments(recipe, folder, list(validation), trackers),
        train_dataset=train,
        eval_dataset=dict(validation),
        data_collator=lambda rows: collate(rows, pad_id, length),
        compute_metrics=_figures,
        callbacks=_callbacks(recipe, train, list(validation), report),
    )
    trainer.remove_callback(PrinterCallback)  # It prints to standard output.
    if progress:
        trainer.add_callback(SilentProgress)
    os.environ["TENSORBOARD_LOGGING_DIR"] = recipe.log_folder
    try:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    except (RuntimeError, MemoryError) as error:
        if not _is_memory(error):
            raise
        raise ConfigurationError(
            [
                f"out of memory: lower batch_size (now {recipe.batch_size}) and raise accumulation (now"
                f" {recipe.accumulation}) by the same factor, or lower max_length (now {recipe.max_length})"
            ]
        ) from error
    return epoch_rows(trainer.state.log_history, list(validation))


def installed_trackers(recipe: Recipe, say: Callable[[str], None]) -> list[str]:
    """The recipe's trackers that this environment has; says how to get the others."""
    found: list[str] = []
    for tracker in recipe.trackers:
        if importlib.util.find_spec(tracker) is None:
            say(f"{tracker} is not installed, so its figures stand in the card alone: pip install {tracker}")
        else:
            found.append(tracker)
    return found


def arguments(
    recipe: Recipe, folder: Path, sources: Sequence[str], trackers: Sequence[str] = ()
) -> TrainingArguments:
    """What the Trainer is told.

    Args:
        recipe: What decides it.
        folder: For checkpoints.
        sources: Keys of the validation sets; the first one's loss decides about early stopping.
        trackers: Where figures are sent.
    """
    on_gpu = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.evaluation_batch_size,
        gradient_accumulation_steps=recipe.accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule if recipe.schedule != "constant" else "constant_with_warmup",
        warmup_steps=recipe.warmup,
        weight_decay=recipe.weight_decay,
        adam_beta1=0.9,
        adam_beta2=0.999,
        adam_epsilon=1e-8,
        bf16=recipe.precision == "bf16",
        fp16=recipe.precision == "amp" and on_gpu,
        use_cpu=not on_gpu,
        # Rows of one length beside one another pad little; where all are padded alike, order is chance.
        train_sampling_strategy="random" if recipe.padding == "max_length" else "group_by_length",
        remove_unused_columns=False,
        dataloader_pin_memory=on_gpu,
        eval_strategy="epoch",
        logging_strategy="steps" if recipe.logging_steps else "epoch",
        logging_steps=recipe.logging_steps or 1,
        save_strategy="epoch",
        save_total_limit=recipe.checkpoints,
        load_best_model_at_end=recipe.early_stopping > 0,
        metric_for_best_model=f"eval_{sources[0]}_loss" if recipe.early_stopping else None,
        report_to=list(trackers) or "none",
        disable_tqdm=True,
        seed=recipe.seed,
    )


def _callbacks(recipe: Recipe, train: Rows, sources: Sequence[str], report: Report) -> list[TrainerCallback]:
    callbacks: list[TrainerCallback] = [EpochLog(sources, report), WholeCheckpoint()]
    if recipe.early_stopping:
        callbacks.append(EarlyStoppingCallback(recipe.early_stopping))
    if isinstance(train, ChangingRows):
        callbacks.append(EpochCount(train))
    return callbacks


def _is_memory(error: BaseException) -> bool:
    """Torch raises a type of its own for a GPU, and a RuntimeError with a text for a CPU."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "not enough memory" in str(error)


def _figures(prediction: EvalPrediction) -> dict[str, float]:
    """Figures among the six, over the rows that express exactly one of them."""
    logits: NDArray[np.float32] = np.asarray(prediction.predictions)[:, :SIX]
    targets: NDArray[np.float32] = np.asarray(prediction.label_ids)[:, :SIX]
    certain = targets.max(axis=1) == 1
    truth, answer = targets[certain].argmax(axis=1), logits[certain].argmax(axis=1)
    return {
        "accuracy": accuracy(truth, answer),
        "macro_f1": macro_f1(truth, answer),
        "weighted_f1": weighted_f1(truth, answer),
    }
