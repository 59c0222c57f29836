"""Where a training keeps its checkpoints, and whether one may go on from them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from worker.errors import ConfigurationError

_IDENTITY = "training.json"
_WHOLE = "whole"


def folder_of(output: Path) -> Path:
    """The folder of a training's checkpoints: beside the artefact that it will become."""
    return output.with_name(f".{output.name}.training")


def open_folder(output: Path, identity: Mapping[str, object], *, fresh: bool) -> tuple[Path, Path | None]:
    """Make the folder, or find what a training that was killed has left there.

    Args:
        output: The folder to become the artefact.
        identity: What decides the result: recipe, data, base. Checkpoints of another one are not touched.
        fresh: Throw away what is there.

    Returns:
        The folder, and its last complete checkpoint if there is one.

    Raises:
        ConfigurationError: The checkpoints there belong to another training; names what differs.
    """
    folder = folder_of(output)
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    file = folder / _IDENTITY
    if file.is_file():
        differences = _differences(json.loads(file.read_text(encoding="utf-8")), identity)
        if differences:
            raise ConfigurationError(
                [f"{folder} holds checkpoints of another training: {line}" for line in differences]
                + ["choose another --output, or say --fresh to throw those checkpoints away"]
            )
        return folder, _last(folder)
    shutil.rmtree(folder, ignore_errors=True)  # Of a kill before anything was written down.
    folder.mkdir(parents=True)
    unfinished = folder / f"{_IDENTITY}.unfinished"
    unfinished.write_text(json.dumps(identity, indent=2), encoding="utf-8")
    unfinished.replace(file)
    return folder, None


def mark_whole(checkpoint: Path) -> None:
    """Say that nothing more will be written to a checkpoint: without this it is never gone on from.

    None of the Trainer's own files can say it: a kill may come while the last of them is half written.
    """
    (checkpoint / _WHOLE).touch()


def digest(*parts: object) -> str:
    """SHA-256 of the parts' representations: for texts and targets, too long to keep."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part if isinstance(part, bytes) else repr(part).encode())
    return whole.hexdigest()


def _last(folder: Path) -> Path | None:
    whole = [place for place in folder.glob("checkpoint-*") if (place / _WHOLE).is_file()]
    return max(whole, key=lambda place: int(place.name.rpartition("-")[2]), default=None)


def _differences(there: Mapping[str, object], here: Mapping[str, object]) -> list[str]:
    return [
        f"{key} is {there.get(key)!r} there and {here.get(key)!r} here"
        for key in sorted({*there, *here})
        if there.get(key) != here.get(key)
    ]
