"""`moodstream evaluate`: labelled texts through the serving path, scored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from worker.clock import SystemClock
from worker.errors import ConfigurationError
from worker.metrics import Metrics
from worker.replay.figures import Figures, figures
from worker.replay.offline import label_texts
from worker.settings import Settings
from worker.stream.role import open_classifier
from worker.types import EMOTIONS, LABELS, NEUTRAL, Label


class Gold(msgspec.Struct, frozen=True):
    """A text with its true label."""

    text: str
    label: str


def evaluate_data(data: Path, split: str, settings: Settings, *, as_json: bool) -> None:
    """Score the model on a folder's split (or a file) and print the figures."""
    gold = read_gold(data, split)
    classifier = open_classifier(settings, Metrics())
    texts = track(
        [row.text for row in gold],
        description=f"{classifier.name} on {data.name}/{split}",
        console=Console(stderr=True),
        disable=not Console(stderr=True).is_terminal,
        transient=True,
    )
    labels = list(label_texts(texts, classifier, settings, SystemClock()))
    result = score(gold, labels)
    if as_json:
        click.echo(msgspec.json.encode(result))
    else:
        _show(result, classifier.name)


def score(gold: list[Gold], labels: list[Label | None]) -> Figures:
    """Figures of the labels against the truth.

    Where the truth knows no `neutral`, the question is which of the six, and the six probabilities answer;
    else the label given counts, neutral included. Texts that the stream refuses (empty ones) are left out.
    """
    kept = [(row, label) for row, label in zip(gold, labels, strict=True) if label is not None]
    classes: list[str] = list(LABELS if any(row.label == NEUTRAL for row in gold) else EMOTIONS)
    truth = np.array([classes.index(row.label) for row, _ in kept], dtype=np.intp)
    return figures(truth, np.array([_probabilities(label, classes) for _, label in kept]), classes)


def _probabilities(label: Label, classes: list[str]) -> list[float]:
    """Over `classes`; with neutral among them, what the gate leaves is shared by the six.

    The gate's threshold is not 0.5, so the label given is put on top: an answer is what was published.
    """
    six = [getattr(label.scores, emotion) for emotion in EMOTIONS]
    if NEUTRAL not in classes:
        return six
    spread = [(1 - label.neutral) * value for value in six] + [label.neutral]
    given = classes.index(label.label)
    spread[given] = max(spread[given], float(np.nextafter(max(spread), 2)))
    return spread


def read_gold(data: Path, split: str) -> list[Gold]:
    """Read `text;label` lines or JSON lines with `text` and `label`.

    Raises:
        ConfigurationError: listing every line that is wrong, and what was looked for.
    """
    file = data
    if data.is_dir():
        places = [data / f"{split}{suffix}" for suffix in (".txt", ".jsonl")]
        found = [place for place in places if place.is_file()]
        if not found:
            raise ConfigurationError(
                [f"{data}: no split {split!r}; looked for {', '.join(p.name for p in places)}"]
            )
        file = found[0]
    problems: list[str] = []
    gold = list(_rows(file, problems))
    if problems or not gold:
        raise ConfigurationError(problems or [f"{file}: no labelled text in it"])
    return gold


def _rows(file: Path, problems: list[str]) -> Iterator[Gold]:
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line, type=Gold) if file.suffix == ".jsonl" else _split(line.decode())
        except (msgspec.MsgspecError, ValueError) as error:
            problems.append(f"{file.name}:{number}: {error}")
            continue
        if row.label not in LABELS:
            problems.append(f"{file.name}:{number}: unknown label {row.label!r}; known: {', '.join(LABELS)}")
            continue
        yield row


def _split(line: str) -> Gold:
    text, separator, label = line.rpartition(";")
    if not separator:
        raise ValueError("not `text;label`")
    return Gold(text, label.strip())


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
    console.print(
        f"accuracy {result.accuracy:.4f}  macro F1 {result.macro_f1:.4f}  "
        f"weighted F1 {result.weighted_f1:.4f}  ROC-AUC {result.roc_auc_ovr:.4f}  ECE {result.ece:.4f}"
    )
