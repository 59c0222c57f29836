from __future__ import annotations

from pathlib import Path

import pytest

from worker.errors import ArtifactError
from worker.model.bundled import bundled_model
from worker.model.shelf import Shelf


def folder(store: Path, name: str, manifest: str) -> Path:
    made = store / name
    made.mkdir()
    (made / "manifest.json").write_text(manifest)
    return made


def test_models_are_found_by_name_and_version_whatever_their_folder_is_called(tmp_path: Path) -> None:
    old = folder(tmp_path, "x", '{"name": "mood", "version": "1"}')
    new = folder(tmp_path, "y", '{"name": "mood", "version": "2"}')
    (tmp_path / "half-copied").mkdir()
    folder(tmp_path, "broken", "{")
    shelf = Shelf(tmp_path, [bundled_model()])

    assert (shelf.find("mood@1"), shelf.find("mood@2")) == (old, new)
    assert any(shelf.find(name) == bundled_model() for name in shelf.names())
    assert len(shelf.names()) == 3


def test_a_model_that_is_not_here_is_refused_with_what_is(tmp_path: Path) -> None:
    folder(tmp_path, "x", '{"name": "mood", "version": "1"}')
    with pytest.raises(ArtifactError, match=r"mood@2: it is not in .*; there is: mood@1"):
        Shelf(tmp_path).find("mood@2")
    with pytest.raises(ArtifactError, match=r"model\.store, which is not set; there is: nothing"):
        Shelf(None).find("mood@2")
