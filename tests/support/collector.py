"""An OpenTelemetry collector that keeps what it is sent: OTLP over HTTP, read with OTLP's own classes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.streaming import Exchange, StreamingServer


class Collector(StreamingServer):
    """Answers `status`; while `holds` is set it answers nothing until it is closed or that is cleared."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.holds = threading.Event()
        self.released = threading.Event()
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        """Path, headers and body of what was taken."""

    def serve(self, exchange: Exchange) -> None:
        body = exchange.rfile.read(int(exchange.headers["Content-Length"]))
        if self.holds.is_set():
            self.released.wait(60)
        if self.status == 200:
            headers = {name.lower(): value for name, value in exchange.headers.items()}
            self.requests.append((exchange.path, headers, body))
        exchange.answer(self.status, b"")

    def release(self) -> None:
        """Answer what waits, and all that comes."""
        self.holds.clear()
        self.released.set()

    def resources(self) -> Iterator[tuple[dict[str, Any], list[Span]]]:
        """The attributes of who sent, and what; in the order of the requests."""
        for _, _, body in self.requests:
            request = ExportTraceServiceRequest.FromString(body)
            for one in request.resource_spans:
                spans = [span for scope in one.scope_spans for span in scope.spans]
                yield _plain(one.resource.attributes), spans

    def spans(self, *names: str) -> list[Span]:
        """Those that were taken, of these names where some are given, in the order of their beginnings."""
        found = [span for _, spans in self.resources() for span in spans]
        chosen = [span for span in found if not names or span.name in names]
        return sorted(chosen, key=lambda span: span.start_time_unix_nano)


def attributes_of(span: Span) -> dict[str, Any]:
    """The attributes of a span by name."""
    return _plain(span.attributes)


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def traceparent(number: int, *, sampled: bool = True) -> bytes:
    """The header of a trace of its own for each number."""
    return f"00-{number + 1:032x}-{number + 1:016x}-{'01' if sampled else '00'}".encode()


def as_parent(span: Span) -> bytes:
    """The header by which a trace goes on behind a span."""
    return f"00-{span.trace_id.hex()}-{span.span_id.hex()}-".encode()
