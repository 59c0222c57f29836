"""Where the model that comes with moodstream lies."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_PLACES = (_PACKAGE / "bundled" / "default", _PACKAGE.parent / "models" / "default")
"""In an installed wheel; in a checkout."""


def bundled_model() -> Path:
    """The folder of the bundled artefact; loading it says what is wrong if it is not there."""
    return next((place for place in _PLACES if place.is_dir()), _PLACES[-1])
