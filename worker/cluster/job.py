"""What travels to the machines of a cluster, and what a process there makes of it, once.

The model does not travel. Each process opens the artefact where it lies on its own machine, checks that it is
the one that the job was started with, and keeps it for all the batches that it is given.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import msgspec

from worker.errors import ArtifactError, ConfigurationError
from worker.model import artifact as artifacts
from worker.model.artifact import MANIFEST
from worker.model.bundled import bundled_model
from worker.model.classifier import Classifier
from worker.process import VERSION
from worker.settings import Settings
from worker.stream.role import open_classifier
from worker.types import EMOTIONS

BATCH_ROWS = 8192
"""Rows of an Arrow batch: what the loop takes at once anyway. Some 30 MB with the answers."""

ADDED = ("label", "score", "scores", "neutral", "model", "error")
"""The columns that each row gets, named as in a message of `emotion-labels`. `error` says why there is no
label; then the others are null."""

ADDED_DDL = (
    f"label string, score double, scores struct<{', '.join(f'{name}: double' for name in EMOTIONS)}>, "
    "neutral double, model string, error string"
)
"""The same as Spark declares them."""


class Wanted(msgspec.Struct, frozen=True):
    """A model, and how it answers."""

    path: str | None
    """Of the folder, on each machine; None: the one that comes with moodstream."""
    digest: str
    """SHA-256 of the manifest, which holds that of every other file."""
    name: str
    """`name@version`."""
    version: str
    """Of moodstream."""
    settings: bytes
    """JSON: the sections of the settings that change an answer. No address and no secret is among them."""


class Job(msgspec.Struct, frozen=True):
    """All that travels."""

    wanted: Wanted
    text: str
    """The column to label."""
    kept: tuple[str, ...]
    """The columns that go along as they are, in this order."""

    @property
    def read(self) -> tuple[str, ...]:
        """The columns that are read, each once."""
        return self.kept if self.text in self.kept else (*self.kept, self.text)


class Opened(NamedTuple):
    """A model as one process has it."""

    classifier: Classifier
    settings: Settings


def wanted_by(settings: Settings, folder: Path | None = None) -> Wanted:
    """The model of the settings as other machines shall open it.

    Args:
        settings: `model.path` is told to the others as it is; a relative one is looked for there.
        folder: Where it lies on this machine, if not there.

    Raises:
        ArtifactError: it is incomplete, altered or unsafe.
    """
    artifact = artifacts.load(folder or settings.model.path or bundled_model())
    model = settings.model.model_dump(mode="json", exclude={"path", "store"})
    sections = {
        # Engines run a process a core. More threads than that would take turns.
        "model": model | {"streams": settings.model.streams or 1},
        "batch": settings.batch.model_dump(mode="json"),
        "worker": {
            "dead_letters": settings.worker.dead_letters.model_dump(mode="json"),
            "label_text": "off",  # it would only be thrown away
        },
    }
    path = settings.model.path
    return Wanted(
        path=None if path is None else str(path),
        digest=_digest(artifact.path),
        name=artifact.full_name,
        version=VERSION,
        settings=msgspec.json.encode(sections),
    )


def flags_of(model: str | PathLike[str] | None, settings: Mapping[str, str]) -> dict[str, str]:
    """Flags for `worker.configuration.load` of what a call in Python was given: `__` for the dot."""
    flags = {name.replace("__", "."): value for name, value in settings.items()}
    return flags if model is None else flags | {"model.path": str(model)}


def job_of(model: Wanted, columns: Sequence[str], *, text: str, others: Sequence[str]) -> Job:
    """A job over a table with these columns.

    Args:
        model: What labels.
        columns: All that the table has.
        text: The column to label.
        others: Those that go along, such as the id.

    Raises:
        ConfigurationError: the table has no such column, or one that goes along has the name of an added one.
    """
    kept = tuple(dict.fromkeys(others))
    # Spark takes `Label` and `label` for one column.
    added = [name for name in kept if name.lower() in ADDED]
    problems = [
        *(
            f"the input has no column {name}; it has: {', '.join(columns)}"
            for name in dict.fromkeys((text, *kept))
            if name not in columns
        ),
        *(f"column {name} has the name of a column that is added: rename it in the input" for name in added),
    ]
    if problems:
        raise ConfigurationError(problems)
    return Job(model, text, kept)


@lru_cache(maxsize=2)  # a job may hold two against each other
def opened(model: Wanted) -> Opened:
    """The model in this process: loaded and warm the first time, later the same one.

    Raises:
        ArtifactError: it is not here, or another one than the job was started with.
        ConfigurationError: this machine has another moodstream.
    """
    if model.version != VERSION:
        raise ConfigurationError(
            [
                f"this machine has moodstream {VERSION}, and the job was started with {model.version}:"
                " install the same everywhere, or two posts of one text may get two labels"
            ]
        )
    # Hugging Face's tokenizer would take every core, and there is a process on each.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    path = bundled_model() if model.path is None else Path(model.path)
    if path.is_dir() and (found := _digest(path)) != model.digest:
        raise ArtifactError(
            path,
            [
                f"the job was started with {model.name}, whose {MANIFEST} has the SHA-256"
                f" {model.digest[:12]}; here it has {found[:12]}: copy the same folder to every machine"
            ],
        )
    sections = msgspec.json.decode(model.settings)
    sections["model"]["path"] = path
    settings = Settings.model_validate(sections)
    return Opened(open_classifier(settings), settings)


def require(extra: str, *packages: str) -> None:
    """Say what to install where a package is not there.

    Raises:
        ConfigurationError: names the extra of moodstream that brings it.
    """
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if absent:
        raise ConfigurationError(
            [
                f"this needs {' and '.join(absent)}: pip install 'moodstream[{extra}]', or in a checkout:"
                f" make install EXTRA={extra}"
            ]
        )


def _digest(folder: Path) -> str:
    """Of a folder's manifest; of one that has none, of nothing."""
    manifest = folder / MANIFEST
    return hashlib.sha256(manifest.read_bytes() if manifest.is_file() else b"").hexdigest()
