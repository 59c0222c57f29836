"""`moodstream bench cpu`: this classifier and its peers on the same posts, model and cores, in one run.

Each is a process of its own, alone on the machine, from the post's text to its answer. Speeds on a shared
machine drift, so the ratios of one run are what counts.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import track

from worker.bench.cpu_peers import PEERS
from worker.errors import ConfigurationError, DependencyError

_LIMIT_S = 900.0
"""For one peer, loading and exporting included."""


class Measured(msgspec.Struct, frozen=True):
    """What one peer did."""

    posts_per_s: float
    p50_ms: float
    """Median time of a call, in milliseconds: what the first of its posts waits for all of them."""
    posts_at_once: int
    """Posts in a call."""
    calls: int


def run(
    model: Path, texts: Sequence[str], *, seconds: float, only: Sequence[str] = ()
) -> dict[str, Measured]:
    """Measure every peer that is installed, in the order of `PEERS`.

    Args:
        model: Folder of an artefact with both forms of the model.
        texts: Posts; used again from the beginning where they do not suffice.
        seconds: To measure each of them for, after a fifth of it to warm up.
        only: Those with one of these words in their name; all of them where empty.

    Raises:
        ConfigurationError: No peer has such a name.
        DependencyError: A peer that is installed failed; says why.
    """
    names = [name for name in PEERS if not only or any(words in name for words in only)]
    if not names:
        raise ConfigurationError([f"--only {' '.join(only)}: there are {'; '.join(PEERS)}"])
    if "infinity" in names and importlib.util.find_spec("infinity_emb") is None:
        names.remove("infinity")
        Console(stderr=True).print("infinity is left out: it comes with pip install 'infinity-emb[torch]'")
    with tempfile.TemporaryDirectory(prefix="moodstream-bench-") as scratch:
        file = Path(scratch) / "texts.txt"
        file.write_text("\n".join(" ".join(text.split()) for text in texts), encoding="utf-8")
        watched = track(names, console=Console(stderr=True), description="measuring")
        return {name: _measure(name, model, file, seconds) for name in watched}


def _measure(name: str, model: Path, texts: Path, seconds: float) -> Measured:
    command = [sys.executable, "-m", "worker.bench.cpu_peers", name, str(model), str(texts), str(seconds)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=True)  # noqa: S603
        return msgspec.convert(json.loads(done.stdout.splitlines()[-1]), Measured)
    except subprocess.TimeoutExpired as error:
        raise DependencyError(name, f"gave no figures within {_LIMIT_S:.0f} s") from error
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DependencyError(name, f"failed: {reason}") from error
