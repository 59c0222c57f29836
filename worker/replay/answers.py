"""What a model says to texts, whatever it runs on: commands ask by `serving`, training in its own way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from worker.types import EMOTIONS, LABELS, Classified, Emotion, LabelName

Ask = Callable[[Sequence[str]], Classified]
"""Anything that answers texts: labels, the six scores and neutral, a row for each text."""


class Answers:
    """What a model says to some texts, each asked once."""

    def __init__(self, ask: Ask, texts: Iterable[str]) -> None:
        unique = list(dict.fromkeys(texts))
        self._row = {text: row for row, text in enumerate(unique)}
        self._given = ask(unique)
        if len(self._given.label) != len(unique):
            raise ValueError(f"{len(self._given.label)} answers to {len(unique)} texts")

    def label(self, text: str) -> LabelName:
        """The label given, neutral included."""
        return LABELS[int(self._given.label[self._row[text]])]

    def score(self, text: str, emotion: Emotion) -> float:
        """The probability of an emotion among the six."""
        return float(self._given.scores[self._row[text], EMOTIONS.index(emotion)])
