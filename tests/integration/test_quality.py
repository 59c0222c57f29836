"""The quality role on a real Kafka: every correction counted once, whatever is killed, and nothing else."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.support.kafka import KafkaUnderTest, create_topic, unique
from tests.support.quality_stream import QualityStream, people, settled, verdict
from tests.support.roles import RoleProcess
from tests.support.waiting import eventually
from worker.cli import cli
from worker.local.kafka import RealKafka
from worker.types import LABELS, Label, LabelName, OutRecord

LABELLED = int(os.environ.get("MOODSTREAM_TEST_LABELLED") or 1000)
"""Labels, of which people speak some 1.4 times each."""
ERROR_RATE = 0.12
KILLS = 2
SEED = 20261125


class Judged(NamedTuple):
    """A stream whose corrections were all dealt with, under kills."""

    stream: QualityStream
    role: RoleProcess
    labels: list[tuple[str, Label]]
    expected: Counter[tuple[LabelName, LabelName]]
    figures: dict[str, Any]


@pytest.fixture(scope="module")
def judged(kafka: KafkaUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    """Corrections, and a role that is killed in the midst of them."""
    rng = random.Random(SEED)
    stream = QualityStream(kafka, tmp_path_factory.mktemp("quality"))
    labels = stream.label(LABELLED, rng)
    said, expected = people(labels, ERROR_RATE, rng)
    stream.correct(said, rng)
    role = stream.role()
    role.start()
    try:
        for _ in range(KILLS):
            eventually(lambda: role.metric("moodstream_quality_corrections_total") > 100, within_s=60)
            role.kill()
            role.start()
        yield Judged(stream, role, labels, expected, settled(role, LABELLED, within_s=120))
    finally:
        stream.close()


def test_killed_in_the_midst_every_correction_counts_once(judged: Judged) -> None:
    figures = judged.figures["models"]["mini@1"]["all"]["all"]

    counted = Counter[tuple[LabelName, LabelName]]()
    for truth, row in zip(LABELS, figures["confusion"], strict=True):
        counted += Counter({(truth, answer): n for answer, n in zip(LABELS, row, strict=True)})
    assert counted == judged.expected, f"seed {SEED}"
    assert figures["n"] == LABELLED
    assert judged.stream.dead_letters() == []


def test_the_interval_covers_the_known_error_rate(judged: Judged) -> None:
    slices = judged.figures["models"]["mini@1"]["all"]

    for name in ("all", "random"):
        accuracy = slices[name]["accuracy"]
        assert accuracy["low"] <= 1 - ERROR_RATE <= accuracy["high"], name
        assert accuracy["high"] - accuracy["low"] < 0.08
    assert slices["random"]["n"] == pytest.approx(0.4 * LABELLED, rel=0.2)


def test_the_metrics_say_what_the_api_says(judged: Judged) -> None:
    accuracy = judged.figures["models"]["mini@1"]["week"]["random"]["accuracy"]
    where = {"model_version": "mini@1", "window": "week", "slice": "random"}

    assert judged.role.metric("moodstream_quality_accuracy", **where) == accuracy["value"]
    assert judged.role.metric("moodstream_quality_accuracy_low", **where) == accuracy["low"]
    assert judged.role.metric("moodstream_assigned_partitions") == 1
    assert judged.role.metric("moodstream_dependency_up", dependency="kafka") == 1
    schema = judged.role.get("/openapi.json").json()
    assert "200" in schema["paths"]["/api/quality"]["get"]["responses"]


def bad_corrections(judged: Judged) -> list[tuple[str, bytes | None]]:
    """What each will be called, and its bytes."""
    (ref, label), (_, other), *_ = judged.labels[::-1]
    topic, partition, offset = ref.split("/")
    far = f"{topic}/{partition}/{10**12}"
    marker = f"{topic}/{partition}/{int(offset) + 1}"  # of the last transaction
    soon = datetime.now(UTC) + timedelta(hours=1)
    return [
        ("empty_value", None),
        ("invalid_json", b"{"),
        ("invalid_utf8", b"\xff"),
        ("wrong_type", b"[]"),
        ("unknown_label_name", verdict(ref, label, "joy", label="boredom")),
        ("nobody", verdict(ref, label, "joy", by="")),
        ("nobody", verdict(ref, label, "joy", by="  ")),
        ("invalid_time", verdict(ref, label, "joy", at=datetime.now(UTC), by="eve").replace(b"Z", b"")),
        ("future_time", verdict(ref, label, "joy", at=soon)),
        ("invalid_label_ref", verdict(ref, label, "joy", label_ref="yesterday's")),
        ("foreign_topic", verdict(f"tweets/{partition}/{offset}", label, "joy")),
        ("no_such_label", verdict(far, label, "joy")),
        ("no_such_label", verdict(f"{topic}/77/0", label, "joy")),
        ("no_such_label", verdict(marker, label, "joy")),
        ("id_mismatch", verdict(ref, other, "joy")),
    ]


def test_what_is_wrong_is_a_dead_letter_and_changes_nothing_else(judged: Judged) -> None:
    bad = bad_corrections(judged)
    stream = judged.stream
    before = len(stream.kafka.read_all(stream.judgements))
    ref, label = judged.labels[0]
    late = verdict(ref, label, "fear", at=datetime.now(UTC) - timedelta(days=1))  # ann has said more since

    done = judged.role.metric("moodstream_quality_corrections_total")
    stream.kafka.produce(stream.corrections, [*(value for _, value in bad), late])

    eventually(
        lambda: judged.role.metric("moodstream_quality_corrections_total") >= done + len(bad) + 1, within_s=30
    )
    assert Counter(stream.dead_letters()) == Counter(bad)
    assert settled(judged.role, LABELLED) == judged.figures
    assert len(stream.kafka.read_all(stream.judgements)) == before
    for kind, n in Counter(kind for kind, _ in bad).items():
        assert judged.role.metric("moodstream_dead_letters_total", kind=kind) == n


def test_labels_that_are_gone_deleted_or_none(kafka: KafkaUnderTest, tmp_path: Path) -> None:
    stream = QualityStream(kafka, tmp_path)
    labels = stream.label(60, random.Random(3))
    label = next(label for ref, label in labels if ref.split("/")[1] == "0")
    kafka.produce(stream.labels, [OutRecord("", b"1", None), OutRecord("", b"1", b"no label")])
    [gone, *_] = [found for found in labels if found[0].split("/")[1] == "0"]
    odd = {
        message.value(): f"{message.topic()}/{message.partition()}/{message.offset()}"
        for message in kafka.read_all(stream.labels)
        if message.key() == b"1"
    }
    last = max(int(found[0].split("/")[2]) for found in labels if found[0].split("/")[1] == "0")
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    [deleted] = admin.delete_records([TopicPartition(stream.labels, 0, last)]).values()
    deleted.result(20)
    role = stream.role()
    role.start()
    try:
        stream.kafka.produce(
            stream.corrections,
            [
                verdict(*gone, "joy"),
                verdict(odd[None], label, "joy"),
                verdict(odd[b"no label"], label, "joy"),
            ],
        )
        eventually(lambda: len(stream.dead_letters()) == 3, within_s=40, every_s=0.5)
        kinds = [kind for kind, _ in stream.dead_letters()]
        assert Counter(kinds) == Counter(["label_gone", "label_deleted", "label_unreadable"])
        assert settled(role, 0)["models"] == {}
    finally:
        stream.close()


def moodstream(judged: Judged, *arguments: str) -> Any:
    done = CliRunner(env=judged.stream.environment).invoke(cli, ["quality", *arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def test_the_report_command_says_what_the_role_says(judged: Judged) -> None:
    found = moodstream(judged, "report", "--json")

    del found["computed_at"]
    assert found == judged.figures
    shown = CliRunner(env=judged.stream.environment).invoke(cli, ["quality", "report"]).output
    assert "mini@1" in shown


def test_an_export_holds_what_was_judged_but_no_evaluation_text(judged: Judged, tmp_path: Path) -> None:
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    (evaluation / "test.txt").write_text("Text  NUMBER 7;joy\ntext number 8;fear\nanother;joy\n")
    output = tmp_path / "corrections.jsonl"

    counts = moodstream(judged, "export", "--output", str(output), "--exclude", str(evaluation), "--json")

    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert counts == {
        "judgements": LABELLED,
        "rows": LABELLED - 2,
        "undecided": 0,
        "without_text": 0,
        "excluded": 2,
        "pending": counts["pending"],
    }
    assert len(lines) == LABELLED - 2
    assert not {"text number 7", "text number 8"} & {line["text"] for line in lines}
    expected = judged.expected - Counter((line["label"], line["model_label"]) for line in lines)
    assert expected.total() == 2
    one = next(line for line in lines if len(line["by"]) == 3)
    assert one["votes"][one["label"]] >= 2
    assert {"label_ref", "model", "model_score", "at", "id", "input", "source"} <= one.keys()


def test_a_topic_in_several_orders_is_refused(kafka: KafkaUnderTest, tmp_path: Path) -> None:
    stream = QualityStream(kafka, tmp_path)
    split = unique("split")
    create_topic(kafka.bootstrap, split, partitions=2)

    flags = [f"--set=topics.corrections={split}", "--set=quality.http.port=0"]
    done = CliRunner(env=stream.environment).invoke(cli, ["quality", *flags])

    assert done.exception is not None
    assert "quality needs all corrections in one order" in str(done.exception)


def test_killed_when_all_is_done_a_spare_comes_with_the_same_numbers(judged: Judged) -> None:
    spare = judged.stream.role()
    spare.start()
    eventually(lambda: spare.metric("moodstream_dependency_up", dependency="kafka") == 1)
    assert settled(judged.role, LABELLED) == judged.figures
    assert not spare.ready()
    assert spare.live()
    assert spare.get("/api/quality").status_code == 503

    judged.role.kill()

    assert settled(spare, LABELLED) == judged.figures
    assert spare.stop() == 0


@pytest.mark.slow
def test_an_outage_of_kafka_is_waited_for(own_kafka: RealKafka, tmp_path: Path) -> None:
    rng = random.Random(5)
    stream = QualityStream(KafkaUnderTest(own_kafka.bootstrap), tmp_path)
    labels = stream.label(200, rng)
    said, expected = people(labels, ERROR_RATE, rng)
    role = stream.role(MOODSTREAM_QUALITY__STALL_S="5")
    role.start()
    try:
        half = len(said) // 2
        stream.kafka.produce(stream.corrections, said[:half])
        eventually(lambda: role.metric("moodstream_quality_corrections_total") > 20, within_s=60)
        own_kafka.kill()
        eventually(lambda: not role.ready(), within_s=30)
        time.sleep(7)  # longer than a loop may hang
        assert role.live()
        own_kafka.start()
        stream.kafka.produce(stream.corrections, said[half:])

        figures = settled(role, len(labels), within_s=90)["models"]["mini@1"]["all"]["all"]
        assert sum(map(sum, figures["confusion"])) == expected.total()
        right = sum(row[index] for index, row in enumerate(figures["confusion"]))
        assert right == sum(n for (truth, answer), n in expected.items() if truth == answer)
        assert role.stop() == 0
    finally:
        stream.close()
