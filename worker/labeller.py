"""Labels in Python, for notebooks and scripts: the path that labels the stream, without Kafka.

from worker.labeller import Labeller

label = Labeller()                        # the bundled model; or Labeller("models/mine")
label(["what a day!", "  "])              # [Label(label='joy', ...), None]
pandas.DataFrame(label.rows(df["text"]))  # a row for each text, in their order
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike

from worker.clock import SystemClock
from worker.configuration import load
from worker.replay.offline import label_texts
from worker.stream.role import open_classifier
from worker.types import EMOTIONS, Label


class Labeller:
    """A model, loaded and warm; not for several threads at once.

    Texts go through the loop that labels the stream, so the answers are those of the stream: the same
    batches, the same neutral gate, and no answer where the stream would write a dead letter.
    """

    def __init__(self, model: str | PathLike[str] | None = None, **settings: str) -> None:
        """`model`: an artefact's folder; None: as the settings say, else the bundled one.

        `settings`: any of `moodstream config`, with `__` for the dot: `Labeller(batch__max_records="64")`.

        Raises:
            ConfigurationError: a setting is wrong or unknown; all of them are listed.
            ArtifactError: the model cannot be loaded.
        """
        flags = {name.replace("__", "."): value for name, value in settings.items()}
        if model is not None:
            flags["model.path"] = str(model)
        self._settings = load(flags)
        self._classifier = open_classifier(self._settings)

    @property
    def model(self) -> str:
        """The model's `name@version`."""
        return self._classifier.name

    def __call__(self, texts: Iterable[str]) -> list[Label | None]:
        """The label of each text, in order; None for one that is empty or white space."""
        return list(label_texts(texts, self._classifier, self._settings, SystemClock()))

    def rows(self, texts: Iterable[str]) -> Iterator[dict[str, str | float | None]]:
        """For a data frame: `label`, `score`, `neutral` and each emotion; None where no label is."""
        for found in label_texts(texts, self._classifier, self._settings, SystemClock()):
            if found is None:
                yield dict.fromkeys(("label", "score", "neutral", *EMOTIONS))
            else:
                emotions: dict[str, float] = {name: getattr(found.scores, name) for name in EMOTIONS}
                yield {"label": found.label, "score": found.score, "neutral": found.neutral, **emotions}

    def close(self) -> None:
        """Give the model's memory back."""
        self._classifier.close()
