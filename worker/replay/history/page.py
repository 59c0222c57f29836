"""report.html: one file that needs nothing but itself. All that comes from outside is escaped.

Posts are written by strangers. The template escapes every value (Jinja's autoescape); the only text that is
put in as it is are the pictures of `charts`, which escape their own. Should something slip through, the
page's content security policy lets no script run and nothing be fetched.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from worker.replay.history import charts
from worker.replay.history.examples import REFERENCE
from worker.replay.history.report import Disagreements, Pair, Report
from worker.replay.history.sentences import called

_TEXT = 400
"""Characters of a post that are shown."""
_TEMPLATE = "report.html.j2"


def html(report: Report) -> str:
    """The page."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=_percent, number=_number, moment=_moment, visible=visible)
    source = resources.files("worker.replay.history").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(report=report, **_prepared(report))


def visible(text: object, most: int = _TEXT) -> str:
    """Text of a stranger as it can be shown: no control characters, no changes of direction, not too long.

    An override of the writing direction would turn round what stands after it on the page.
    """
    kept = "".join(" " if unicodedata.category(one) in _UNSEEN else one for one in str(text)[: most + 1])
    return kept if len(kept) <= most else f"{kept[:most]} ..."


_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories: control, format (direction, width), surrogate, line and paragraph separators."""


def _prepared(report: Report) -> Mapping[str, Any]:
    """What the template needs besides the report itself."""
    names = {one.letter: called(one) for one in report.contestants}
    colours = {one.letter: f"c{number}" for number, one in enumerate(report.contestants)}
    return {
        "names": names,
        "colours": colours,
        "earlier": report.reference is not None and report.reference.kind == "earlier",
        "calibrations": [
            Markup(charts.reliability(one.calibration, names[one.letter], colours[one.letter]))  # noqa: S704
            for one in report.contestants
            if one.calibration is not None
        ],
        "time_chart": Markup(charts.over_time(report.over_time, report.step_s, colours))  # noqa: S704
        if report.over_time
        else "",
        "differences": [(pair, _differences(pair)) for pair in report.pairs],
        "columns": _columns,
        "between": _between,
        "spread": _spread,
        "share": lambda part, whole: part / whole if whole else 0.0,
        "top": lambda table: max(1, *(max(row) for row in table)),
        "span": _range(report),
    }


def _differences(pair: Pair) -> str:
    if pair.test is None:
        return ""
    rows = [
        (f"accuracy, {pair.b} - {pair.a}", pair.test.accuracy_difference),
        (f"macro F1, {pair.b} - {pair.a}", pair.test.macro_f1_difference),
    ]
    return Markup(charts.intervals(rows))  # noqa: S704


def _columns(report: Report) -> list[str]:
    """The classes that something was right or wrong about, or all labels."""
    return report.labels if report.reference is None else report.reference.classes


def _between(one: Disagreements, names: Mapping[str, str]) -> str:
    return " and ".join("the reference" if who == REFERENCE else names[who] for who in one.between)


def _spread(mix: Mapping[str, int]) -> list[tuple[str, int, float]]:
    """Labels with how many posts have them, and their share."""
    n = sum(mix.values()) or 1
    return [(label, count, count / n) for label, count in mix.items()]


def _range(report: Report) -> str:
    """The posts' times in words."""
    if not report.over_time:
        return "none"
    steps = charts.usual(report.over_time)
    most = "" if len(steps) == len(report.over_time) else "most of them "
    end = steps[-1].start + timedelta(seconds=report.step_s)
    return f"{most}written {_moment(steps[0].start)} to {_moment(end)}"


def _percent(share: float | None, digits: int = 1) -> str:
    return "-" if share is None else f"{100 * share:.{digits}f}%"


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
