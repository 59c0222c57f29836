"""What a replay prints: for people a table and the sentence, for machines one line."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.replay.history.report import Report
from worker.replay.history.sentences import called

_LEFT_TO_THE_FILE = ("disagreements", "over_time", "by_language", "by_source", "gold_left_out")
"""Lists that may be long; they are in report.json."""


def as_line(report: Report, folder: Path) -> bytes:
    """The report as one line of JSON, less its long lists, with where the files are."""
    fields = msgspec.to_builtins(report)
    for name in _LEFT_TO_THE_FILE:
        del fields[name]
    del fields["input"]["listed"]
    files = ("report.html", "report.json", "predictions.parquet")
    fields["files"] = {name.replace(".", "_"): str(folder / name) for name in files}
    return msgspec.json.encode(fields)


def show(report: Report, folder: Path) -> None:
    """The report in short."""
    console = Console()
    title = f"{report.input.posts:,} posts, {report.scored:,} scored, {report.input.unparsable:,} unparsable"
    table = Table(title=title)
    for heading in ("", "answered", "accuracy", "95% interval", "macro F1", "ECE", "posts/s"):
        table.add_column(heading, justify="right" if heading else "left")
    for one in report.contestants:
        speed = report.speed.models.get(one.letter)
        scores = ("", "", "", "")
        if one.figures is not None and one.accuracy is not None:
            scores = (
                f"{one.accuracy.value:.4f}",
                f"{one.accuracy.low:.4f} to {one.accuracy.high:.4f}",
                f"{one.figures.macro_f1:.4f}",
                f"{one.figures.ece:.4f}",
            )
        speed_shown = "" if speed is None else f"{speed:,.0f}"
        table.add_row(called(one), f"{one.answered:,}", *scores, speed_shown)
    console.print(table)
    for pair in report.pairs:
        test = "" if pair.test is None else f", McNemar p = {pair.test.mcnemar.p:.3g}"
        console.print(f"{pair.a} and {pair.b}: same label on {pair.agreement.value:.2%}{test}")
    console.print(Text(report.verdict, style="bold"))
    console.print(Text(f"{folder / 'report.html'}"))
