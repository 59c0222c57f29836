"""What the settings of traces may be, and that nothing is loaded without."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping

import pytest

from tests.support.tracing import exporting_to
from worker.clock import SystemClock
from worker.configuration import load, shown
from worker.errors import ConfigurationError
from worker.metrics import Metrics
from worker.process import Stop
from worker.settings import Settings
from worker.stream import role as worker_role
from worker.trends import role as trends_role


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
