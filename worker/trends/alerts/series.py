"""What is judged: a count of posts, and the posts that it is a part of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from worker.types import EMOTIONS, Emotion

ALL = "all"
"""How no emotion in particular is written in ids and metrics."""


class Series(NamedTuple):
    """One count over time, and the whole that it is a part of.

    | query | emotion | counted                          | part of             |
    |-------|---------|----------------------------------|---------------------|
    | -     | joy     | posts that express joy           | all posts           |
    | brand | -       | posts that match brand           | all posts           |
    | brand | joy     | those of them that express joy   | posts that match    |
    | -     | -       | all posts                        | nothing             |
    """

    query: str | None = None
    emotion: Emotion | None = None

    @property
    def key(self) -> str:
        """A name that is this series' alone; the query comes last, because it may hold the separator."""
        return f"{'volume' if self.emotion is None else 'emotion'}/{self.emotion or ALL}/{self.query or ''}"

    @property
    def is_all(self) -> bool:
        """Whether it is all posts, which are no part of anything."""
        return self.query is None and self.emotion is None


def all_series(queries: Iterable[str]) -> Iterator[Series]:
    """Everything that is judged. Neutral is no emotion: where it grows, so does the volume."""
    for query in (None, *queries):
        yield Series(query)
        for emotion in EMOTIONS:
            yield Series(query, emotion)
