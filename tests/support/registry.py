"""A schema registry in memory that speaks Confluent's protocol, as far as the product asks.

It is held to the same tests as a real one (tests/contract/test_registry.py, `make registry-proof`). Avro's
compatibility is judged by Apache's own library, BACKWARD as with Confluent; Protobuf's is not judged. It
compiles nothing: our own files it gives as text or as a descriptor, all others as they were registered.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import avro.compatibility
import avro.schema

from worker.formats.schemas import MESSAGES, protobuf, serialized
from worker.settings import RegistrySettings

_SERIALIZED = {protobuf(kind): serialized(kind) for kind in MESSAGES.values()}
_TEXTS = {base64_: text for text, base64_ in _SERIALIZED.items()}


class _RefusalError(Exception):
    def __init__(self, status: int, code: int, message: str) -> None:
        self.answer = status, {"error_code": code, "message": message}


class _Schema(NamedTuple):
    kind: str
    text: str
    references: str
    """As JSON, so that it can be compared."""

    @property
    def identity(self) -> tuple[str, str, str]:
        text = json.dumps(json.loads(self.text)) if self.kind == "AVRO" else self.text
        return self.kind, text, self.references

    def told(self, wanted: str) -> dict[str, Any]:
        text = self.text
        if wanted == "serialized" and self.kind == "PROTOBUF":
            text = _SERIALIZED.get(text, text)
        references = json.loads(self.references)
        said = {"schema": text} if self.kind == "AVRO" else {"schema": text, "schemaType": self.kind}
        return said | ({"references": references} if references else {})


class LocalRegistry:
    """Schemas and who has them. `stop` and `start` keep them, and the address."""

    def __init__(self, *, login: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        """`login`: `user:password` that every request must bring. `tls`: what it speaks https with."""
        self.login = login
        self._tls = tls
        self.asked: list[str] = []
        """Method and path of every request."""
        self.failing: tuple[int, str] | None = None
        """A status and a body that every request gets instead of an answer."""
        self.before_answer: Callable[[], None] = lambda: None
        self.lock = threading.Lock()
        self.schemas: dict[int, _Schema] = {}
        self.subjects: dict[str, list[int]] = {}
        self._port = 0
        self._server: _Server | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self._port}"

    @property
    def settings(self) -> RegistrySettings:
        return RegistrySettings(url=self.url)

    def start(self) -> None:
        server = _Server(("127.0.0.1", self._port), _Handler)
        server.registry = self
        if self._tls is not None:
            server.socket = self._tls.wrap_socket(server.socket, server_side=True)
        self._port = server.server_port
        self._server = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.drop_connections()
            self._server.server_close()
            self._server = None

    def register(self, subject: str, schema: str, kind: str = "AVRO", references: Any = ()) -> int:
        """As a producer would; answers the id."""
        found = self._registered(subject, {"schema": schema, "schemaType": kind, "references": references})
        return int(found["id"])

    def answer(self, method: str, path: str, query: str, body: Any) -> tuple[int, Any]:
        wanted = (parse_qs(query).get("format") or [""])[0]
        try:
            for pattern, handle in _ROUTES.items():
                match = re.fullmatch(pattern, f"{method} {path}")
                if match is not None:
                    with self.lock:
                        return 200, handle(self, *map(unquote, match.groups()), body=body, wanted=wanted)
        except _RefusalError as refusal:
            return refusal.answer
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _of_id(self, number: str, *, body: Any, wanted: str) -> Any:
        found = self.schemas.get(int(number))
        if found is None:
            raise _RefusalError(404, 40403, f"Schema {number} not found")
        return found.told(wanted)

    def _versions_of(self, subject: str) -> list[int]:
        if subject not in self.subjects:
            raise _RefusalError(404, 40401, f"Subject '{subject}' not found.")
        return self.subjects[subject]

    def _versions(self, subject: str, *, body: Any, wanted: str) -> Any:
        return [n + 1 for n in range(len(self._versions_of(subject)))]

    def _version(self, subject: str, version: str, *, body: Any, wanted: str) -> Any:
        ids = self._versions_of(subject)
        at = len(ids) if version in ("latest", "-1") else int(version)
        if not 0 < at <= len(ids):
            raise _RefusalError(404, 40402, f"Version {version} not found.")
        return {"subject": subject, "version": at, "id": ids[at - 1]} | self.schemas[ids[at - 1]].told(wanted)

    def _registered(self, subject: str, body: Any, wanted: str = "") -> Any:
        schema = _schema(body)
        number = self._known(schema)
        ids = self.subjects.get(subject, [])
        if number is None or number not in ids:
            problems = _incompatible(schema, self.schemas[ids[-1]]) if ids else []
            if problems:
                raise _RefusalError(409, 409, f"Schema being registered is incompatible: {problems}")
        if number is None:
            number = len(self.schemas) + 1
            self.schemas[number] = schema
        ids = self.subjects.setdefault(subject, [])
        if number not in ids:
            ids.append(number)
        return {"id": number, "version": ids.index(number) + 1} | schema.told("")

    def _lookup(self, subject: str, *, body: Any, wanted: str) -> Any:
        ids = self._versions_of(subject)
        number = self._known(_schema(body))
        if number not in ids:
            raise _RefusalError(404, 40403, "Schema not found")
        return self._version(subject, str(ids.index(number) + 1), body=None, wanted="")

    def _compatibility(self, subject: str, version: str, *, body: Any, wanted: str) -> Any:
        before = self._version(subject, version, body=None, wanted="")["id"]
        problems = _incompatible(_schema(body), self.schemas[before])
        return {"is_compatible": not problems, "messages": problems}

    def _known(self, schema: _Schema) -> int | None:
        return next((n for n, one in self.schemas.items() if one.identity == schema.identity), None)


def _schema(body: Any) -> _Schema:
    given, references = body["schema"], json.dumps(list(body.get("references") or ()))
    schema = _Schema(body.get("schemaType") or "AVRO", _TEXTS.get(given, given), references)
    if schema.kind == "AVRO" and schema.references == "[]":
        try:
            avro.schema.parse(schema.text)
        except (avro.errors.AvroException, ValueError) as error:
            raise _RefusalError(422, 42201, f"Invalid schema: {error}") from error
    return schema


_checker: Callable[[], Any] = avro.compatibility.ReaderWriterCompatibilityChecker


def _incompatible(new: _Schema, old: _Schema) -> list[str]:
    if new.kind != old.kind:
        return [f"{new.kind} cannot follow {old.kind}"]
    if new.kind != "AVRO" or new.references != "[]":
        return []
    found = _checker().get_compatibility(
        reader=avro.schema.parse(new.text), writer=avro.schema.parse(old.text)
    )
    fits = found.compatibility is avro.compatibility.SchemaCompatibilityType.compatible
    return [] if fits else sorted(found.messages)


def _register(registry: LocalRegistry, subject: str, *, body: Any, wanted: str) -> Any:
    return registry._registered(subject, body, wanted)


_NAME = "([^/]+)"
_ROUTES: dict[str, Callable[..., Any]] = {
    "GET /schemas/types": lambda _, **__: ["AVRO", "PROTOBUF"],
    r"GET /schemas/ids/(\d+)": LocalRegistry._of_id,
    "GET /subjects": lambda registry, **_: list(registry.subjects),
    f"GET /subjects/{_NAME}/versions": LocalRegistry._versions,
    f"GET /subjects/{_NAME}/versions/{_NAME}": LocalRegistry._version,
    f"POST /subjects/{_NAME}/versions": _register,
    f"POST /subjects/{_NAME}": LocalRegistry._lookup,
    f"POST /compatibility/subjects/{_NAME}/versions/{_NAME}": LocalRegistry._compatibility,
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    registry: LocalRegistry

    def __init__(self, *args: Any) -> None:
        self._open: set[Any] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def drop_connections(self) -> None:
        for request in self._open:
            with suppress(OSError):
                request.shutdown(2)

    def handle_error(self, *_: Any) -> None:
        pass  # who asked has gone


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        registry = self.server.registry
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path)
        registry.asked.append(f"{self.command} {self.path}")
        registry.before_answer()
        status: int
        if registry.failing is not None:
            status, said = registry.failing
        elif registry.login is not None and self.headers.get("Authorization") != _basic(registry.login):
            status, said = 401, json.dumps({"error_code": 401, "message": "Unauthorized"})
        else:
            asked = json.loads(body) if body else None
            status, found = registry.answer(self.command, path.path, path.query, asked)
            said = json.dumps(found)
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(said.encode())))
        self.end_headers()
        self.wfile.write(said.encode())

    do_GET = do_POST = _answer  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_: Any) -> None:
        pass


def _basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


@contextmanager
def local_registry(*, login: str | None = None, tls: ssl.SSLContext | None = None) -> Iterator[LocalRegistry]:
    registry = LocalRegistry(login=login, tls=tls)
    try:
        yield registry
    finally:
        registry.stop()
