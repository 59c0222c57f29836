"""Models that answer texts by a rule, for tests of what is asked of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from worker.replay.answers import Ask
from worker.types import EMOTIONS, LABELS, Classified, LabelName


def by_rule(rule: Callable[[str], LabelName], confidence: Callable[[str], float] = lambda _: 0.9) -> Ask:
    """A model that labels each text by `rule`; the emotion named has the score `confidence`.

    What is called neutral has six equal scores.
    """

    def ask(texts: Sequence[str]) -> Classified:
        labels = [rule(text) for text in texts]
        scores = np.full((len(texts), len(EMOTIONS)), 1 / len(EMOTIONS))
        for row, (text, label) in enumerate(zip(texts, labels, strict=True)):
            if label in EMOTIONS:
                scores[row] = (1 - confidence(text)) / (len(EMOTIONS) - 1)
                scores[row, EMOTIONS.index(label)] = confidence(text)
        return Classified(
            scores,
            np.array([float(label == "neutral") for label in labels]),
            np.array([LABELS.index(label) for label in labels], dtype=np.intp),
            np.full(len(labels), np.nan),
        )

    return ask
