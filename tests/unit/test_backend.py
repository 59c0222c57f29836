"""Which backend computes a model."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import msgspec
import pytest

from tests.support.artifacts import variant
from tests.support.small_model import write_small_model
from worker.errors import ArtifactError, ConfigurationError
from worker.model import artifact as artifacts
from worker.model import backend as backends
from worker.model.artifact import Artifact, load, write_manifest
from worker.model.backend import make
from worker.model.bundled import bundled_model
from worker.model.native import library as libraries

NATIVE = pytest.mark.skipif(
    libraries.library() is None,
    reason="our forward pass is not compiled here: Linux on x86-64, `make install`",
)


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(backends, "_cuda", lambda: False)
    caplog.set_level(logging.INFO)


@pytest.fixture
def bundled() -> Artifact:
    return load(bundled_model())


def without(folder: Path, name: str) -> Artifact:
    """The bundled model less one file."""
    variant(folder)
    (folder / name).unlink()
    return write_manifest(folder, artifacts.load(bundled_model()).manifest)


@NATIVE
def test_a_model_in_8_bits_is_computed_by_ourselves(bundled: Artifact) -> None:
    assert make(bundled).name == "native"


def test_without_a_library_openvino_computes_it(
    bundled: Artifact, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(libraries, "library", lambda: None)
    assert make(bundled, streams=1).name == "openvino"
    assert "OpenVINO computes it: our own forward pass is there for Linux on x86-64" in caplog.text
    with pytest.raises(ConfigurationError, match=r"model\.backend=native cannot serve default@"):
        make(bundled, "native")


def test_without_the_weights_openvino_computes_it(tmp_path: Path) -> None:
    made = without(tmp_path / "graph", "model.safetensors")
    assert make(made, streams=1).name == "openvino"
    with pytest.raises(ArtifactError, match=r"model\.safetensors is missing"):
        make(made, "native")


def test_a_graph_in_single_precision_stays_in_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An imported model is held to its author's logits, until somebody asks for 8 bits."""
    folder = variant(tmp_path / "single")
    graph = folder / "openvino.xml"
    small = write_small_model(tmp_path / "small", "small")
    for name in ("openvino.xml", "openvino.bin"):
        shutil.copy(small.path / name, folder / name)
    assert b'"i8"' not in graph.read_bytes()
    made = write_manifest(folder, msgspec.structs.replace(small.manifest, files={}))
    assert make(made, streams=1).name == "openvino"
    assert "served in single precision" in caplog.text


@NATIVE
def test_weights_of_another_network_than_the_manifest_names(tmp_path: Path, bundled: Artifact) -> None:
    folder = variant(tmp_path / "other", neutral=None)
    with pytest.raises(ArtifactError, match="the weights give 7 logits, the manifest names 6"):
        make(load(folder), "native")


@NATIVE
def test_a_network_that_it_does_not_know(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = variant(tmp_path / "strange")
    config = folder / "config.json"
    config.write_text(
        config.read_text().replace('"position_embedding_type": "absolute"', '"is_decoder": true')
    )
    made = write_manifest(folder, artifacts.load(bundled_model()).manifest)
    assert make(made, streams=1).name == "openvino"
    assert "OpenVINO computes it: it is a decoder" in caplog.text
    with pytest.raises(ConfigurationError, match=r"native cannot serve .*it is a decoder"):
        make(made, "native")
