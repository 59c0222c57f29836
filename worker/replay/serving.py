"""A model behind the serving path, for commands that ask it many texts at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from worker.clock import SystemClock
from worker.errors import ConfigurationError
from worker.model.classifier import Classifier
from worker.replay.answers import Ask
from worker.replay.offline import label_texts
from worker.settings import Settings
from worker.stream.role import open_classifier, shelf
from worker.types import EMOTIONS, LABELS, Classified, Label

BUNDLED = "bundled"
"""The name of the model that comes with moodstream, where a folder is asked for."""


def with_model(settings: Settings, model: str | None) -> Settings:
    """The settings with another model: a folder, or `bundled`; None leaves them as they are."""
    if model is None:
        return settings
    path = None if model == BUNDLED else Path(model)
    return settings.model_copy(update={"model": settings.model.model_copy(update={"path": path})})


def with_named_model(settings: Settings, model: str | None) -> Settings:
    """The same for a model that may also be `NAME@VERSION` of the shelf.

    Raises:
        ArtifactError: it is not there.
    """
    if model is not None and "@" in model and not Path(model).exists():
        model = str(shelf(settings).find(model))
    return with_model(settings, model)


@contextmanager
def opened(settings: Settings) -> Iterator[Classifier]:
    """The model that the settings ask for, warm; closed at the end.

    Raises:
        ArtifactError: it must not be served.
        ConfigurationError: its backend is not installed.
    """
    classifier = open_classifier(settings)
    try:
        yield classifier
    finally:
        classifier.close()


def label_all(
    texts: Sequence[str], classifier: Classifier, settings: Settings, doing: str
) -> list[Label | None]:
    """The label of each text, None where the stream would refuse it; a bar shows people how far it is."""
    console = Console(stderr=True)
    shown = track(
        texts,
        description=f"{classifier.name}: {doing}",
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    return list(label_texts(shown, classifier, settings, SystemClock()))


def asking(classifier: Classifier, settings: Settings, doing: str) -> Ask:
    """The model as a function that goes through the serving path.

    The function raises ConfigurationError where the stream would send a text to the dead letters.
    """

    def ask(texts: Sequence[str]) -> Classified:
        labels = label_all(texts, classifier, settings, doing)
        refused = [f"text {i}: the stream refuses it" for i, label in enumerate(labels) if label is None]
        if refused:
            raise ConfigurationError(refused)
        given = [label for label in labels if label is not None]
        return Classified(
            np.array([[getattr(label.scores, name) for name in EMOTIONS] for label in given]).reshape(-1, 6),
            np.array([label.neutral for label in given]),
            np.array([LABELS.index(label.label) for label in given], dtype=np.intp),
            np.full(len(given), np.nan),
        )

    return ask
