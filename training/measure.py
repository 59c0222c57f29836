"""What both forms of a model answer for labelled texts, in figures and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from training.calibrate import Calibration, Logits
from training.data import Split, SplitName
from training.export import predict_openvino
from training.model import predict
from training.pictures import confusion_svg
from training.scores import accuracy, confusion, emotion_scores, gate_scores
from worker.errors import ArtifactError
from worker.replay.figures import calibration_bins
from worker.replay.reliability import reliability_svg
from worker.types import EMOTIONS

Ids = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Reading:
    """A split of one source, with what two forms of the model answer for it."""

    key: str
    """`source/split`, as in the manifest's scores."""
    split: Split
    full: Logits
    """Of the network in single precision."""
    int8: Logits
    """Of the exported graph."""


def read(
    name: SplitName,
    encoded: Mapping[str, tuple[Split, Ids]],
    model: PreTrainedModel,
    folder: Path,
) -> list[Reading]:
    """Have both forms of the model answer a split of every source."""
    return [
        Reading(
            key=f"{key}/{name}",
            split=split,
            full=predict(model, ids),
            int8=predict_openvino(folder / "openvino.xml", ids),
        )
        for key, (split, ids) in encoded.items()
    ]


def measure(reading: Reading, calibration: Calibration) -> dict[str, float]:
    """Every figure for one split, by the names that the manifest uses.

    The answer among the six is measured on the rows that express exactly one; `gated` is the share
    of those that the gate calls neutral. The gate itself is measured where a split has neutral rows.
    """
    split, full = reading.split, reading.full
    certain = split.emotion >= 0
    truth = split.emotion[certain]
    figures: dict[str, float] = {}
    if len(truth):
        figures |= emotion_scores(truth, calibration.emotions(full[certain]))
        figures |= {
            f"int8_{name}": value
            for name, value in emotion_scores(truth, calibration.emotions(reading.int8[certain])).items()
            if name in ("accuracy", "macro_f1", "ece")
        }
    if calibration.neutral is None:
        return figures
    threshold, neutrality = calibration.neutral.threshold, calibration.neutrality(full)
    if len(truth):
        figures["gated"] = float((neutrality[certain] >= threshold).mean())
    known = split.neutral >= 0
    if (split.neutral == 1).any():
        figures |= gate_scores(split.neutral[known], neutrality[known], threshold)
    return figures


def check_int8(readings: Sequence[Reading], tolerance: float, path: Path) -> None:
    """Refuse 8-bit weights that cost too much, over the rows of all splits together.

    Raises:
        ArtifactError: They lose more than `tolerance` in accuracy.
    """
    truth = np.concatenate([r.split.emotion for r in readings])
    certain = truth >= 0

    def score(answers: Sequence[Logits]) -> float:
        best = np.concatenate([logits[:, : len(EMOTIONS)].argmax(axis=1) for logits in answers])
        return accuracy(truth[certain], best[certain])

    full, int8 = score([r.full for r in readings]), score([r.int8 for r in readings])
    if full - int8 > tolerance + 1e-9:  # A loss of exactly the tolerance is allowed.
        raise ArtifactError(
            path,
            [
                f"8-bit weights answer {int8:.4f} of the validation texts right and full precision"
                f" {full:.4f}: more than int8_tolerance = {tolerance} is lost. Train with another"
                " seed, or raise the recipe's int8_tolerance"
            ],
        )


def draw(tested: Sequence[Reading], calibration: Calibration, folder: Path) -> None:
    """The pictures of the card: how answers and truths meet, and how much a confidence is worth."""
    for reading in tested:
        name = reading.key.replace("/", "-")
        certain = reading.split.emotion >= 0
        truth, sure = reading.split.emotion[certain], calibration.emotions(reading.int8[certain])
        confusion_picture = confusion_svg(confusion_of(reading), EMOTIONS, f"{reading.key}, n = {len(truth)}")
        (folder / f"confusion-{name}.svg").write_text(confusion_picture, encoding="utf-8")
        reliability = reliability_svg(calibration_bins(truth, sure), f"{reading.key}, 8 bits")
        (folder / f"reliability-{name}.svg").write_text(reliability, encoding="utf-8")


def confusion_of(reading: Reading) -> list[list[int]]:
    """(6, 6) counts of truth and single-precision answer, over the rows that are certain of one."""
    certain = reading.split.emotion >= 0
    return confusion(reading.split.emotion[certain], reading.full[certain, : len(EMOTIONS)])
