"""The live page at `/` and its files under `/assets/`: plain HTML, CSS and ES modules, served as they lie.

Nothing comes from another host, and the content security policy says so to the browser: no inline script or
style, no connection elsewhere, and (Trusted Types) no text that becomes markup. The chart's library lies in
`vendor/` with its licence; `.ci/vendor` fetches it again.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from importlib.resources.abc import Traversable
from typing import NamedTuple

from fastapi import APIRouter, Request, Response

from worker.web.problems import NotFoundError

_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PAGE = "index.html"


class _File(NamedTuple):
    content: bytes
    headers: dict[str, str]


def page_router() -> APIRouter:
    """The routes of the page. Its files are read once, here; no other path of the disk can be asked for."""
    router = APIRouter(include_in_schema=False)
    files = dict(_files(resources.files("worker.web.page")))
    page = files.pop(_PAGE)

    @router.get("/")
    async def index(request: Request) -> Response:
        return _answer(request, page)

    @router.get("/assets/{path:path}")
    async def asset(request: Request, path: str) -> Response:
        found = files.get(path)
        if found is None:
            raise NotFoundError("there is no such file")
        return _answer(request, found)

    return router


def _files(folder: Traversable, prefix: str = "") -> list[tuple[str, _File]]:
    found: list[tuple[str, _File]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _files(entry, f"{prefix}{entry.name}/")
        else:
            suffix = "." + entry.name.rpartition(".")[2]
            if suffix in _TYPES:
                found.append((prefix + entry.name, _file(entry.read_bytes(), suffix)))
    return found


def _file(content: bytes, suffix: str) -> _File:
    headers = {
        "Content-Type": _TYPES[suffix],
        "Content-Security-Policy": _POLICY,
        # Asked about each time and answered with 304: a new version of the server is a new page at once.
        "Cache-Control": "no-cache",
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:20]}"',
    }
    return _File(content, headers)


def _answer(request: Request, file: _File) -> Response:
    if file.headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=file.headers)
    return Response(file.content, headers=file.headers)
