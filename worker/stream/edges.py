"""What the loop needs from outside, as protocols: a source, a model, a publisher."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worker.errors import MoodstreamError
from worker.stream.batch import Batch
from worker.types import Classified, OutRecord, Record, TopicPartition

OnRevoke = Callable[[Collection[TopicPartition]], None]
"""Called, from inside `take` or `heartbeat`, with partitions whose records must be forgotten: another worker
reads them from now on, or they come again from what is committed."""


class AbortedError(MoodstreamError):
    """A publication did not happen, none of it; go back to what is committed and try again."""


class Source(Protocol):
    """Where records come from: several partitions, each in the order of its offsets."""

    def open(self, on_revoke: OnRevoke) -> None:
        """Begin reading at what is committed."""
        ...

    def take(self, limit: int, timeout_s: float) -> list[Record]:
        """At most `limit` records; waits up to `timeout_s` for them to fill it.

        Raises:
            DependencyError: the server refuses us for good.
        """
        ...

    def heartbeat(self) -> None:
        """Say that we are alive and fetch nothing: for when a batch takes long."""
        ...

    def rewind(self) -> None:
        """Go back to what is committed; all that was taken since comes again."""
        ...

    def close(self) -> None:
        """Leave."""
        ...


class Model(Protocol):
    """What labels posts; `worker.model.classifier.Classifier` is the real one."""

    name: str
    """`name@version`."""
    runtime: str
    """What computes it: native, openvino, torch, ..."""

    def prepare(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; on any thread, also while another prepares."""
        ...

    def was_cut(self, row: Sequence[int]) -> bool:
        """Whether a prepared row stands for a text longer than the model reads."""
        ...

    def classify(self, rows: Sequence[Sequence[int]]) -> Classified:
        """The answer for each prepared row, in their order; on the model's thread."""
        ...

    def close(self) -> None:
        """Give the model's memory back; on the model's thread, when it has answered its last batch."""
        ...


class SecondModel(Protocol):
    """A model that is asked beside the stream; `worker.model.model_process.ModelProcess` is the real one."""

    name: str
    """`name@version`."""

    def open(self) -> None:
        """Load it before it is asked; raises what `labels` would."""
        ...

    def labels(self, texts: Sequence[str]) -> NDArray[np.intp]:
        """(n,) the place in `LABELS` of each text's label; raises any error where there is none."""
        ...

    def close(self) -> None:
        """End; from any thread, also in the middle of an answer."""
        ...


class Watcher(Protocol):
    """Who looks at committed batches: a shadow model."""

    def saw(self, batch: Batch, answer: Classified, by: str, *, pressed: bool) -> None:
        """A batch is committed. Never waits.

        Args:
            batch: With a row of `answer` for each of its posts.
            answer: What the model said.
            by: The model's `name@version`.
            pressed: Whether posts are waiting or late: what can be left out should be.
        """
        ...


class Publisher(Protocol):
    """Where records go."""

    def publish(self, records: Sequence[OutRecord], positions: Mapping[TopicPartition, int]) -> None:
        """Publish all of `records` and commit `positions` (next offsets to read), or none of it.

        Raises:
            AbortedError: none of it happened.
            DataLossAvertedError: somebody else works in our name; going on would double records.
        """
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...
