"""Unpacking archives that we have made or fetched."""

from __future__ import annotations

import tarfile
from pathlib import Path


def extract(archive: tarfile.TarFile, folder: Path) -> None:
    """Put all of it into a folder, and nothing beside it.

    Python before 3.11.4 has no filter against what leads out of the folder: such an archive is refused whole.
    """
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
        return
    for member in archive.getmembers():
        inside = (folder / member.name).resolve().is_relative_to(folder.resolve())
        if not inside or not (member.isfile() or member.isdir()):
            raise ValueError(f"{member.name!r} leads out of the folder")
    archive.extractall(folder)
