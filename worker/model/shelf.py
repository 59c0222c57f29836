"""Where the artefacts lie that a worker may be told to serve: found by name and version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from worker.errors import ArtifactError
from worker.model.artifact import MANIFEST


class _Named(msgspec.Struct):
    name: str
    version: str


class Shelf:
    """Some model folders, and a folder of model folders.

    Looking reads manifests alone; whoever opens an artefact checks all of it.

    Args:
        store: A folder whose folders are artefacts, or None.
        folders: Artefacts that lie elsewhere: the bundled one, the one that the settings name.
    """

    def __init__(self, store: Path | None, folders: Sequence[Path] = ()) -> None:
        self._store = store
        self._folders = folders

    def find(self, full_name: str) -> Path:
        """The folder of `name@version`.

        Raises:
            ArtifactError: it is not here; says what is.
        """
        found = dict(self._all())
        if full_name not in found:
            where = self._store or "model.store, which is not set"
            have = ", ".join(sorted(found)) or "nothing"
            raise ArtifactError(full_name, [f"it is not in {where}; there is: {have}"])
        return found[full_name]

    def names(self) -> list[str]:
        """What is here."""
        return sorted(name for name, _ in self._all())

    def _all(self) -> Iterator[tuple[str, Path]]:
        """The store last: of two with one name, what was put there for workers is meant."""
        inside = sorted(self._store.iterdir()) if self._store is not None and self._store.is_dir() else []
        for folder in (*self._folders, *inside):
            try:
                named = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=_Named)
            except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
                continue  # half copied, or something else
            yield f"{named.name}@{named.version}", folder
