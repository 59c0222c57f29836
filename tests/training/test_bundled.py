"""The model that comes with moodstream is whole, and is what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.data import build_corpus, load_sources
from worker.model import artifact
from worker.model.bundled import bundled_model
from worker.model.classifier import load as load_classifier
from worker.types import EMOTIONS, LABELS


@pytest.fixture(scope="module")
def bundled() -> artifact.Artifact:
    return artifact.load(bundled_model())


def test_every_hash_holds(bundled: artifact.Artifact) -> None:
    assert bundled.manifest.name == "default"
    assert bundled.manifest.labels == list(EMOTIONS)
    assert bundled.manifest.neutral is not None
    for name in ("openvino.xml", "openvino.bin", "model.safetensors"):
        assert bundled.has(name)


def test_its_measured_accuracy_is_what_is_asked_of_it(bundled: artifact.Artifact) -> None:
    figures = bundled.manifest.scores["emotion/test"]

    assert figures["rows"] == 2000
    assert figures["int8_accuracy"] >= 0.93
    assert figures["int8_ece"] <= 0.021
    assert figures["accuracy"] - figures["int8_accuracy"] <= 0.003


def test_it_tells_plain_cases(bundled: artifact.Artifact) -> None:
    classifier = load_classifier(bundled, "openvino")
    texts = {
        "i feel so lonely and hopeless tonight": "sadness",
        "i feel wonderful and so happy today": "joy",
        "i am furious about how they treated us": "anger",
        "i feel terrified of what comes next": "fear",
    }

    answer = classifier.classify(classifier.prepare(list(texts)))

    assert [LABELS[label] for label in answer.label] == list(texts.values())


def test_its_card_and_manifest_agree(bundled: artifact.Artifact) -> None:
    card = (bundled.path / "README.md").read_text(encoding="utf-8")

    assert f"# {bundled.full_name}" in card
    assert str(bundled.manifest.temperature) in card


def test_it_reads_published_texts_through_the_serving_path(bundled: artifact.Artifact, data: Path) -> None:
    classifier = load_classifier(bundled, "openvino")
    corpus = build_corpus(load_sources([data / "emotion"]), bundled.manifest.text_version)
    split = corpus.sources[0].splits["validation"].rows(list(range(500)))

    answer = classifier.classify(classifier.prepare(list(split.texts)))

    right = float(np.mean(answer.scores.argmax(axis=1) == split.emotion))
    assert right > 0.9
