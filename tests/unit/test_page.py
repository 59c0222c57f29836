"""The live page as files: what is served, what the code may not do, what was vendored, the colours."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from tests.support.api import Served, served
from worker.types import LABELS

PAGE = Path(str(resources.files("worker.web.page")))
OURS = sorted(path for path in PAGE.iterdir() if path.suffix in {".js", ".html", ".css"})


@pytest.fixture(scope="module")
def api() -> Iterator[Served]:
    with served() as everything:
        yield everything


def test_the_page_and_all_that_it_names_are_served(api: Served) -> None:
    page = api.get("/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    named = set(re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text))
    assert len(named) > 10
    for path in named:
        assert api.get(path).status_code == 200, path


def test_every_module_is_named_by_the_page_so_that_none_waits_for_another() -> None:
    html = (PAGE / "index.html").read_text()
    modules = {path.name for path in PAGE.glob("*.js")}
    named = set(re.findall(r'(?:src|href)="/assets/([^"/]+\.js)"', html))
    assert named == modules


@pytest.mark.parametrize("path", ["/", "/assets/main.js", "/assets/vendor/uplot/uPlot.iife.min.js"])
def test_the_policy_lets_nothing_in_from_elsewhere(api: Served, path: str) -> None:
    headers = api.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' data:"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_a_browser_that_has_a_file_is_told_so(api: Served) -> None:
    first = api.get("/assets/page.css")
    again = api.client.get("/assets/page.css", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/assets/",
        "/assets/index.html",
        "/assets/__init__.py",
        "/assets/vendor/manifest.json",
        "/assets/../app.py",
        "/assets/%2e%2e/app.py",
        "/assets/..%2fapp.py",
        "/assets//etc/passwd",
    ],
)
def test_nothing_else_of_the_disk_is_served(api: Served, path: str) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.json()["errorType"]) == (404, "not_found")


def test_the_code_makes_no_markup_of_text_and_calls_nobody() -> None:
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment"
        r"|\beval\(|new Function|importScripts|https?://(?!www\.w3\.org)|//cdn| on[a-z]+=\"|style=\"|<style"
    )
    for path in OURS:
        found = forbidden.search(path.read_text())
        assert found is None, (path.name, found)


def test_what_was_vendored_is_what_npm_gave() -> None:
    packages = json.loads((PAGE / "vendor" / "manifest.json").read_text())
    kept = {path for path in (PAGE / "vendor").rglob("*") if path.is_file()}
    named = {PAGE / "vendor" / "manifest.json"}
    for name, package in packages.items():
        assert package["licence"] == "MIT"
        assert "LICENSE" in package["files"]
        for file, entry in package["files"].items():
            path = PAGE / "vendor" / name / file
            assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"], path
            named.add(path)
        assert f"v{package['version']}" in (PAGE / "vendor" / name / "uPlot.iife.min.js").read_text()[:200]
    assert kept == named


def test_the_page_knows_the_labels() -> None:
    listed = re.search(r"EMOTIONS = (\[[^]]+\])", (PAGE / "format.js").read_text())
    assert listed is not None
    assert sorted(json.loads(listed[1])) == sorted(LABELS)


# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color vision
# deficiency", severity 1.0, on linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
# Ottosson 2020, OKLab: a space in which equal distances look equally different.
TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
Vector = np.ndarray[tuple[int], np.dtype[np.float64]]


def palette(theme: int) -> Mapping[str, str]:
    """The custom properties of one theme: 0 light, 1 dark."""
    css = (PAGE / "page.css").read_text()
    pairs = re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", css)
    return {name: both[theme] for name, *both in pairs}


def linear(colour: str) -> Vector:
    value = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    dark, light = sorted(float(linear(colour) @ weights) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", [0, 1])
def test_emotions_stay_apart_for_every_kind_of_sight(theme: int, sight: str) -> None:
    colours = palette(theme)
    seen = {
        name: TO_LAB @ np.cbrt(TO_LMS @ np.clip(SIGHT[sight] @ linear(colours[name]), 0, 1))
        for name in LABELS
    }
    for one, other in combinations(LABELS, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 0.11, (one, other)


@pytest.mark.parametrize("theme", [0, 1])
def test_text_can_be_read(theme: int) -> None:
    colours = palette(theme)
    for ground in ("ground", "card", "raised"):
        for ink in ("ink", "soft", "accent", "good", "bad"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
    assert contrast(colours["bad"], colours["bad-ground"]) >= 4.5
