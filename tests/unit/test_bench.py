"""Benchmarks: how they measure, and what they draw."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from io import StringIO
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from worker.bench.cpu_peers import measure
from worker.bench.labels import labels, queries
from worker.bench.latency import throughput, waits
from worker.bench.picture import throughput_svg
from worker.bench.report import as_table
from worker.bench.stream import systems, worker_environment
from worker.cli import cli
from worker.configuration import load
from worker.errors import ConfigurationError, DependencyError
from worker.trends.counting import decode
from worker.trends.matcher import Matcher
from worker.types import Record

SVG = "{http://www.w3.org/2000/svg}"


def test_a_worker_under_test_has_the_model_and_batches_that_were_asked_for() -> None:
    settings = load({"model.streams": "1", "batch.slo_ms": "100", "kafka.bootstrap_servers": "far:1"}, {})
    asked = {"MOODSTREAM_MODEL__STREAMS": "1", "MOODSTREAM_BATCH__SLO_MS": "100.0"}
    assert worker_environment(settings) == asked
    workers = [system for system in systems(settings, 1000) if "moodstream" in system.name]
    assert len(workers) == 2
    for worker in workers:
        assert asked.items() <= worker.environment.items()


def test_every_call_has_its_number_of_posts_and_goes_on_where_the_last_one_ended() -> None:
    seen: list[str] = []

    def answer(texts: Sequence[str]) -> None:
        assert len(texts) == 2
        seen.extend(texts)

    found = measure(answer, ["a", "b", "c"], posts=2, seconds=0.01)

    assert seen[:6] == ["a", "b", "c", "a", "b", "c"]
    assert found["posts_at_once"] == 2
    assert found["posts_per_s"] > 0


def test_throughput_counts_what_comes_while_posts_are_still_sent() -> None:
    due = np.arange(0.0, 10.0, 0.01)  # 100 a second
    arrived = 0.5 + due * 2  # labels at half that speed

    assert throughput(due, arrived) == pytest.approx(50, rel=0.01)
    assert throughput(due, np.full(len(due), np.inf)) == 0


def test_waits_count_from_the_schedule_and_leave_the_warm_up_out() -> None:
    due = np.arange(0.0, 10.0, 0.01)
    arrived = due + np.where(due < 2.0, 9.0, 0.1)
    arrived[-1] = np.inf

    found = waits(0.5, due, arrived)

    assert (found.p50_ms, found.p99_ms, found.worst_ms) == (100.0, 100.0, 100.0)
    assert (found.posts, found.lost) == (800, 1)
    assert found.posts_per_s == pytest.approx(100, rel=0.01)
    with pytest.raises(DependencyError):
        waits(0.5, due, np.full(len(due), np.inf))


def test_the_picture_shows_every_system_and_joins_ours() -> None:
    points = {"slow & old": (1000.0, 50.0), "ours, 1": (2.0, 400.0), "ours, 64": (30.0, 2000.0)}

    drawn = ElementTree.fromstring(
        throughput_svg(points, ours=["ours, 1", "ours, 64"], title="t")
    )  # our own words

    places = {
        text.text: (float(dot.attrib["cx"]), float(dot.attrib["cy"]))
        for dot, text in zip(
            drawn.iter(f"{SVG}circle"), [t for t in drawn.iter(f"{SVG}text") if t.text in points], strict=True
        )
    }
    assert places["ours, 1"][0] < places["ours, 64"][0] < places["slow & old"][0]
    assert places["ours, 64"][1] < places["ours, 1"][1] < places["slow & old"][1]
    [line] = drawn.iter(f"{SVG}polyline")
    assert line.attrib["points"].count(",") == 2


def test_names_in_the_picture_do_not_cover_one_another() -> None:
    points = {f"system {index}": (10.0, 100.0 + index) for index in range(12)}

    drawn = ElementTree.fromstring(throughput_svg(points, ours=[], title="t"))  # our own words

    heights = sorted(float(t.attrib["y"]) for t in drawn.iter(f"{SVG}text") if t.text in points)
    assert len(heights) == 12
    assert min(below - above for above, below in pairwise(heights)) >= 15
    assert 0 < heights[0] < heights[-1] < float(drawn.attrib["height"])


def test_a_system_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match="transformers pipeline, one by one"):
        CliRunner().invoke(cli, ["bench", "cpu", "--only", "nothing"], catch_exceptions=False)


def test_labels_to_count_rise_in_time_and_are_what_trends_read() -> None:
    rows = list(labels(["sun #hot", "rain"], 1000, start=7200.0, end=10_800.0))
    assert rows == list(labels(["sun #hot", "rain"], 1000, start=7200.0, end=10_800.0))
    records = [Record("labels", 0, number, key, value, 0) for number, (key, value) in enumerate(rows)]
    found = decode(records)
    assert len(found.events) == len(records)
    minutes = [event.cell.minute for event in found.events]
    assert (minutes[0], minutes[-1]) == (119, 179)
    assert max(before - after for before, after in pairwise(minutes)) <= 1
    assert {event.terms for event in found.events} == {("sun", "#hot"), ("rain",)}
    assert all(event.author for event in found.events)
    without = next(labels(["sun"], 1, start=0.0, end=1.0, with_text=False))
    assert b'"text"' not in without[1]


def test_queries_to_track_can_be_parsed_and_find_some_posts() -> None:
    texts = [
        " ".join(f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(at, at + 9)) for at in range(300)
    ]
    found = queries(texts, 100)
    assert len(found) == 100
    matcher = Matcher(found)
    assert any(matcher.match(text, None, "en", "tweets") for text in texts)
    assert len(queries(texts, 5000)) < 5000


def test_a_table_fits_a_narrow_screen_with_every_number_whole() -> None:
    speeds = {"pipeline, batches of 32": 167.0, "OpenVINO": 662.4, "moodstream, 256 at once": 1679.0}
    screen = Console(width=60, file=StringIO())

    screen.print(as_table(speeds, "moodstream bench cpu"))

    assert isinstance(screen.file, StringIO)
    shown = [line.split() for line in screen.file.getvalue().splitlines() if line.strip()]
    assert shown[1] == ["system", "posts/s", "x1", "x2"]
    assert shown[3:] == [
        ["1", "pipeline,", "batches", "of", "32", "167", "0.25"],
        ["2", "OpenVINO", "662", "3.97"],
        ["3", "moodstream,", "256", "at", "once", "1,679", "10.05", "2.53"],
    ]
