"""`moodstream replay` on a real Kafka with real models: figures, kills, what it leaves alone and refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer
from sklearn import metrics

from tests.support.artifacts import variant
from tests.support.kafka import KafkaUnderTest
from tests.support.pipeline import Pipeline
from tests.support.small_model import write_small_model
from tests.support.waiting import eventually
from worker.cli import cli
from worker.errors import ConfigurationError
from worker.local.processes import ChildProcess
from worker.local.redis import RealRedis
from worker.replay.history.reader import GROUP
from worker.topics.connect import connected
from worker.types import EMOTIONS, OutRecord

N, BAD_EVERY = 600, 40
BAD = (b"\xff\xfe", b"{", b'{"id":1}', b'{"id":1,"text":" "}')


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model, less what is done to texts before it sees them."""
    return variant(tmp_path_factory.mktemp("models") / "plain", name="plain", version="1", text_version=0)


@pytest.fixture(scope="module")
def milder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second model that takes no time, beside the small one."""
    return write_small_model(tmp_path_factory.mktemp("models") / "milder", "milder", temperature=3.0).path


def arguments(kafka: KafkaUnderTest, topic: str, report: Path, *more: object) -> list[str]:
    given = ("--topic", topic, "--report", report, "--bootstrap", kafka.bootstrap, *more)
    return ["replay", *map(str, given)]


def replay(kafka: KafkaUnderTest, topic: str, report: Path, *more: object) -> Result:
    return CliRunner().invoke(cli, arguments(kafka, topic, report, *more), catch_exceptions=False)


def reported(kafka: KafkaUnderTest, topic: str, report: Path, *more: object) -> Any:
    """The line of a replay that goes well."""
    done = replay(kafka, topic, report, *more, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def refused(kafka: KafkaUnderTest, topic: str, report: Path, *more: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        replay(kafka, topic, report, *more)
    return str(caught.value)


def write(kafka: KafkaUnderTest, topic: str, texts: Iterable[str], **more: Any) -> None:
    """Posts with the ids 0, 1, ..."""
    kafka.produce(
        topic,
        (
            OutRecord("", b"%d" % (number % 97), msgspec.json.encode({"id": number, "text": text, **more}))
            for number, text in enumerate(texts)
        ),
    )


@pytest.mark.slow
@pytest.mark.needs_data
@pytest.mark.timeout(300)
def test_figures_of_a_range_of_time_are_those_of_scikit_learn(
    kafka: KafkaUnderTest, data: Path, tmp_path: Path, second: Path
) -> None:
    """600 labelled posts of an afternoon, between posts of the morning and the evening."""
    topic = kafka.topic("afternoon", partitions=3, **{"retention.ms": "-1"})
    lines = (data / "emotion" / "test.txt").read_text().splitlines()[:N]
    rows = [line.rpartition(";") for line in lines]
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    # Idempotent: a retry on a busy machine would write a post twice or after a later one.
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True})
    for number in range(-200, len(rows) + 200):
        text = rows[number % len(rows)][0]
        at = noon + number * timedelta(seconds=1)
        value = msgspec.json.encode({"id": f"post-{number}", "text": text, "created_at": at, "lang": "en"})
        producer.produce(topic, value, b"%d" % number, timestamp=int(at.timestamp() * 1000))
    assert producer.flush(30) == 0
    gold = tmp_path / "gold.csv"
    gold.write_text(
        "id,label\n" + "".join(f"post-{number},{label}\n" for number, (_, _, label) in enumerate(rows))
    )

    found = reported(
        kafka,
        topic,
        tmp_path / "report",
        *("--from", noon.isoformat(), "--to", (noon + timedelta(seconds=len(rows))).isoformat()),
        *("--gold", gold, "--model", "bundled", "--model", second),
    )

    assert (found["scored"], found["input"]["records"]) == (N, N)
    assert found["matched"] == {
        **{"gold": N, "posts_with_gold": N, "posts_without_gold": 0},
        **{"gold_without_post": 0, "repeated_posts": 0},
    }
    table = pq.read_table(found["files"]["predictions_parquet"]).to_pandas()
    right = {}
    for one in found["contestants"]:
        six = table[[f"{one['letter']}_{emotion}" for emotion in EMOTIONS]].to_numpy()
        answer = np.array(EMOTIONS)[six.argmax(axis=1)]
        right[one["letter"]] = answer == table.truth
        figures = one["figures"]
        assert figures["accuracy"] == pytest.approx(metrics.accuracy_score(table.truth, answer))
        assert figures["macro_f1"] == pytest.approx(metrics.f1_score(table.truth, answer, average="macro"))
        assert (
            figures["confusion"]
            == metrics.confusion_matrix(table.truth, answer, labels=list(EMOTIONS)).tolist()
        )
        assert figures["roc_auc_ovr"] == pytest.approx(
            np.mean(
                [metrics.roc_auc_score(table.truth == name, six[:, i]) for i, name in enumerate(EMOTIONS)]
            )
        )
    assert right["A"].mean() > 0.9
    [pair] = found["pairs"]
    assert pair["agreement"]["value"] == pytest.approx((table.A_label == table.B_label).mean())
    assert pair["test"]["right_wrong"]["only_a"] == int((right["A"] & ~right["B"]).sum())
    assert pair["test"]["right_wrong"]["only_b"] == int((right["B"] & ~right["A"]).sum())
    assert found["verdict"] in (tmp_path / "report" / "report.html").read_text().replace("&#39;", "'")


def spoilt(posts: Sequence[str], n: int, every: int = BAD_EVERY) -> Iterator[OutRecord]:
    """Posts with some that cannot be read and some deletions among them."""
    for number, text in enumerate(islice(cycle(posts), n)):
        yield OutRecord("", b"%d" % (number % 97), msgspec.json.encode({"id": number, "text": text}))
        if number % every == 7:
            yield OutRecord("", b"%d" % number, BAD[number // every % len(BAD)])
        if number % every == 9:
            yield OutRecord("", b"%d" % number, None)


PARTITIONS = 12
"""As many parts, since none is as long as a part may be."""
MANY = 36_000
BAD_ONES = MANY // BAD_EVERY


def ended_by_sigterm(process: ChildProcess) -> int | None:
    """Its exit code."""
    child = process._child
    process.stop(within_s=60)
    return None if child is None else child.returncode


def without_times(report: Path) -> Any:
    """A report less what differs between two runs of one replay: when it began, how fast it was."""
    found = json.loads((report / "report.json").read_bytes())
    del found["speed"], found["replay"]["began"]
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_replay_goes_on_to_the_same_result(
    kafka: KafkaUnderTest, posts: list[str], tmp_path: Path, small_model: Path, milder: Path
) -> None:
    topic = kafka.topic("killed", partitions=PARTITIONS)
    kafka.produce(topic, spoilt(posts, MANY))
    models = ("--model", small_model, "--model", milder)
    straight, interrupted = tmp_path / "straight", tmp_path / "interrupted"
    whole = reported(kafka, topic, straight, *models)
    assert whole["input"] | {"kinds": None} == {
        **{"records": MANY + 2 * BAD_ONES, "posts": MANY, "deletions": BAD_ONES, "unparsable": BAD_ONES},
        "kinds": None,
    }
    assert set(whole["input"]["kinds"]) == {"invalid_utf8", "invalid_json", "missing_text", "empty_text"}

    process = ChildProcess(
        "replay",
        [sys.executable, "-m", "worker", *arguments(kafka, topic, interrupted, *models)],
        log=tmp_path / "replay.log",
    )

    def done() -> list[str]:
        return sorted(one.name for one in (interrupted / "parts").glob("*.parquet"))

    process.start(lambda: bool(done()), within_s=120)
    process.kill()
    at_kill = len(done())
    process.start(lambda: len(done()) > at_kill, within_s=120)
    assert ended_by_sigterm(process) == 130
    assert "parts are left; the same command goes on" in process.output()
    assert at_kill < len(done()) < PARTITIONS, "it was over before it was stopped"
    assert not (interrupted / "predictions.parquet").exists()

    assert "now it is" in refused(
        kafka, topic, interrupted, "--model", f"{small_model},gate=off", "--model", milder
    )
    kafka.produce(topic, [b'{"id": 9999, "text": "written later"}'])
    resumed = reported(kafka, topic, interrupted, *models)

    assert pq.read_table(interrupted / "predictions.parquet").equals(
        pq.read_table(straight / "predictions.parquet")
    )
    assert without_times(interrupted) == without_times(straight)
    assert resumed["verdict"] == whole["verdict"]
    assert sorted(one.name for one in interrupted.iterdir()) == [
        *(".lock", "predictions.parquet", "replay.json", "report.html", "report.json"),
    ]
    # Given once more, it is done: no model is asked again.
    before = (interrupted / "report.json").read_bytes()
    assert reported(kafka, topic, interrupted, *models) == resumed
    assert (interrupted / "report.json").read_bytes() == before


class Live:
    """What a replay must leave as it is."""

    def __init__(self, pipeline: Pipeline, redis: RealRedis) -> None:
        self._pipeline = pipeline
        self._redis = redis

    def offsets(self) -> dict[str, Any]:
        """What the roles' groups have committed."""
        with connected(self._pipeline.kafka.settings) as admin:
            groups = [
                self._pipeline.environment[f"MOODSTREAM_{role}__GROUP_ID"] for role in ("WORKER", "TRENDS")
            ]
            assert GROUP not in {group["group_id"] for group in admin.list_groups()}
            return {
                group: sorted((key.topic, key.partition, value.offset) for key, value in found.items())
                for group, found in admin.list_group_offsets(groups).items()
            }

    def trends(self) -> dict[bytes, bytes | None]:
        """Everything in Redis."""
        from redis import Redis

        with Redis.from_url(self._redis.url) as client:
            return {key: client.dump(key) for key in client.scan_iter(count=1000)}

    def records(self) -> list[int]:
        """How many there are in the topics that the worker writes."""
        kafka = self._pipeline.kafka
        return [len(kafka.read_all(topic)) for topic in (self._pipeline.labels, self._pipeline.dead)]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_earlier_labels_are_repeated_and_the_live_stream_is_left_alone(
    kafka: KafkaUnderTest, redis_server: RealRedis, posts: list[str], tmp_path: Path, second: Path
) -> None:
    pipeline = Pipeline(kafka, redis_server, tmp_path)
    try:
        kafka.produce(pipeline.input, spoilt(posts, 400))
        pipeline.worker.start()
        pipeline.trends.start()
        live = Live(pipeline, redis_server)
        eventually(lambda: live.records()[0] >= 410, within_s=90, every_s=0.5)
        eventually(
            lambda: pipeline.trends.metric("moodstream_trends_labels_applied_total") >= 400, within_s=60
        )
        # From here on nobody but a replay could change anything.
        assert (pipeline.worker.stop(), pipeline.trends.stop()) == (0, 0)
        before = live.offsets(), live.trends(), live.records()
        assert before[1], "there are no trends to be left alone"
        flags = (f"--set=topics.labels={pipeline.labels}", f"--set=redis.url={redis_server.url}")

        found = reported(kafka, pipeline.input, tmp_path / "r", "--against", pipeline.labels, *flags)

        assert found["reference"]["kind"] == "earlier"
        assert (found["scored"], found["earlier"]["by_input"], found["earlier"]["repeated"]) == (400, 400, 0)
        assert set(found["earlier"]["models"]) == {found["contestants"][0]["name"]}
        # The same model in other batches: eight bits leave a few labels undecided.
        assert found["contestants"][0]["accuracy"]["value"] > 0.98
        assert "Earlier labels are no truth" in found["verdict"]

        # The labels as a topic to replay: written in transactions, whose marks are offsets too.
        copied = reported(
            kafka, pipeline.labels, tmp_path / "copy", "--model", "bundled", "--model", second, *flags
        )
        assert (copied["input"]["posts"], copied["input"]["deletions"]) == (400, 10)
        assert copied["input"]["unparsable"] == 0
        assert (live.offsets(), live.trends(), live.records()) == before
    finally:
        pipeline.close()


@pytest.fixture(scope="module")
def topic(kafka: KafkaUnderTest, posts: list[str]) -> str:
    """60 posts with the ids 0 to 59."""
    name = kafka.topic("posts", partitions=2)
    write(kafka, name, posts[:60], source="web")
    return name


def test_gold_labels_of_a_topic_with_all_that_people_send(
    kafka: KafkaUnderTest, topic: str, tmp_path: Path
) -> None:
    corrections = kafka.topic("corrections", partitions=2)
    rows = [{"id": number, "label": "joy", "by": "ann", "label_ref": "x/0/1"} for number in range(20)]
    rows += [
        {"id": 3, "label": "joy", "by": "bob"},  # agrees
        {"id": 4, "label": "anger", "by": "bob"},  # does not
        {"id": 5, "label": "bliss", "by": "bob"},
        {"id": 777, "label": "fear", "by": "bob"},  # of no post here
    ]
    kafka.produce(corrections, [*map(msgspec.json.encode, rows), b"{", b'{"id": 1}', None])

    found = reported(kafka, topic, tmp_path / "r", "--gold", f"topic:{corrections}")

    assert found["matched"] == {
        **{"gold": 20, "posts_with_gold": 19, "posts_without_gold": 41},
        **{"gold_without_post": 1, "repeated_posts": 0},
    }
    left_out = json.loads((tmp_path / "r" / "report.json").read_bytes())["gold_left_out"]
    assert sorted(one["why"] for one in left_out) == [
        "id 4 has several labels: anger, joy",
        "no id and label",
        "not JSON",
        "unknown label 'bliss'",
    ]
    assert all(one["where"].startswith(f"{corrections}/") for one in left_out)

    only_strangers = kafka.topic("strangers")
    kafka.produce(only_strangers, [b'{"id": 1, "label": "happiness"}'])
    said = refused(kafka, topic, tmp_path / "s", "--gold", f"topic:{only_strangers}")
    assert "unknown label 'happiness' (1 times" in said
    assert "--rename happiness=LABEL" in said
    renamed = ("--gold", f"topic:{only_strangers}", "--rename", "happiness=joy")
    assert reported(kafka, topic, tmp_path / "s", *renamed)["scored"] == 1


def test_a_sample_is_the_same_each_time(kafka: KafkaUnderTest, topic: str, tmp_path: Path) -> None:
    gates = ("--model", "bundled", "--model", "bundled,gate=off")

    def ids(folder: str, *more: str) -> list[str]:
        reported(kafka, topic, tmp_path / folder, *gates, *more)
        found: list[str] = pq.read_table(tmp_path / folder / "predictions.parquet")["id"].to_pylist()
        return found

    half = ids("a", "--sample", "50%")
    assert half == ids("b", "--sample", "0.5")
    assert 15 < len(half) < 45
    rows = pq.read_table(tmp_path / "a" / "predictions.parquet").to_pandas()
    assert "neutral" not in set(rows.B_label)
    sums = rows[[f"A_{one}" for one in EMOTIONS]].sum(axis=1).to_list()
    assert sums == pytest.approx([1] * len(half), abs=1e-5)


def test_a_question_without_sense_is_refused_before_anything_is_read(
    kafka: KafkaUnderTest, topic: str, tmp_path: Path
) -> None:
    report = tmp_path / "r"
    all_at_once = refused(
        kafka, topic, report, "--from", "yesterday", "--sample", "half", "--rename", "x", "--to", "-1x"
    )
    for said in ("nothing to compare with", "--from yesterday", "--to -1x", "--sample half", "--rename x"):
        assert said in all_at_once
    two = ("--model", "bundled", "--model", "bundled,gate=off")
    assert "is not before" in refused(kafka, topic, report, "--from", "-1h", "--to", "-2h", *two)
    assert "the same model twice" in refused(kafka, topic, report, *two[:2], *two[:2])
    assert "there is no topic nowhere" in refused(kafka, "nowhere", report, *two)
    assert "no record in this range" in refused(kafka, topic, report, "--from", "2040-01-01T00:00:00Z", *two)
    assert "there is no topic nowhere" in refused(kafka, topic, report, "--against", "nowhere")
    assert "nowhere.csv: cannot be read" in refused(kafka, topic, report, "--gold", "nowhere.csv")
    empty = kafka.topic("empty")
    assert "it is empty" in refused(kafka, topic, report, "--against", empty)
    # And nothing was begun by any of these.
    assert not list(report.glob("*.json"))


def test_labels_of_other_posts_are_an_error(kafka: KafkaUnderTest, topic: str, tmp_path: Path) -> None:
    labels = kafka.topic("labels")
    kafka.produce(labels, [b'{"id": 1}', b"{"])
    said = refused(kafka, topic, tmp_path / "r", "--against", labels)
    assert "none of its 2 labels belongs to a post of the range (2 are no labels)" in said


def test_without_its_packages_it_says_how_to_get_them(
    kafka: KafkaUnderTest, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "pyarrow" else name)
    said = refused(kafka, topic, tmp_path, "--model", "bundled")
    assert said == (
        "moodstream replay needs pyarrow: pip install 'moodstream[replay]', or in a checkout: make install"
        " EXTRA=replay"
    )


def test_people_get_a_table_and_the_sentence(kafka: KafkaUnderTest, topic: str, tmp_path: Path) -> None:
    shown = replay(kafka, topic, tmp_path, "--model", "bundled", "--model", "bundled,gate=off")
    text = " ".join(shown.stdout.split())
    assert "60 posts, 0 scored, 0 unparsable" in text
    assert "give the same label to" in text
    assert str(tmp_path / "report.html") in text.replace(" ", "")
