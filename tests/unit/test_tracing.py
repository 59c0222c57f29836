"""Traces, from the real loops to a real collector; and that nothing else changes, with them or without."""

from __future__ import annotations

import json
import logging
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.trace import Tracer

from tests.support.collector import Collector, as_parent, attributes_of, traceparent
from tests.support.models import WordModel
from tests.support.waiting import eventually
from worker import metrics as m
from worker.clock import ManualClock, SystemClock
from worker.configuration import load, shown
from worker.errors import ConfigurationError, DependencyError
from worker.metrics import Metrics
from worker.process import Stop, configure_logs
from worker.settings import LogSettings, Settings, TracingSettings
from worker.stream import role as worker_role
from worker.stream.batch import Batch, BatchBuilder, Entry
from worker.stream.batch_spans import BatchSpans
from worker.stream.loop import Loop
from worker.stream.memory import MemoryLog, MemoryPublisher, MemorySource
from worker.stream.meter import Meter
from worker.stream.model_stage import Answered
from worker.stream.outcome import Destination
from worker.stream.pace import Budget
from worker.stream.traces import traces_by
from worker.tracing.carrier import LINKS, context_of, is_sampled
from worker.tracing.export import exporting
from worker.tracing.opened import opened
from worker.tracing.w3c import span_context_from
from worker.trends import role as trends_role
from worker.types import Classified, Headers, OutRecord, Post, Record, TopicPartition
from worker.web.health import Health

ERROR = Status.StatusCode.STATUS_CODE_ERROR
SECRET = "Bearer planted-token"
FLUSH_S = 60.0
"""Far more than it takes: closing waits for what it sends."""
Exporting = Callable[..., AbstractContextManager[Tracer]]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made
        made.release()


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is set on the machine; and a collector that is away is found so at once."""
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "30")


class Rig:
    """A loop over memory, traced or not; batches are full or the last one."""

    def __init__(
        self, tracer: Tracer | None, *, max_records: int = 8, model: WordModel | None = None
    ) -> None:
        self.log = MemoryLog()
        self.source = MemorySource(self.log)
        self.publisher = MemoryPublisher(self.log)
        clock, metrics = SystemClock(), Metrics()
        model = model or WordModel()
        self.loop = Loop(
            source=self.source,
            publisher=self.publisher,
            model=model,
            builder=BatchBuilder(max_records=max_records, pace=Budget(100_000), linger_s=60),
            destination=Destination("labels", "dead", model.name, "0"),
            clock=clock,
            meter=Meter(metrics, Health(clock, 60.0, ())),
            traces=traces_by(tracer, "the-group", clock),
        )

    def post(self, text: str, headers: Headers | None = None, **more: object) -> None:
        value = msgspec.json.encode({"id": 1, "text": text, **more})
        self.log.append("tweets", value, key=text.encode(), headers=headers)

    def run(self) -> list[OutRecord]:
        self.loop.run(self.source.is_exhausted, 60)
        return self.log.published


@contextmanager
def exporting_to(
    collector: Collector | str, metrics: Metrics | None = None, flush_s: float = FLUSH_S, **settings: str
) -> Iterator[Tracer]:
    """As a role opens it, but for how long closing may take."""
    url = collector if isinstance(collector, str) else collector.url
    found = load({"tracing.endpoint": url, **{f"tracing.{name}": v for name, v in settings.items()}}, {})
    with exporting(
        found.tracing,
        service="moodstream-worker",
        instance="one",
        metrics=metrics or Metrics(),
        flush_s=flush_s,
    ) as tracer:
        yield tracer


def counted(metrics: Metrics, outcome: str) -> float:
    return metrics.registry.get_sample_value(m.TRACING_SPANS.exposed, {"outcome": outcome}) or 0.0


def children(spans: Sequence[Span], parent: Span) -> list[str]:
    return [span.name for span in spans if span.parent_span_id == parent.span_id]


class TestBatch:
    def test_every_batch_is_a_tree_of_its_steps(self, collector: Collector) -> None:
        with exporting_to(collector) as tracer:
            rig = Rig(tracer)
            for number in range(20):
                rig.post(f"joy {number}")
            rig.log.append("tweets", b"{", key=b"bad")
            rig.log.append("tweets", None, key=b"gone")
            rig.run()

        batches = sorted(collector.spans("batch"), key=lambda span: span.end_time_unix_nano)
        facts = [attributes_of(span) for span in batches]
        assert [one["messaging.batch.message_count"] for one in facts] == [8, 8, 6]
        assert sum(one["moodstream.labels"] for one in facts) == 20
        assert [one["moodstream.dead_letters"] for one in facts] == [0, 0, 1]
        assert [one["moodstream.deletions"] for one in facts] == [0, 0, 1]
        assert facts[0] | {"moodstream.tokens": 0} == {
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.operation.name": "label",
            "messaging.batch.message_count": 8,
            "messaging.consumer.group.name": "the-group",
            "messaging.destination.name": "tweets",
            "moodstream.model": "words@1",
            "moodstream.tokens": 0,
            "moodstream.labels": 8,
            "moodstream.dead_letters": 0,
            "moodstream.deletions": 0,
        }
        assert facts[0]["moodstream.tokens"] == 8 * len("joy 0")
        assert len({span.trace_id for span in batches}) == 3
        for batch in batches:
            own = [span for span in collector.spans() if span.trace_id == batch.trace_id]
            assert batch.parent_span_id == b""
            assert batch.kind == Span.SPAN_KIND_CONSUMER
            assert batch.status.code != ERROR
            assert children(own, batch) == ["decode", "classify", "encode", "commit"]
            assert len(own) == 5
            for child in own:
                assert batch.start_time_unix_nano <= child.start_time_unix_nano
                assert child.start_time_unix_nano <= child.end_time_unix_nano <= batch.end_time_unix_nano

    def test_decoding_is_told_of_the_batch_that_it_was_for(self, collector: Collector) -> None:
        """Each call is one second long; the batch cut first has the first three records of four and two."""
        clock = ManualClock()
        with exporting_to(collector) as tracer:
            spans = BatchSpans(tracer, "g", clock)
            for records in (1, 3, 2):
                with spans.decoding(records):
                    clock.now += 1
                clock.now += 10
            spans.cut(left=3)
            spans.cut(left=2)
            spans.cut(left=0)
            batch = Batch([_entry()])
            for _ in range(3):
                with spans.publishing(Answered(batch, WordModel().classify([[1]]))):
                    pass

        decoded = collector.spans("decode")
        seconds = [
            (one.end_time_unix_nano - one.start_time_unix_nano, attributes_of(one)["moodstream.busy_s"])
            for one in decoded
        ]
        assert seconds == [(12_000_000_000, 2.0), (1_000_000_000, 1.0), (1_000_000_000, 1.0)]

    def test_an_aborted_publication_is_an_error_and_what_comes_after_it_is_none(
        self, collector: Collector
    ) -> None:
        with exporting_to(collector) as tracer:
            rig = Rig(tracer)
            for number in range(20):
                rig.post(f"joy {number}", [("traceparent", traceparent(number))])
            rig.publisher.fail_next = True
            out = rig.run()

        assert len(out) == 20
        failed, *rest = collector.spans("batch")
        assert (failed.status.code, attributes_of(failed)["error.type"]) == (ERROR, "AbortedError")
        assert [span.status.code for span in rest] == [0, 0, 0]
        again = [span for span in collector.spans("label") if span.trace_id == b"\0" * 15 + b"\1"]
        assert [span.status.code for span in again] == [ERROR, 0]
        assert dict(out[0].headers)["traceparent"] == as_parent(again[1]) + b"01"

    def test_what_stops_the_worker_is_an_error_and_sent(
        self, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise DependencyError("kafka", "planted")

        with exporting_to(collector) as tracer:
            rig = Rig(tracer)
            rig.post("joy", [("traceparent", traceparent(1))])
            monkeypatch.setattr(rig.publisher, "publish", refuse)
            with pytest.raises(DependencyError):
                rig.run()

        wrong = {span.name: attributes_of(span).get("error.type") for span in collector.spans()}
        assert wrong == {
            **dict.fromkeys(["decode", "classify", "encode"]),
            **dict.fromkeys(["batch", "commit", "label"], "DependencyError"),
        }
        assert not any(b"planted" in body for _, _, body in collector.requests)

    def test_a_batch_that_another_worker_has_now_has_no_span(self, collector: Collector) -> None:
        with exporting_to(collector) as tracer:
            rig = Rig(tracer, max_records=2)
            rig.post("joy")
            rig.post("joy")
            rig.source.open(rig.loop._revoked)
            while not rig.loop._model.busy:
                rig.loop.run_once()
            rig.source.revoke([TopicPartition("tweets", 0)])
            rig.log.append("tweets", b'{"id":1,"text":"fear"}', partition=1)
            assert len(rig.run()) == 1

        assert [attributes_of(one)["messaging.batch.message_count"] for one in collector.spans("batch")] == [
            1
        ]

    def test_no_more_than_the_share_is_traced(self, collector: Collector) -> None:
        with exporting_to(collector, sample="0.5") as tracer:
            rig = Rig(tracer, max_records=1)
            for _ in range(200):
                rig.post("joy")
            rig.run()

        batches = collector.spans("batch")
        assert 0 < len(batches) < 200  # that it is none or all of 200 has a chance of 1 in 10^60
        assert len(collector.spans()) == 5 * len(batches)


def _entry() -> Entry:
    return Entry(Record("tweets", 0, 0, None, b"", 0), Post(id=1, text="joy"))


class TestRecords:
    def test_a_trace_goes_on_through_the_batch_into_the_label(self, collector: Collector) -> None:
        with exporting_to(collector) as tracer:
            rig = Rig(tracer)
            rig.post("joy", [("traceparent", traceparent(1)), ("tracestate", b"vendor=x")])
            rig.post("fear")
            rig.log.append("tweets", None, key=b"gone", headers=[("traceparent", traceparent(2))])
            label, plain, tombstone = rig.run()

        [batch] = collector.spans("batch")
        [traced] = collector.spans("label")
        assert [link.span_id.hex() for link in batch.links] == [f"{2:016x}", f"{3:016x}"]
        assert attributes_of(batch)["moodstream.traced_records"] == 2
        assert traced.trace_id.hex() == f"{2:032x}"
        assert traced.parent_span_id.hex() == f"{2:016x}"
        assert traced.kind == Span.SPAN_KIND_PRODUCER
        assert [link.span_id for link in traced.links] == [batch.span_id]
        assert attributes_of(traced) == {
            "messaging.system": "kafka",
            "messaging.operation.type": "create",
            "messaging.operation.name": "label",
            "messaging.destination.name": "labels",
            "moodstream.input": "tweets/0/0",
            "moodstream.model": "words@1",
        }
        assert dict(label.headers) == {"traceparent": as_parent(traced) + b"01", "tracestate": b"vendor=x"}
        assert plain.headers == []
        [deleted] = collector.spans("deletion")
        assert dict(tombstone.headers) == {
            "moodstream.input": b"tweets/0/2",
            "traceparent": as_parent(deleted) + b"01",
        }

    def test_a_dead_letter_keeps_the_headers_of_its_record(self, collector: Collector) -> None:
        with exporting_to(collector) as tracer:
            rig = Rig(tracer)
            rig.log.append("tweets", b"{", headers=[("traceparent", traceparent(1)), ("x", b"y")])
            [letter] = rig.run()

        assert letter.headers[:2] == [("traceparent", traceparent(1)), ("x", b"y")]
        assert [name for name, _ in letter.headers].count("traceparent") == 1
        [span] = collector.spans("dead_letter")
        assert span.trace_id.hex() == f"{2:032x}"
        assert (span.status.code, attributes_of(span)["error.type"]) == (ERROR, "invalid_json")

    def test_so_many_and_no_more_have_a_span_and_the_others_go_on_as_they_came(
        self, collector: Collector
    ) -> None:
        with exporting_to(collector) as tracer:
            rig = Rig(tracer, max_records=LINKS + 10)
            for number in range(LINKS + 10):
                rig.post("joy", [("traceparent", traceparent(number))])
            out = rig.run()

        [batch] = collector.spans("batch")
        assert len(batch.links) == len(collector.spans("label")) == LINKS
        assert attributes_of(batch)["moodstream.traced_records"] == LINKS + 10
        for number in range(LINKS, LINKS + 10):
            assert out[number].headers == [("traceparent", traceparent(number))]

    @pytest.mark.parametrize("sample", ["0", "1"])
    def test_who_is_not_traced_passes_on_what_comes(self, collector: Collector, sample: str) -> None:
        """Whose producer records nothing; or where the batch is not of the share."""
        brought: Headers = [("traceparent", traceparent(1, sampled=sample == "0")), ("tracestate", b"a=b")]
        with exporting_to(collector, sample=sample) as tracer:
            rig = Rig(tracer)
            rig.post("joy", [*brought, ("other", b"x")])
            rig.post("joy", [("traceparent", b"00-" + b"x" * 100_000), ("tracestate", b"a=b")])
            rig.post("joy", [("traceparent", traceparent(3, sampled=False)), ("tracestate", b"a" * 513)])
            [first, malformed, long] = rig.run()

        assert first.headers == brought
        assert malformed.headers == []
        assert long.headers == [("traceparent", traceparent(3, sampled=False))]
        assert [span.name for span in collector.spans("batch", "label")] == ["batch"] * int(sample)

    def test_where_the_sdk_is_disabled_contexts_are_passed_on(
        self, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        with exporting_to(collector) as tracer:
            rig = Rig(tracer)
            rig.post("joy", [("traceparent", traceparent(1))])
            assert rig.run()[0].headers == [("traceparent", traceparent(1))]
        assert collector.requests == []

    def test_without_a_tracer_labels_have_no_headers(self) -> None:
        rig = Rig(None)
        rig.post("joy", [("traceparent", traceparent(1))])
        assert rig.run()[0].headers == []


@given(
    st.one_of(
        st.from_regex(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True),
        st.sampled_from([b"00", b"01", b"ff", b"0", b"FF"]).flatmap(
            lambda version: st.sampled_from(
                [
                    b"-" + trace_id + b"-" + span_id + b"-" + flags
                    for trace_id in (b"0" * 32, b"a" * 32, b"A" * 32, b"a" * 31)
                    for span_id in (b"0" * 16, b"1" * 16)
                    for flags in (b"00", b"01", b"ff", b"0g", b"")
                ]
            ).map(lambda rest: version + rest)
        ),
        st.binary(max_size=60),
    )
)
def test_a_context_is_one_for_opentelemetry_too(header: bytes) -> None:
    """What passes by our form it reads; and it reads no more of these."""
    found = context_of([("traceparent", b"before"), ("traceparent", header)])
    theirs = span_context_from([("traceparent", header)])
    assert bool(found) == theirs.is_valid
    if found:
        assert is_sampled(found) == theirs.trace_flags.sampled


class Telltale(WordModel):
    """Fails with the text of the post in its error."""

    def classify(self, rows: Sequence[Sequence[int]]) -> Classified:
        for row in rows:
            text = "".join(map(chr, row))
            if "broken" in text:
                raise RuntimeError(text)
        return super().classify(rows)


def test_nothing_of_a_post_is_in_a_span(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    with exporting_to(collector, headers=f"authorization={SECRET.replace(' ', '%20')}") as tracer:
        rig = Rig(tracer, model=Telltale())
        for number, text in enumerate(["joy planted", "broken planted", "fear planted"]):
            headers: Headers = [("traceparent", traceparent(number)), ("planted", b"planted")]
            rig.post(text, headers, author_id="planted", lang="planted", source="planted", id="planted")
        rig.log.append("tweets", b'{"planted', key=b"planted", headers=[("traceparent", traceparent(9))])
        out = rig.run()
        assert len(out) == 4
        assert all(b"planted" in (record.value or b"") for record in out)

    assert len(collector.spans("label")) == len(collector.spans("dead_letter")) == 2
    for _, sent, body in collector.requests:
        assert b"planted" not in body
        assert sent["authorization"] == SECRET
    assert "planted" not in caplog.text


class TestCollector:
    def test_it_is_told_who_sends(self, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in (None, "my-moods"):
            if name is not None:
                monkeypatch.setenv("OTEL_SERVICE_NAME", name)
                monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
            with exporting_to(collector) as tracer:
                tracer.start_span("one").end()
        plain, named = (resource for resource, _ in collector.resources())
        assert (plain["service.name"], plain["service.instance.id"]) == ("moodstream-worker", "one")
        assert (named["service.name"], named["deployment.environment.name"]) == ("my-moods", "test")
        assert {path for path, _, _ in collector.requests} == {"/v1/traces"}

    def test_its_standard_variables_count_but_for_where_and_how_much(
        self, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/v1/traces")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "a=theirs,b=theirs")
        with exporting_to(collector, headers="a=ours") as tracer:
            tracer.start_span("one").end()
        [(_, headers, _)] = collector.requests
        assert (headers["a"], headers["b"]) == ("ours", "theirs")

    def test_one_that_refuses_is_told_of_once_and_the_stream_goes_on(
        self, collector: Collector, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        collector.status, metrics = 400, Metrics()
        with exporting_to(collector, metrics, headers="authorization=planted-token") as tracer:
            for _ in range(3):
                rig = Rig(tracer)
                rig.post("joy")
                before = counted(metrics, "failed")
                assert len(rig.run()) == 1
                eventually(lambda before=before: counted(metrics, "failed") >= before + 5)  # type: ignore[misc]
            collector.status = 200
            rig = Rig(tracer)
            rig.post("joy")
            rig.run()
            eventually(lambda: counted(metrics, "exported") == 5)

        said = [record.getMessage() for record in caplog.records if "span" in record.getMessage()]
        assert len(said) == 2
        assert "takes no spans" in said[0]
        assert "400" in said[0]
        assert "takes spans again" in said[1]
        assert "planted" not in caplog.text

    def test_one_that_is_away_is_told_of_once_and_the_stream_goes_on(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.3")
        metrics = Metrics()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # and nobody listens
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            with exporting_to(url, metrics) as tracer:
                rig = Rig(tracer, max_records=1)
                for _ in range(40):
                    rig.post("joy")
                assert len(rig.run()) == 40
        assert counted(metrics, "failed") == 200
        [said] = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert f"{url} takes no spans" in said.getMessage()

    def test_no_more_wait_than_the_queue_holds(
        self, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "20")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
        collector.holds.set()
        metrics = Metrics()
        with exporting_to(collector, metrics) as tracer:
            rig = Rig(tracer, max_records=1)
            for _ in range(40):
                rig.post("joy")
            assert len(rig.run()) == 40
            assert counted(metrics, "dropped") == 200 - 20
            collector.release()
        assert counted(metrics, "exported") == 20 == len(collector.spans())
        assert counted(metrics, "dropped") == 180

    def test_the_end_does_not_wait_for_one_that_hangs(
        self, collector: Collector, caplog: pytest.LogCaptureFixture
    ) -> None:
        collector.holds.set()
        metrics = Metrics()
        closing = ExitStack()
        tracer = closing.enter_context(exporting_to(collector, metrics, flush_s=0.1))
        for _ in range(3):
            tracer.start_span("one").end()
        thread = threading.Thread(target=closing.close)
        thread.start()
        thread.join(25)  # the SDK's own patience is 30 s
        assert not thread.is_alive()
        assert counted(metrics, "dropped") == 3
        assert "3 spans were not sent in time" in caplog.text

    def test_a_role_flushes_within_a_tenth_of_its_drain(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given: list[float] = []

        @contextmanager
        def instead(*_: object, flush_s: float, **__: object) -> Iterator[None]:
            given.append(flush_s)
            yield

        monkeypatch.setattr("worker.tracing.export.exporting", instead)
        for drain_s in (5.0, 600.0):
            settings = TracingSettings(endpoint="http://127.0.0.1:1")
            with opened(settings, role="worker", instance=None, metrics=Metrics(), drain_s=drain_s):
                pass
        assert given == [0.5, 2.0]

    def test_spans_of_others_are_not_sent(self, collector: Collector) -> None:
        """Of FastAPI, say, which would put the URLs of requests into them."""
        with exporting_to(collector):
            assert not trace.get_tracer("fastapi").start_span("GET /api/trends").is_recording()


class TestLogs:
    def test_lines_within_a_batch_have_its_ids(
        self, collector: Collector, capsys: pytest.CaptureFixture[str], root_logger: None
    ) -> None:
        configure_logs(LogSettings(format="json"))
        with exporting_to(collector) as tracer:
            rig = Rig(tracer)
            rig.post("joy")
            rig.publisher.fail_next = True
            logging.getLogger("outside").warning("before")
            rig.run()
        [before, aborted] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        [failed] = [span for span in collector.spans("batch") if span.status.code == ERROR]
        assert "trace_id" not in before
        assert "aborted" in aborted["message"]
        assert (aborted["trace_id"], aborted["span_id"]) == (failed.trace_id.hex(), failed.span_id.hex())

    @pytest.mark.parametrize("traced", [False, True])
    def test_of_a_batch_that_is_not_traced_they_have_none(
        self, collector: Collector, capsys: pytest.CaptureFixture[str], root_logger: None, traced: bool
    ) -> None:
        configure_logs(LogSettings(format="json"))
        with ExitStack() as closing:
            tracer = closing.enter_context(exporting_to(collector, sample="0")) if traced else None
            rig = Rig(tracer)
            rig.post("joy")
            rig.publisher.fail_next = True
            rig.run()
        [aborted] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        assert aborted.keys() == {"time", "level", "logger", "message"}


@pytest.fixture
def root_logger() -> Iterator[None]:
    """Leaves the root logger as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


class TestSettings:
    @pytest.mark.parametrize(
        ("endpoint", "url"),
        [
            ("http://c:4318", "http://c:4318/v1/traces"),
            ("https://c/otlp/", "https://c/otlp/v1/traces"),
            ("https://c/v1/traces", "https://c/v1/traces"),
        ],
    )
    def test_the_path_is_added_where_it_is_missing(self, endpoint: str, url: str) -> None:
        assert load({"tracing.endpoint": endpoint}, {}).tracing.url == url

    @pytest.mark.parametrize(
        "value",
        ["c:4318", "grpc://c:4317", "http://", "http://c:port", "http://c?token=planted", "http://a b"],
    )
    def test_what_is_no_address_is_named(self, value: str) -> None:
        with pytest.raises(ConfigurationError, match=r"tracing\.endpoint.*http://") as caught:
            load({"tracing.endpoint": value}, {})
        assert "planted" not in str(caught.value)

    def test_a_password_does_not_go_into_the_address(self) -> None:
        with pytest.raises(ConfigurationError, match=r"tracing\.headers") as caught:
            load({"tracing.endpoint": "http://me:planted@c:4318"}, {})
        assert "planted" not in str(caught.value)

    @pytest.mark.parametrize(
        "value", ["planted", "a=b,planted", "a=planted%0A", "=planted", "a=planted%E2%82%AC"]
    )
    def test_headers_that_cannot_be_read_are_not_shown(self, value: str) -> None:
        with pytest.raises(ConfigurationError, match=r"tracing\.headers.*pair [12]") as caught:
            load({"tracing.headers": value}, {})
        assert "planted" not in str(caught.value)

    def test_headers_are_secret(self) -> None:
        settings = load({"tracing.headers": "Authorization=Bearer%20planted, x=1"}, {})
        assert settings.tracing.header_map == {"authorization": "Bearer planted", "x": "1"}
        assert "planted" not in repr(settings) + json.dumps(shown(settings))

    @pytest.mark.parametrize("run", [worker_role.run, trends_role.run])
    def test_without_the_extra_a_role_says_how_to_install_it(
        self, run: Callable[[Settings, Metrics, SystemClock, Stop], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
        settings = load({"tracing.endpoint": "http://127.0.0.1:1"}, {})
        clock = SystemClock()
        with pytest.raises(
            ConfigurationError, match=re.escape("pip install 'moodstream[tracing]'")
        ) as caught:
            run(settings, Metrics(), clock, Stop(clock))
        assert "tracing.endpoint (MOODSTREAM_TRACING__ENDPOINT)" in str(caught.value)

    @pytest.mark.parametrize(
        "variables",
        [
            {"OTEL_BSP_MAX_QUEUE_SIZE": "many"},
            {"OTEL_BSP_MAX_QUEUE_SIZE": "0"},
            {"OTEL_BSP_MAX_QUEUE_SIZE": "10", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "20"},
        ],
    )
    def test_a_queue_that_cannot_be_is_named(
        self, variables: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ConfigurationError, match="OTEL_BSP_"), exporting_to("http://127.0.0.1:1"):
            pass


_LOADED = """
import os, sys
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
from worker.configuration import load
from worker.metrics import Metrics
from worker.stream import role, traces
from worker.tracing.opened import opened
from worker.trends import count_traces, role

OURS = {"worker.stream.batch_spans", "worker.trends.count_spans"}

def open_with(flags):
    settings = load(flags, {}).tracing
    with opened(settings, role="worker", instance=None, metrics=Metrics(), drain_s=0.1) as tracer:
        traces.traces_by(tracer, "g", None)
        count_traces.traces_by(tracer, "t", "g", None)
    theirs = "opentelemetry.sdk.trace", "opentelemetry.exporter"
    print(sum(name in OURS or name.startswith(theirs) for name in sys.modules))

open_with({})
open_with({"tracing.endpoint": "http://127.0.0.1:1"})
"""


def test_without_an_endpoint_nothing_of_it_is_loaded() -> None:
    """Whatever OTEL_* says. FastAPI takes the API, and redis the SDK's metrics where they are installed."""
    done = subprocess.run(
        [sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True, timeout=90
    )
    off, on = map(int, done.stdout.split())
    assert off == 0
    assert on > 10
