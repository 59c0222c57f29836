"""Spans on their way: counted, bounded, never waited for; and their ids in logs."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from opentelemetry import trace

from tests.support.collector import Collector
from tests.support.tracing import ERROR, Rig, counted, exporting_to
from tests.support.waiting import eventually
from worker.metrics import Metrics
from worker.process import configure_logs
from worker.settings import LogSettings, TracingSettings
from worker.tracing.opened import opened


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
