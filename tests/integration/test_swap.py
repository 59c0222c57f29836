"""Another model on a running stream, by the real command, on a real Kafka."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.kafka import KafkaUnderTest
from tests.support.models import bundled_as
from tests.support.pipeline import Pipeline
from tests.support.small_model import write_small_model
from tests.support.traffic import Traffic
from tests.support.waiting import eventually
from worker.clock import SystemClock
from worker.local.redis import RealRedis
from worker.model.artifact import load as load_artifact
from worker.model.artifact import write_manifest
from worker.model.classifier import load
from worker.replay.offline import label_texts
from worker.settings import Settings
from worker.types import Label, OutRecord

pytestmark = pytest.mark.slow

SMALL, MILDER = "small@1", "small@milder"
PER_S = 100
ALONE_EVERY = 7
"""Of so many labels one is held against what its model says when it is asked alone."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two more models: the running one with milder answers, and one that was damaged on its way."""
    folder = tmp_path / "store"
    write_small_model(folder / "milder", "milder", temperature=3.0)
    damaged = write_small_model(folder / "damaged", "damaged").path / "openvino.bin"
    raw = bytearray(damaged.read_bytes())
    raw[len(raw) // 2] ^= 1
    damaged.write_bytes(raw)
    return folder


@pytest.fixture
def pipeline(
    kafka: KafkaUnderTest, redis_server: RealRedis, tmp_path: Path, store: Path, small_model: Path
) -> Iterator[Pipeline]:
    control = kafka.topic("control")
    made = Pipeline(
        kafka,
        redis_server,
        tmp_path,
        MOODSTREAM_MODEL__PATH=str(small_model),
        MOODSTREAM_TOPICS__CONTROL=control,
        MOODSTREAM_MODEL__STORE=str(store),
    )
    yield made
    made.close()


def moodstream(pipeline: Pipeline, *command: str) -> tuple[int, dict[str, Any]]:
    """A command with the pipeline's settings: its exit code and its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "worker", *command, "--json"],
        env={**os.environ, **pipeline.environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stderr
    return done.returncode, json.loads(lines[-1])


def to_send(texts: Sequence[str], index: int) -> OutRecord:
    value = msgspec.json.encode({"id": index, "text": texts[index % len(texts)]})
    return OutRecord("", b"%d" % (index % 97), value)


def test_models_are_swapped_under_load_and_every_label_says_who_made_it(
    pipeline: Pipeline, posts: list[str], small_model: Path, store: Path
) -> None:
    pipeline.worker.start()
    eventually(pipeline.worker.ready, within_s=60)
    with Traffic(pipeline.kafka, pipeline.input, partial(to_send, posts), per_s=PER_S) as traffic:
        for name in (MILDER, SMALL, MILDER):
            code, answer = moodstream(pipeline, "model", "promote", name)
            assert code == 0, answer
            assert (len(answer["serving"]), answer["refused"], answer["silent"]) == (1, {}, 0)
        code, answer = moodstream(pipeline, "model", "promote", "small@damaged")
    assert code == 1
    assert answer["serving"] == []
    [reason] = answer["refused"].values()
    assert answer["taken_back"]
    assert "openvino.bin has another SHA-256 than the manifest says" in reason
    code, shown = moodstream(pipeline, "control", "show")
    assert code == 0
    assert [report["model"] for report in shown["workers"]] == [MILDER]
    assert pipeline.worker.metric("moodstream_model_swaps_total", outcome="refused") == 1
    assert pipeline.worker.metric("moodstream_rebalances_total", kind="revoked") == 0

    eventually(pipeline.caught_up, within_s=60, every_s=0.5)
    labels, dead = pipeline.outcomes()
    assert dead == []
    assert Counter(label.id for label in labels) == Counter(range(traffic.sent))
    assert {label.model for label in labels} == {SMALL, MILDER}
    hold_against_the_model_alone(labels, posts, {SMALL: small_model, MILDER: store / "milder"})

    pipeline.worker.kill()
    pipeline.kafka.produce(pipeline.input, [OutRecord("", b"k", b'{"id": -1, "text": "hello again"}')])
    pipeline.worker.start()
    eventually(pipeline.caught_up, within_s=60, every_s=0.5)
    last = next(label for label in pipeline.outcomes()[0] if label.id == -1)
    assert last.model == MILDER, "a restart goes on with what was promoted last"


def hold_against_the_model_alone(labels: list[Label], posts: list[str], models: dict[str, Path]) -> None:
    """Every label is the answer of the model that it names, and not of another."""
    for name, folder in models.items():
        said = [label for label in labels if label.model == name][::ALONE_EVERY]
        classifier = load(load_artifact(folder), streams=1)
        texts = [posts[int(label.id) % len(posts)] for label in said]
        alone = list(label_texts(texts, classifier, Settings(), SystemClock()))
        classifier.close()
        assert len(said) > 10
        for label, expected in zip(said, alone, strict=True):
            assert expected is not None
            assert label.label == expected.label
            assert msgspec.structs.astuple(label.scores) == msgspec.structs.astuple(expected.scores)


def test_a_shadow_is_compared_and_a_promotion_held_to_its_figures(
    pipeline: Pipeline, posts: list[str]
) -> None:
    code, _ = moodstream(pipeline, "model", "shadow", MILDER, "--share", "0.5")
    assert code == 0
    pipeline.worker.start()
    eventually(pipeline.worker.ready, within_s=60)
    # It skips what comes while it starts, or while the machine is busy.
    with Traffic(pipeline.kafka, pipeline.input, partial(to_send, posts), per_s=PER_S) as traffic:
        eventually(lambda: compared(pipeline) > 100, within_s=150, every_s=0.5)
    eventually(pipeline.caught_up, within_s=60, every_s=0.5)

    labels, _ = pipeline.outcomes()
    assert len(labels) == traffic.sent
    assert {label.model for label in labels} == {SMALL}
    eventually(lambda: moodstream(pipeline, "control", "show")[1]["compared"] is not None, within_s=30)
    refused = subprocess.run(
        [sys.executable, "-m", "worker", "model", "promote", MILDER, "--max-disagreement", "0.9"],
        env={**os.environ, **pipeline.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 1
    assert "1000 are asked for" in refused.stderr


def compared(pipeline: Pipeline) -> float:
    return pipeline.worker.metric("moodstream_shadow_posts_total", model_version=MILDER)


def test_a_model_that_is_worse_on_a_fixed_test_is_not_promoted(
    pipeline: Pipeline, store: Path, tmp_path: Path
) -> None:
    """With --gate the command asks both models first; what is refused changes nothing."""
    del pipeline.environment["MOODSTREAM_MODEL__PATH"]  # the bundled one: here its answers must be right
    bundled_as(store / "mild", "milder", temperature=3.0)
    crossed = bundled_as(store / "crossed", "crossed")
    labels = crossed.manifest.labels
    write_manifest(crossed.path, msgspec.structs.replace(crossed.manifest, labels=[*labels[1:], labels[0]]))
    test = tmp_path / "test.txt"
    rows = {"i feel so happy and cheerful": "joy", "i am furious and so angry": "anger"}
    test.write_text("\n".join(f"{text} {n};{label}" for n in range(100) for text, label in rows.items()))

    code, answer = moodstream(pipeline, "model", "promote", "default@crossed", "--gate", str(test))
    assert code == 1
    assert "McNemar" in answer["gate"][0]
    assert moodstream(pipeline, "control", "show")[1]["model"] is None

    code, answer = moodstream(pipeline, "model", "promote", "default@milder", "--gate", str(test))
    assert code == 0
    assert moodstream(pipeline, "control", "show")[1]["model"]["model"] == "default@milder"
