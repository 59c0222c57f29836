"""Where costly results are kept from one training to the next."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "MOODSTREAM_CACHE"
"""The same that the throwaway servers obey."""


def folder_for(what: str) -> Path:
    """A folder below `$MOODSTREAM_CACHE`, else below ~/.cache/moodstream; it may not exist yet."""
    given = os.environ.get(CACHE_VARIABLE)
    return (Path(given) if given else Path.home() / ".cache" / "moodstream") / what
