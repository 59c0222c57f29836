"""How sure a model is on texts that it was not trained on: `reference.json` in its artefact, if there is one.

    {"format": 1, "texts": 2000, "edges": [0.3, ...], "labels": {"joy": [0, 3, ...], ...}}

Of each label how many validation texts were given it with a confidence in each bin of
`worker.distribution`. The file is pinned by the manifest like any other, and no release needs it: those
that know nothing of it load the artefact as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from worker.distribution import COLUMNS, CONFIDENCE_EDGES, SHAPE, confidence_column
from worker.errors import ArtifactError
from worker.model.artifact import MANIFEST, FileEntry
from worker.types import LABELS, Classified, LabelName

REFERENCE = "reference.json"


class _Reference(msgspec.Struct):
    texts: int
    edges: tuple[float, ...]
    labels: dict[LabelName, list[int]]
    format: Literal[1] = 1


class _Files(msgspec.Struct):
    files: dict[str, FileEntry]


def write_reference(folder: Path, answers: Sequence[Classified]) -> None:
    """Write what a model answered for its validation texts, before the manifest pins it."""
    bins = COLUMNS["confidence"].stop
    labels: dict[LabelName, list[int]] = {name: [0] * bins for name in LABELS}
    for answered in answers:
        all_scores = np.column_stack([answered.scores, answered.neutral])
        for row, given in zip(all_scores, answered.label.tolist(), strict=True):
            labels[LABELS[given]][confidence_column(float(row[given]))] += 1
    n = sum(map(sum, labels.values()))
    body = msgspec.json.encode(_Reference(n, CONFIDENCE_EDGES, labels))
    (folder / REFERENCE).write_bytes(body + b"\n")


def read_reference(folder: Path) -> NDArray[np.float64] | None:
    """(7, columns) of `worker.distribution`, those of confidence filled; None where the artefact has none.

    Raises:
        ArtifactError: there is one, and it is not what the manifest pins, or not one that can be read.
    """
    try:
        pinned = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=_Files).files.get(REFERENCE)
        if pinned is None:
            return None
        body = (folder / REFERENCE).read_bytes()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArtifactError(folder, [f"{REFERENCE} cannot be read: {error}"]) from error
    if hashlib.sha256(body).hexdigest() != pinned.sha256:
        raise ArtifactError(folder, [f"{REFERENCE} has another SHA-256 than the manifest says"])
    try:
        found = msgspec.json.decode(body, type=_Reference)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArtifactError(folder, [f"{REFERENCE}: {error}"]) from error
    bins = COLUMNS["confidence"]
    if found.edges != CONFIDENCE_EDGES or any(len(row) != bins.stop for row in found.labels.values()):
        raise ArtifactError(folder, [f"{REFERENCE} has other bins than this release counts in"])
    counts = np.zeros(SHAPE)
    for name, row in found.labels.items():
        counts[LABELS.index(name), bins] = row
    return counts
