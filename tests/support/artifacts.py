"""Artefacts that differ from the bundled one, for tests that need a second model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec

from worker.model import artifact as artifacts
from worker.model.bundled import bundled_model

_SERVED = ("config.json", "tokenizer.json", "model.safetensors", "openvino.xml", "openvino.bin")


def variant(folder: Path, **changes: Any) -> Path:
    """The bundled model in `folder` with another manifest: `name`, `version`, `text_version`, ..."""
    folder.mkdir()
    for name in _SERVED:
        shutil.copy(bundled_model() / name, folder / name)
    manifest = artifacts.load(bundled_model()).manifest
    artifacts.write_manifest(folder, msgspec.structs.replace(manifest, **changes))
    return folder
