"""A real Chromium, and what a page did in it that it should not have done."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOSTILE = [
    "<script>window.pwned = 1</script>",
    '<img src=x onerror="window.pwned = 1"><svg onload="window.pwned = 1">',
    "</li></ol><h1>not yours</h1><style>body { display: none }</style>",
    "{{constructor.constructor('window.pwned = 1')()}} ${window.pwned = 1} javascript:window.pwned=1",
    "\u202ereversed\u202c \u2067isolated \u202dforced",
    "Z\u0361\u035c\u0322\u0321" * 200,
    "\x00\x07\x1b[31mred\x1b[0m\ufeff\u200b",
    "x" * 2000,
    "ab " * 660,
    "",
]
"""Texts of posts that want to be more than text; those that do anything set `window.pwned`."""


def available() -> str | None:
    """What is missing for a browser and how to get it; `None` where nothing is."""
    return None if shutil.which("chromium") else "no chromium: apt-get install chromium"


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, driven by playwright, whose own download is not needed."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(_ARGUMENTS))
        yield browser
        browser.close()


class Visitor:
    """One person's tab. `faults` is what the page did wrong: errors, and requests to other hosts."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.faults: list[str] = []
        self.expected_statuses: set[int] = set()
        """A browser reports refused requests as errors; a test that provokes some says so."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"page error: {error}"))
        page.on("request", self._request)

    def open(self, path: str = "/") -> None:
        """Go there, and wait until the chart shows something."""
        self.page.goto(self.url + path)
        self.page.locator("#plot canvas").wait_for(timeout=20_000)

    def run(self, script: str) -> Any:
        """What an expression is in the page."""
        return self.page.evaluate(script)

    def text(self, selector: str) -> str:
        """What is written there."""
        return self.page.locator(selector).first.inner_text()

    def _console(self, message: ConsoleMessage) -> None:
        if message.type not in {"error", "warning"}:
            return
        if any(f"status of {status}" in message.text for status in self.expected_statuses):
            return
        self.faults.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.url).netloc:
            self.faults.append(f"request to {request.url}")


def grave(visitor: Visitor) -> list[tuple[str, list[str]]]:
    """What axe-core finds that is serious or critical: the rule, and some of the elements."""
    return [
        (one["id"], [node["html"][:160] for node in one["nodes"]][:3])
        for one in Axe().run(visitor.page).response["violations"]
        if one["impact"] in {"serious", "critical"}
    ]
