"""Tables labelled as engines ask for it, without an engine: `make spark-proof` has the real ones."""

from __future__ import annotations

import json
import pickle
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from tests.support.artifacts import variant
from worker.cli import cli
from worker.cluster.job import ADDED, ADDED_DDL, Job, job_of, opened, wanted_by
from worker.cluster.ray import Labels
from worker.cluster.spark import label_partition
from worker.cluster.table import SCHEMA, label_batches
from worker.configuration import load
from worker.errors import ArtifactError, ConfigurationError
from worker.labeller import Labeller
from worker.types import EMOTIONS, Label

TEXTS = [
    "i feel so happy and cheerful today",
    "this makes me furious",
    "I miss you so much",
    "see you at four",
]
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def expected() -> list[dict[str, Any]]:
    label = Labeller(model__streams="1")
    found = [one for one in label(TEXTS) if one is not None]
    label.close()
    assert len(found) == len(TEXTS)
    return [added(one) for one in found]


def added(label: Label) -> dict[str, Any]:
    fields = {name: getattr(label, name) for name in ("label", "score", "neutral", "model")}
    return fields | {"scores": msgspec.structs.asdict(label.scores), "error": None}


def job(*, text: str = "text", others: tuple[str, ...] = ("id",)) -> Job:
    return job_of(wanted_by(load(env={})), ("id", "text", "at"), text=text, others=others)


def batch(texts: Any, kind: pa.DataType | None = None) -> pa.RecordBatch:
    column = pa.array(texts, kind or pa.string())
    ids = pa.array(range(len(column)), pa.int64())
    return pa.RecordBatch.from_arrays([ids, column, pa.array([AT] * len(column))], ["id", "text", "at"])


def rows(batches: Iterator[pa.RecordBatch]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pa.Table.from_batches(list(batches)).to_pylist()
    return found


def run(*arguments: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(cli, arguments, input=stdin)


def test_labels_are_those_of_the_stream_in_the_order_of_the_rows(expected: list[dict[str, Any]]) -> None:
    [found] = label_batches(job(others=("at", "id")), [batch(TEXTS)])

    assert found.schema.names == ["at", "id", *ADDED]
    assert found.schema.field("at").type == pa.timestamp("us", tz="UTC")
    assert found.to_pylist() == [{"at": AT, "id": i} | row for i, row in enumerate(expected)]


def test_the_text_goes_along_only_where_it_is_asked_for(expected: list[dict[str, Any]]) -> None:
    chosen = job(others=("text",))

    assert chosen.read == ("text",)
    assert rows(label_batches(chosen, [batch(TEXTS)])) == [
        {"text": text} | row for text, row in zip(TEXTS, expected, strict=True)
    ]


def test_a_row_that_cannot_be_labelled_stays_and_says_what_classify_says(
    expected: list[dict[str, Any]],
) -> None:
    lines = [b'{"id": 0}', b"", b" \t", b"ab\xff", TEXTS[0].encode()]
    answers = run("classify", "--json", stdin=b"\n".join(lines)).stdout.splitlines()

    found = rows(label_batches(job(), [batch([None, *lines[1:]], pa.binary())]))

    assert [row["id"] for row in found] == [0, 1, 2, 3, 4]
    assert [row["error"] for row in found] == [*(json.loads(line)["error"] for line in answers[:4]), None]
    assert all(row[name] is None for row in found[:4] for name in ADDED if name != "error")
    assert found[4] == {"id": 4} | expected[0]


@pytest.mark.parametrize(
    "kind",
    [pa.large_string(), pa.string_view(), pa.large_binary(), pa.dictionary(pa.int32(), pa.string())],
    ids=str,
)
def test_texts_of_any_kind_are_read(kind: pa.DataType, expected: list[dict[str, Any]]) -> None:
    plain = batch(TEXTS).column("text")
    column = plain.dictionary_encode() if pa.types.is_dictionary(kind) else plain.cast(kind)
    table = pa.RecordBatch.from_arrays([column], ["text"])

    assert rows(label_batches(job(others=()), [table])) == expected


def test_text_that_no_one_has_checked_is_read_as_bytes() -> None:
    """Parquet may hold anything under the name of a string, and neither Spark nor Arrow looks."""
    buffers = [None, pa.py_buffer(b"\0\0\0\0\3\0\0\0"), pa.py_buffer(b"ab\xff")]
    table = pa.RecordBatch.from_arrays([pa.Array.from_buffers(pa.string(), 1, buffers)], ["text"])

    [found] = rows(label_batches(job(others=()), [table]))

    assert found["error"] == "the value is not UTF-8 at byte 2"


def test_a_column_that_holds_no_text_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="column id holds int64, no text"):
        list(label_batches(job(text="id", others=()), [batch(TEXTS)]))


def test_empty_batches_and_slices_are_what_they_are(expected: list[dict[str, Any]]) -> None:
    whole = batch(["something else", *TEXTS])

    found = list(label_batches(job(), [whole.slice(0, 0), whole.slice(1, 2), whole.slice(3)]))

    assert [len(one) for one in found] == [0, 2, 2]
    assert {one.schema for one in found} == {pa.schema([pa.field("id", pa.int64()), *SCHEMA])}
    assert rows(iter(found)) == [{"id": i + 1} | row for i, row in enumerate(expected)]


def test_a_process_opens_the_model_once() -> None:
    opened.cache_clear()
    for _ in range(3):
        # As each partition of Spark brings it: another object, equal to the one before.
        brought: Job = pickle.loads(pickle.dumps(job()))
        assert list(label_batches(brought, [batch(TEXTS[:1])]))
    assert opened.cache_info().misses == 1


def test_what_travels_is_a_path_and_an_identity() -> None:
    secret = {"kafka.sasl_password": "hush-hush", "trends.http.token": "0123456789abcdef"}
    chosen = job_of(wanted_by(load(secret, env={})), ("text",), text="text", others=())

    travels = pickle.dumps(partial(label_partition, chosen))

    assert len(travels) < 2000
    assert not any(value.encode() in travels for value in secret.values())
    assert pickle.loads(travels).func is label_partition
    assert pickle.loads(travels).args == (chosen,)


def test_a_process_uses_one_core_unless_it_is_told_otherwise() -> None:
    told = wanted_by(load({"model.streams": "3", "model.gate": "off"}, env={}))

    assert json.loads(job().wanted.settings)["model"]["streams"] == 1
    assert json.loads(told.settings)["model"] == {"backend": "auto", "gate": "off", "streams": 3}


def test_another_model_on_a_machine_is_refused(tmp_path: Path) -> None:
    meant = wanted_by(load(env={}))
    other = variant(tmp_path / "other", name="other")

    with pytest.raises(ArtifactError, match=r"started with default@.*copy the same folder to every machine"):
        opened(msgspec.structs.replace(meant, path=str(other)))
    with pytest.raises(ArtifactError, match="there is no such folder"):
        opened(msgspec.structs.replace(meant, path=str(tmp_path / "nowhere")))


def test_a_file_that_was_damaged_on_the_way_is_refused(tmp_path: Path) -> None:
    settings = load({"model.path": str(variant(tmp_path / "mine", name="mine"))}, env={})
    meant = wanted_by(settings)
    assert (meant.name.partition("@")[0], meant.path) == ("mine", str(tmp_path / "mine"))

    with (tmp_path / "mine" / "openvino.bin").open("r+b") as weights:
        weights.write(b"damaged")

    with pytest.raises(ArtifactError, match=r"openvino\.bin has another SHA-256"):
        opened(meant)


def test_another_release_on_a_machine_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"the job was started with 0\.0\.1: install the same"):
        opened(msgspec.structs.replace(job().wanted, version="0.0.1"))


def test_all_that_is_wrong_with_the_columns_is_told() -> None:
    with pytest.raises(ConfigurationError) as told:
        job_of(wanted_by(load(env={})), ("id", "body", "Label"), text="text", others=("id", "at", "Label"))

    assert told.value.problems == (
        "the input has no column text; it has: id, body, Label",
        "the input has no column at; it has: id, body, Label",
        "column Label has the name of a column that is added: rename it in the input",
    )


def test_spark_declares_what_arrow_brings() -> None:
    declared = re.findall(r"(\w+):? (?:string|double|struct)", ADDED_DDL)

    assert tuple(SCHEMA.names) == ADDED
    assert [field.name for field in SCHEMA.field("scores").type] == list(EMOTIONS)
    assert declared == [*ADDED[:3], *EMOTIONS, *ADDED[3:]]


def test_a_stage_of_ray_labels_tables_of_any_cut(expected: list[dict[str, Any]]) -> None:
    stage = Labels(job())
    table = pa.Table.from_batches([batch(TEXTS[:1]), batch(TEXTS[1:])])

    found = stage(table)

    assert [row["id"] for row in found.to_pylist()] == [0, 0, 1, 2]
    assert [{name: row[name] for name in ADDED} for row in found.to_pylist()] == [
        {name: row[name] for name in ADDED} for row in expected
    ]
    assert stage(table.slice(0, 0)).schema == found.schema


def test_without_spark_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)

    ended = run("classify", "--engine", "spark", "posts", "labels")

    assert isinstance(ended.exception, ConfigurationError)
    assert "needs pyspark: pip install 'moodstream[spark]'" in str(ended.exception)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("posts.txt", "labels"), "OUTPUT is for --engine"),
        (("posts.txt", "--keep", "at"), "--keep is for --engine"),
        (("--spark-conf", "spark.ui.enabled=true"), "--spark-conf is for --engine"),
        (("--engine", "spark", "posts"), "--engine needs two folders"),
        (("--engine", "spark", "posts", "labels", "--spark-conf", "yarn"), "write NAME=VALUE"),
        (("nowhere.txt",), "No such file"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: tuple[str, ...], reason: str) -> None:
    ended = run("classify", *arguments)

    assert ended.exit_code == 2
    assert reason in ended.stderr


def test_lines_too_are_labelled_by_the_model_that_is_named(tmp_path: Path) -> None:
    milder = variant(tmp_path / "milder", temperature=20.0)

    [score, sure] = [
        json.loads(run("classify", "--json", "--model", name, stdin=TEXTS[0].encode()).stdout)["score"]
        for name in (str(milder), "bundled")
    ]

    assert score < 0.5 < sure
