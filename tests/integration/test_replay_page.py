"""A replay's page in a real browser, opened from disk, with posts by somebody who means harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import browser
from tests.support.predictions import HOSTILE, hostile
from worker.replay.history.page import html


@pytest.mark.slow
def test_it_opens_from_disk_runs_nothing_fetches_nothing_and_fits(tmp_path: Path) -> None:
    missing = browser.available()
    if missing is not None:
        pytest.skip(missing)
    report = hostile(tmp_path / "report")
    file = tmp_path / "report.html"
    file.write_text(html(report), encoding="utf-8")
    seen: list[str] = []

    with browser.chromium() as chromium:
        page = chromium.new_page(viewport={"width": 1200, "height": 900})
        page.on("request", lambda request: seen.append(request.url))
        page.on("console", lambda message: seen.append(message.text))
        page.on("dialog", lambda dialog: seen.append(dialog.message))
        page.goto(file.as_uri())

        assert page.title() == "moodstream replay: tweets"
        assert page.locator(".verdict").inner_text() == report.verdict
        assert page.locator("script, img, iframe").count() == 0
        assert HOSTILE[0] in page.locator(".said").all_inner_texts()
        assert page.locator("svg.chart").count() == 2
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.emulate_media(color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
        for width in (1200, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.close()

    assert seen == [file.as_uri()]
