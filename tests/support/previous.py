"""The release before this one, taken from the repository's history and run beside it."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

from tests.support.archives import extract

COMMIT = "2d3d1cd52dfe387a1dae3adbe865ceb8da060457"
"""Version 0.1.0 as of 21 November 2026: labels without text, one layout of Redis keys per partition."""
_ROOT = Path(__file__).parents[2]
_PARTS = ("worker", "models/default")


def missing() -> str | None:
    """Why it cannot be had, and how to get it; `None` where it can."""
    asked = _git("cat-file", "-e", f"{COMMIT}^{{commit}}")
    if asked.returncode == 0:
        return None
    return (
        f"the previous release is commit {COMMIT[:10]} of this repository's history, which this copy lacks: "
        "git fetch --unshallow, or clone it whole"
    )


def unpack(folder: Path) -> Path:
    """Put it into a folder; a process whose working directory is there runs it with `python -m worker`."""
    packed = folder / "previous.tar"
    done = _git("archive", f"--output={packed}", COMMIT, *_PARTS)
    assert done.returncode == 0, done.stderr
    with tarfile.open(packed) as archive:
        extract(archive, folder)
    packed.unlink()
    return folder


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False, timeout=60
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(arguments, 127, "", "no git: apt-get install git")
