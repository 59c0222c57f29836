"""`moodstream evaluate`: labelled texts through the serving path, scored; one model, or two compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from worker.errors import ConfigurationError
from worker.replay.classes import classes_of, over_classes
from worker.replay.compare import Comparison, Side, compare
from worker.replay.figures import Figures, calibration_bins, figures, roc_auc
from worker.replay.gold import Gold, read_gold
from worker.replay.reliability import reliability_svg
from worker.replay.serving import label_all, opened, with_model
from worker.settings import Settings
from worker.types import EMOTIONS, LABELS, NEUTRAL, Label


@dataclass(frozen=True)
class Scored:
    """Answers beside the truth, ready to be counted."""

    truth: NDArray[np.intp]
    """(n,) indices into `classes`."""
    probabilities: NDArray[np.float64]
    """(n, classes); the best is the answer."""
    neutral: NDArray[np.float64]
    """(n,) of the gate; all 0 where the model has none."""
    classes: list[str]

    @property
    def answer(self) -> NDArray[np.intp]:
        """(n,) indices into `classes`."""
        best: NDArray[np.intp] = self.probabilities.argmax(axis=1)
        return best

    def figures(self) -> Figures:
        """All that `moodstream evaluate` reports.

        Raises:
            ValueError: there is nothing to score.
        """
        found = figures(self.truth, self.probabilities, self.classes)
        if NEUTRAL not in self.classes or not self.neutral.any():
            return found
        area = roc_auc(self.truth == self.classes.index(NEUTRAL), self.neutral)
        return msgspec.structs.replace(found, neutral_roc_auc=area)


def evaluate_data(
    data: Path, split: str, settings: Settings, *, reliability: Path | None, as_json: bool
) -> None:
    """Score the model on a folder's split (or a file) and print the figures.

    Args:
        data: See `read_gold`.
        split: See `read_gold`.
        settings: Which model, how.
        reliability: Where to write a reliability diagram (SVG), if anywhere.
        as_json: The figures as one JSON line.

    Raises:
        ConfigurationError: data, model or the picture's place cannot be used.
    """
    gold = read_gold(data, split)
    name, labels = _labelled(gold, settings, f"{data.name}/{split}")
    scored = beside_truth(gold, labels)
    if not len(scored.truth):
        raise ConfigurationError([f"{data}: there is no text that the model labelled"])
    result = scored.figures()
    if reliability is not None:
        title = f"{name} on {data.name}"
        _write(reliability, reliability_svg(calibration_bins(scored.truth, scored.probabilities), title))
    if as_json:
        click.echo(msgspec.json.encode(result))
    else:
        _show(result, name)


def compare_data(
    data: Path, split: str, models: tuple[str, str], settings: Settings, *, as_json: bool
) -> None:
    """Score two models on the same texts, say which is better and print it. Raises as `compared` does."""
    result = compared(data, split, models, settings)
    if as_json:
        click.echo(msgspec.json.encode(result))
    else:
        _show_comparison(result)


def compared(data: Path, split: str, models: tuple[str, str], settings: Settings) -> Comparison:
    """Two models (folders, or `bundled`) on the same texts.

    Raises:
        ConfigurationError: data or a model cannot be used, or no text was labelled by both.
    """
    gold = read_gold(data, split)
    (name_a, labels_a), (name_b, labels_b) = (
        _labelled(gold, with_model(settings, model), f"{data.name}/{split}") for model in models
    )
    both = [a is not None and b is not None for a, b in zip(labels_a, labels_b, strict=True)]
    if not any(both):
        raise ConfigurationError([f"{data}: there is no text that both models labelled"])
    a, b = (
        beside_truth(gold, [label if kept else None for label, kept in zip(labels, both, strict=True)])
        for labels in (labels_a, labels_b)
    )
    return compare(
        Side(name_a, a.figures()),
        Side(name_b, b.figures()),
        a.truth,
        a.answer,
        b.answer,
        classes=len(a.classes),
    )


def beside_truth(gold: list[Gold], labels: list[Label | None]) -> Scored:
    """The labels against the truth.

    The question is that of `classes_of`. Texts that the stream refuses (empty ones) are left out.
    """
    kept = [(row, label) for row, label in zip(gold, labels, strict=True) if label is not None]
    classes = classes_of({row.label for row in gold})
    neutral = np.array([label.neutral for _, label in kept], dtype=np.float64)
    return Scored(
        truth=np.array([classes.index(row.label) for row, _ in kept], dtype=np.intp),
        probabilities=over_classes(
            np.array([msgspec.structs.astuple(label.scores) for _, label in kept]).reshape(-1, len(EMOTIONS)),
            neutral,
            np.array([LABELS.index(label.label) for _, label in kept], dtype=np.intp),
            classes,
        ),
        neutral=neutral,
        classes=classes,
    )


def _labelled(gold: list[Gold], settings: Settings, doing: str) -> tuple[str, list[Label | None]]:
    """The model's name and its label of each row."""
    with opened(settings) as classifier:
        return classifier.name, label_all([row.text for row in gold], classifier, settings, doing)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError([f"{file}: cannot be written: {error}"]) from error


def _show(result: Figures, model: str) -> None:
    console = Console()
    table = Table(title=f"{model}: n = {result.n}")
    for heading in ("class", "precision", "recall", "F1", "support"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for name, part in result.per_class.items():
        table.add_row(
            name, f"{part.precision:.3f}", f"{part.recall:.3f}", f"{part.f1:.3f}", str(part.support)
        )
    console.print(table)
    gate = "" if result.neutral_roc_auc is None else f"  gate's ROC-AUC {result.neutral_roc_auc:.4f}"
    console.print(
        f"accuracy {result.accuracy:.4f}  macro F1 {result.macro_f1:.4f}  "
        f"weighted F1 {result.weighted_f1:.4f}  ROC-AUC {result.roc_auc_ovr:.4f}  ECE {result.ece:.4f}{gate}"
    )


def _show_comparison(result: Comparison) -> None:
    for side in (result.a, result.b):
        _show(side.figures, side.model)
    cells, console = result.right_wrong, Console()
    table = Table(title=f"both on the same {result.n} texts; same answer on {result.agreement:.1%}")
    for heading in ("", "B right", "B wrong"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row("A right", str(cells.both), str(cells.only_a))
    table.add_row("A wrong", str(cells.only_b), str(cells.neither))
    console.print(table)
    for what, difference in (
        ("accuracy", result.accuracy_difference),
        ("macro F1", result.macro_f1_difference),
    ):
        span = f"{difference.low:+.4f} to {difference.high:+.4f}"
        console.print(f"{what} B - A: {difference.value:+.4f}, 95% interval {span}")
    console.print(f"McNemar ({result.mcnemar.method}): p = {result.mcnemar.p:.4g}")
    console.print(result.verdict)
