"""As much of the Hugging Face hub as fetching a public model takes, on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

_COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def fake_hub(models: dict[str, Path], asked: list[str]) -> Iterator[str]:
    """Serve folders as models; the address. What is asked for is noted in `asked`, by path."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = self.path.partition("?")[0]
            asked.append(path)
            model = next((name for name in models if f"/{name}/" in f"{path}/"), None)
            if model is None:
                self._send(404, b"{}", **{"X-Error-Code": "RepoNotFound"})
            elif path.startswith("/api/"):
                about = _tree(models[model]) if "/tree/" in path else _info(model, models[model])
                self._send(200, json.dumps(about).encode())
            else:
                file = models[model] / path.rpartition("/")[2]
                self._send(200, file.read_bytes(), **{"X-Repo-Commit": _COMMIT, "ETag": f'"{_etag(file)}"'})

        def _send(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _tree(folder: Path) -> list[dict[str, object]]:
    return [
        {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": _etag(file)}
        for file in sorted(folder.iterdir())
    ]


def _info(model: str, folder: Path) -> dict[str, object]:
    siblings = [{"rfilename": file.name} for file in sorted(folder.iterdir())]
    return {
        "_id": "1",
        "id": model,
        "sha": _COMMIT,
        "private": False,
        "tags": [],
        "downloads": 0,
        "siblings": siblings,
    }


def _etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()
