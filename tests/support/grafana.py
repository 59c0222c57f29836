"""The committed dashboards: what they ask of whom, with Grafana's macros filled in as Grafana does."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

DASHBOARDS = sorted((Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards").glob("*.json"))
_UNITS = {"m": 60, "h": 3600, "d": 86_400}


class ApiQuestion(NamedTuple):
    """What one panel asks of the trends API."""

    panel: str
    path: str
    """With its parameters."""
    root: str
    """Where in a JSON answer the rows are; empty for CSV."""
    columns: tuple[str, ...]

    def rows(self, body: str) -> list[Mapping[str, Any]]:
        """The rows of an answer; asserts that every column is there."""
        if not self.root:
            reader = csv.DictReader(io.StringIO(body))
            found: list[Mapping[str, Any]] = list(reader)
            assert set(self.columns) <= set(reader.fieldnames or ()), self.panel
            return found
        answer: Any = json.loads(body)
        for part in self.root.split("."):
            answer = answer[part]
        rows: list[Mapping[str, Any]] = answer
        assert all(set(self.columns) <= row.keys() for row in rows), self.panel
        return rows


@dataclass(frozen=True)
class Board:
    """One dashboard."""

    name: str
    json: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Board:
        return cls(path.stem, json.loads(path.read_text(encoding="utf-8")))

    @property
    def panels(self) -> list[dict[str, Any]]:
        """Those that show something: no rows."""
        return [panel for panel in self.json["panels"] if panel["type"] != "row"]

    def promql(self, rate_interval: str = "1m") -> Iterator[tuple[str, str]]:
        """(panel, expression) of everything that is asked of Prometheus."""
        for panel in self.panels:
            for target in panel["targets"]:
                if "expr" in target:
                    yield panel["title"], target["expr"].replace("$__rate_interval", rate_interval)

    def questions(self, start: int, end: int) -> Iterator[ApiQuestion]:
        """Everything that is asked of the API, annotations included, while this span is shown."""
        current = {
            one["name"]: one["current"]["value"] for one in self.json.get("templating", {}).get("list", ())
        }
        targets = [(panel["title"], target) for panel in self.panels for target in panel["targets"]]
        targets += [(marks["name"], marks["target"]) for marks in self.json["annotations"]["list"]]
        for title, target in targets:
            if "url" in target:
                path = filled(target["url"], start, end, current)
                columns = tuple(column["selector"] for column in target["columns"])
                yield ApiQuestion(f"{self.name}: {title}", path, target["root_selector"], columns)


def boards() -> list[Board]:
    """All of them."""
    return [Board.read(path) for path in DASHBOARDS]


def filled(text: str, start: int, end: int, variables: Mapping[str, str]) -> str:
    """A URL with the Infinity data source's macros and the dashboard's variables replaced."""
    text = text.replace("${__timeFrom:date:seconds}", str(start)).replace(
        "${__timeTo:date:seconds}", str(end)
    )
    text = re.sub(r"\$__customInterval\(([^)]*)\)", lambda found: _interval(found[1], end - start), text)
    for name, value in variables.items():
        text = text.replace("${" + name + "}", value)
    assert "$" not in text, text
    return text


def _interval(arguments: str, span: int) -> str:
    """`duration,value,duration,value,...,default`: the value of the first duration that is not shorter."""
    *pairs, default = arguments.split(",")
    assert len(pairs) % 2 == 0
    for duration, value in zip(pairs[::2], pairs[1::2], strict=True):
        if span <= int(duration[:-1]) * _UNITS[duration[-1]]:
            return value
    return default
