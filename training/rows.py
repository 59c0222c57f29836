"""Splits as the Trainer wants them, and batches of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.utils.data import Dataset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.augment import augment
from training.data import Split
from training.model import pad

Row = dict[str, Any]
"""`input_ids`: a list of ids; `labels`: (7,) the target."""


class Rows(Dataset[Row]):
    """A split that is the same in every epoch."""

    def __init__(self, ids: Sequence[Sequence[int]], split: Split) -> None:
        self._ids = ids
        self.targets = split.targets

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Row:
        return {"input_ids": self._ids[index], "labels": self.targets[index]}


class ChangingRows(Rows):
    """A training split of which some texts are changed in each epoch: see `training.augment`.

    What a row becomes depends on seed, epoch and row alone, so a training that is resumed sees what it
    would have seen.

    Args:
        tokenizer: That of the base.
        ids: Token ids of the texts as they are.
        split: The texts and targets.
        share: Of the texts that are changed.
        seed: Of the changes.
    """

    def __init__(
        self, tokenizer: Tokenizer, ids: Sequence[Sequence[int]], split: Split, *, share: float, seed: int
    ) -> None:
        super().__init__(ids, split)
        self._tokenizer = tokenizer
        self._texts = split.texts
        self._share = share
        self._seed = seed
        self.epoch: int | None = None
        """Counted from 0; before the first one every text is as it is, for whoever asks for lengths."""

    def __getitem__(self, index: int) -> Row:
        if self.epoch is None:
            return super().__getitem__(index)
        rng = random.Random(f"{self._seed}/{self.epoch}/{index}")  # noqa: S311 - typos, not secrets
        if rng.random() >= self._share:
            return super().__getitem__(index)
        ids = self._tokenizer.encode(augment(self._texts[index], rng)).ids
        return {"input_ids": ids, "labels": self.targets[index]}


class EpochCount(TrainerCallback):
    """Tells changing rows which epoch begins."""

    def __init__(self, rows: ChangingRows) -> None:
        self._rows = rows

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Take the number of the epoch."""
        self._rows.epoch = int(state.epoch or 0)


def collate(rows: Sequence[Row], pad_id: int, length: int | None = None) -> dict[str, torch.Tensor]:
    """A batch, padded to `length` tokens, or to its own longest text where None."""
    ids, mask = pad([row["input_ids"] for row in rows], pad_id, length)
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
        "labels": torch.from_numpy(np.stack([row["labels"] for row in rows])),
    }
