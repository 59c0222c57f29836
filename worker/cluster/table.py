"""Arrow batches in, labelled Arrow batches out: a row for each row, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pyarrow as pa

from worker.clock import SystemClock
from worker.cluster.job import ADDED, Job, Opened, opened
from worker.errors import ConfigurationError
from worker.replay.offline import answers
from worker.types import EMOTIONS, Label

_SCORES = pa.struct([(name, pa.float64()) for name in EMOTIONS])
_TYPES = {"score": pa.float64(), "scores": _SCORES, "neutral": pa.float64()}
SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in ADDED])
"""Of the added columns."""


def label_batches(job: Job, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Label one batch after the other with the model of this process.

    A row that cannot be labelled stays, with the reason in `error`: what the stream would write into the dead
    letter, and `moodstream classify` into the line.

    Raises:
        ArtifactError, ConfigurationError: as `opened`; or the text's column holds no text.
        DataLossAvertedError: the model is broken.
    """
    with_model = opened(job.wanted)
    for batch in batches:
        yield label_batch(job, batch, with_model)


def label_batch(job: Job, batch: pa.RecordBatch, with_model: Opened) -> pa.RecordBatch:
    """The kept columns of a batch and the added ones."""
    values = _values(batch.column(job.text), job.text)
    found = answers(values, with_model.classifier, with_model.settings, SystemClock())
    added = pa.RecordBatch.from_pylist([_row(answer) for answer in found], schema=SCHEMA)
    kept = batch.select(list(job.kept))
    return pa.RecordBatch.from_arrays(
        [*kept.columns, *added.columns], schema=pa.schema([*kept.schema, *SCHEMA])
    )


def _values(column: pa.Array, name: str) -> Iterator[bytes]:
    """Each text as the message that the stream would read; a null as one without a text.

    A text that is no UTF-8 goes as it is, so that the loop says what is wrong with it. Arrow does not look.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not any(is_text(column.type) for is_text in _TEXTS):
        raise ConfigurationError([f"column {name} holds {column.type}, no text"])
    for index, text in enumerate(column.cast(pa.large_binary()).to_pylist()):
        if text is None:
            yield msgspec.json.encode({"id": index})
            continue
        try:
            yield msgspec.json.encode({"id": index, "text": text.decode()})
        except UnicodeDecodeError:
            yield text


_TEXTS = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_null,
)


def _row(answer: Label | str) -> dict[str, Any]:
    """The added columns of one row; what is not there is null."""
    if isinstance(answer, str):
        return {"error": answer}
    row = {name: getattr(answer, name) for name in ("label", "score", "neutral", "model")}
    return row | {"scores": msgspec.structs.asdict(answer.scores)}
