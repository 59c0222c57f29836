"""A model folder is loaded only where it is whole, unaltered and safe."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from worker.errors import ArtifactError
from worker.model.artifact import (
    Artifact,
    DataSource,
    Manifest,
    NeutralGate,
    load,
    verify,
    write_manifest,
)
from worker.types import EMOTIONS

MANIFEST = Manifest(
    name="tiny",
    version="1.0",
    labels=list(EMOTIONS),
    neutral=NeutralGate(index=6, temperature=1.5, threshold=0.6),
    temperature=1.2,
    architecture="bert",
    max_length=128,
    text_version=1,
    created=datetime(2026, 11, 1, tzinfo=UTC),
    base="none",
    data=[DataSource("written here", "Apache-2.0", 6)],
    scores={"emotion/test": {"accuracy": 0.93}},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    for name in ("config.json", "tokenizer.json", "openvino.xml", "model.safetensors"):
        (path / name).write_bytes(b"{}" + name.encode())
    (path / "openvino.bin").write_bytes(bytes(range(256)))
    (path / "README.md").write_text("A card.\n")
    write_manifest(path, MANIFEST)
    return path


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest's JSON in place."""
    raw = json.loads((folder / "manifest.json").read_bytes())
    change(raw)
    (folder / "manifest.json").write_text(json.dumps(raw))


def problems(folder: Path) -> str:
    """What `load` refuses a folder for."""
    with pytest.raises(ArtifactError) as refused:
        load(folder)
    assert refused.value.path == str(folder)
    return str(refused.value)


def test_a_whole_folder_loads(folder: Path) -> None:
    artifact = load(folder)

    assert artifact.full_name == "tiny@1.0"
    assert artifact.logits == 7
    assert msgspec.structs.replace(artifact.manifest, files={}) == MANIFEST
    assert set(artifact.manifest.files) == {
        *("config.json", "tokenizer.json", "openvino.xml", "openvino.bin", "model.safetensors")
    }
    for file in (
        artifact.config_path,
        artifact.tokenizer_path,
        artifact.safetensors_path,
        artifact.openvino_path,
    ):
        assert file.is_file()
    assert artifact.has("openvino.bin")
    assert not artifact.has("README.md")


def test_the_card_and_pictures_are_not_pinned(folder: Path) -> None:
    (folder / "README.md").write_text("Another card.\n")
    (folder / "confusion.png").write_bytes(b"\x89PNG")

    load(folder)


def test_half_an_artefact_is_enough_for_one_kind_of_machine(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    write_manifest(folder, msgspec.structs.replace(MANIFEST, neutral=None))

    artifact = load(folder)

    assert artifact.logits == 6
    assert not artifact.has("model.safetensors")


def test_missing_folder_and_manifest(tmp_path: Path) -> None:
    assert "no such folder" in problems(tmp_path / "nowhere")
    assert "manifest.json is missing" in problems(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[1]", b"3"])
def test_a_manifest_that_is_no_object(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)

    assert "manifest.json" in problems(folder)


@pytest.mark.parametrize("number", [None, 0, 2, "1"])
def test_another_format(folder: Path, number: object) -> None:
    edit(folder, lambda raw: raw.update(format=number))

    assert f"format {number!r}, this release reads 1: update moodstream" in problems(folder)


def test_every_wrong_field_is_listed_at_once(folder: Path) -> None:
    def spoil(raw: dict[str, Any]) -> None:
        del raw["labels"]
        raw.update(temperature=0, version="../up", colour="red", created="yesterday")
        raw["neutral"]["threshold"] = 2
        raw["files"]["config.json"]["sha256"] = "abc"

    edit(folder, spoil)
    found = problems(folder)

    assert len(found.splitlines()) == 7
    for field in ("labels: missing", "temperature", "version", "colour: unknown", "created"):
        assert field in found
    assert "threshold" in found
    assert "sha256" in found


def test_every_wrong_meaning_is_listed_at_once(folder: Path) -> None:
    def spoil(raw: dict[str, Any]) -> None:
        raw.update(labels=["joy", "joy", "boredom"], text_version=999)

    edit(folder, spoil)
    found = problems(folder)

    assert "['boredom'], known are" in found
    assert "names an emotion twice" in found
    assert "neutral.index is 6" in found
    assert "text_version 999 is unknown" in found


def test_no_labels(folder: Path) -> None:
    edit(folder, lambda raw: raw.update(labels=[], neutral=None))

    assert "labels is empty" in problems(folder)


def test_every_wrong_file_is_listed_at_once(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"[]config.json")  # The same size.
    (folder / "openvino.bin").write_bytes(b"short")
    (folder / "tokenizer.json").unlink()
    (folder / "extra").mkdir()
    (folder / "extra" / "notes.txt").write_text("hello")
    found = problems(folder)

    assert "config.json has another SHA-256" in found
    assert "openvino.bin has 5 bytes and should have 256" in found
    assert "tokenizer.json is missing" in found
    assert "extra/notes.txt is not listed" in found


def test_files_that_must_be_listed(folder: Path) -> None:
    edit(folder, lambda raw: [raw["files"].pop(name) for name in list(raw["files"])[:3]])
    found = problems(folder)  # Left are openvino.xml and tokenizer.json.

    assert "does not list config.json" in found
    assert "lists openvino.xml alone" in found


def test_no_weights(folder: Path) -> None:
    edit(folder, lambda raw: raw.update(files={}))

    assert "lists no weights" in problems(folder)


@pytest.mark.parametrize(
    "name", ["../secret.json", "/etc/hostname", "a/../../b", "a\\b", "./config.json", "", "a//b"]
)
def test_a_path_that_leaves_the_folder(folder: Path, name: str) -> None:
    edit(folder, lambda raw: raw["files"].update({name: raw["files"]["config.json"]}))

    assert f"{name!r}, which is no plain path" in problems(folder)


def test_a_symbolic_link_to_a_file_or_a_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").rename(tmp_path / "config.json")
    (folder / "config.json").symlink_to(tmp_path / "config.json")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "vocab.txt").write_text("a")
    (folder / "sub").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    edit(folder, lambda raw: raw["files"].update({"sub/vocab.txt": raw["files"]["config.json"]}))
    found = problems(folder)

    assert "config.json is a symbolic link" in found
    assert "sub is a symbolic link" in found


def test_a_manifest_that_is_a_symbolic_link(folder: Path, tmp_path: Path) -> None:
    (folder / "manifest.json").rename(tmp_path / "manifest.json")
    (folder / "manifest.json").symlink_to(tmp_path / "manifest.json")

    assert "no plain file" in problems(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes: run it on Linux or macOS")
def test_a_named_pipe_does_not_hang_us(folder: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")

    assert "config.json is missing" in problems(folder)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "a.pt", "a.pth", "a.pkl", "a.ckpt", "sub/openvino.bin"]
)
def test_a_pickle_by_name(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"harmless")

    with pytest.raises(ArtifactError, match="has the name of a pickle"):
        write_manifest(folder, MANIFEST)


class Bomb:
    """Unpickles to a call."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (print, ("unpickled",))


def zip_of_a_pickle() -> bytes:
    """As torch.save writes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb()))
    return buffer.getvalue()


def legacy_torch() -> bytes:
    """Torch's format before 1.6: several pickles, then raw storage."""
    head = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(1001, protocol=2)
    return head + pickle.dumps(Bomb(), protocol=2) + bytes(1000)


@pytest.mark.parametrize(
    "content",
    [
        *(pytest.param(pickle.dumps(Bomb(), protocol=n), id=f"protocol {n}") for n in range(6)),
        pytest.param(pickle.dumps(list(range(1000)), protocol=0), id="long, protocol 0"),
        pytest.param(legacy_torch(), id="legacy torch"),
        pytest.param(zip_of_a_pickle(), id="zip"),
    ],
)
@pytest.mark.parametrize("name", ["openvino.bin", "model.safetensors", "config.json"])
def test_a_pickle_by_content(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)

    with pytest.raises(ArtifactError, match=f"{name} is a pickle or a zip by its content"):
        write_manifest(folder, MANIFEST)


def test_weights_that_begin_like_a_pickle_are_no_pickle(folder: Path) -> None:
    draw = random.Random(7)
    for _ in range(200):
        weights = bytes([0x80, draw.randint(0, 5)]) + draw.randbytes(500)
        (folder / "openvino.bin").write_bytes(weights)
        write_manifest(folder, MANIFEST)


def test_verify_sees_what_changed_after_loading(folder: Path) -> None:
    artifact = load(folder)
    verify(artifact)
    (folder / "tokenizer.json").write_bytes(b"altered")

    with pytest.raises(ArtifactError, match=r"tokenizer\.json has 7 bytes"):
        verify(Artifact(folder, artifact.manifest))


def test_the_manifest_is_readable_and_ends_with_a_line_break(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()

    assert text.startswith('{\n  "format": 1,\n  "name": "tiny"')
    assert text.endswith("}\n")
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []
