"""The kinds of panels and queries that the dashboards are made of, in Grafana's own types."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

PROMETHEUS = model.DataSourceRef(type_val="prometheus", uid="moodstream-prometheus")
INFINITY = model.DataSourceRef(type_val="yesoreyeram-infinity-datasource", uid="moodstream-api")
COLOURS = {
    "sadness": "#669bfe", "joy": "#f8dc81", "love": "#ed9cb2", "anger": "#d05322", "fear": "#a644c1",
    "surprise": "#25fdf9", "neutral": "#7d838a",
}  # fmt: skip
"""Those of the live page."""
SPAN = "from=${__timeFrom:date:seconds}&to=${__timeTo:date:seconds}"
STEP = "step=$__customInterval(3h,1m,2d,10m,40d,1h,1d)"
"""By the span that is shown: a few hundred points, and never more than the API answers."""


class ApiQuery(Builder[Dataquery], Dataquery):
    """A question to the trends API, as the Infinity data source stores it."""

    def __init__(
        self, path: str, columns: Iterable[tuple[str, str, str]], *, root: str = "", form: str = "table"
    ) -> None:
        """`columns`: where it is, what it is called, its type. With `root` the answer is JSON, else CSV."""
        self._path, self._columns, self._root, self._form = path, tuple(columns), root, form

    def build(self) -> Dataquery:
        return self

    def to_json(self) -> dict[str, Any]:
        """What the SDK's encoder writes."""
        return {
            "refId": "A",
            "datasource": INFINITY,
            "type": "json" if self._root else "csv",
            "source": "url",
            "parser": "backend",
            "format": self._form,
            "url": self._path,  # after the address of the data source
            "url_options": {"method": "GET", "data": ""},
            "root_selector": self._root,
            "columns": [{"selector": at, "text": text, "type": kind} for at, text, kind in self._columns],
            "filters": [],
        }


class SpikeMarks(model.AnnotationTarget):
    """The query of the annotations: an Infinity query, where the SDK knows only Grafana's own."""

    def to_json(self) -> dict[str, Any]:
        """What the SDK's encoder writes."""
        columns = [
            ("time", "time", "timestamp"),
            ("time_end", "timeEnd", "timestamp"),
            ("text", "text", "string"),
            ("emotion", "tags", "string"),
        ]
        return ApiQuery(f"/api/alerts?{SPAN}&format=csv", columns, form="dataframe").to_json()


class _Made(Builder[model.AnnotationTarget]):
    """Something that is built already."""

    def __init__(self, made: model.AnnotationTarget) -> None:
        self._made = made

    def build(self) -> model.AnnotationTarget:
        return self._made


def board(name: str, title: str, *, refresh: str, span: str) -> dashboard.Dashboard:
    """An empty dashboard. Each marks the spikes and links to the others, at the same time."""
    return (
        dashboard.Dashboard(title)
        .uid(f"moodstream-{name}")
        .tags(["moodstream"])
        .readonly()
        .refresh(refresh)
        .time(f"now-{span}", "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .annotation(
            dashboard.AnnotationQuery()
            .name("Spikes")
            .datasource(INFINITY)
            .enable(True)
            .icon_color("orange")
            .target(_Made(SpikeMarks()))
        )
        .link(
            dashboard.DashboardLink("moodstream")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["moodstream"])
            .keep_time(True)
        )
    )


def ask(expr: str, legend: str = "", *, instant: bool = False) -> prometheus.Dataquery:
    """A question to Prometheus."""
    query = prometheus.Dataquery().expr(expr).legend_format(legend).datasource(PROMETHEUS)
    return query.instant() if instant else query.range()


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Builder[Dataquery],
    width: int = 12,
    stacked: options.StackingMode = options.StackingMode.NONE,
) -> timeseries.Panel:
    """Lines over time, or areas on top of each other; emotions have their colours."""
    areas = stacked != options.StackingMode.NONE
    legend = common.VizLegendOptions().display_mode(options.LegendDisplayMode.LIST)
    tooltip = common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI)
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(INFINITY if isinstance(queries[0], ApiQuery) else PROMETHEUS)
        .targets(_lettered(queries))
        .unit(unit)
        .min(0)
        .fill_opacity(60 if areas else 10)
        .line_width(0 if areas else 2)
        .stacking(common.StackingConfig().mode(stacked))
        .legend(legend.placement(options.LegendPlacement.BOTTOM).show_legend(True))
        .tooltip(tooltip.sort(options.SortOrder.DESCENDING))
        .span(width)
        .height(8)
    )
    for emotion, colour in COLOURS.items() if _by_emotion(queries) else ():
        fixed = {"mode": model.FieldColorModeId.FIXED, "fixedColor": colour}
        panel = panel.override_by_name(emotion, [model.DynamicConfigValue("color", fixed)])
    return panel


def number(
    title: str,
    description: str,
    unit: str,
    query: prometheus.Dataquery,
    *,
    width: int = 4,
    names: bool = False,
) -> stat.Panel:
    """One figure, or with `names` the names of the series."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .targets([query.ref_id("A")])
        .unit(unit)
        .graph_mode(options.BigValueGraphMode.NONE)
        .text_mode(options.BigValueTextMode.NAME if names else options.BigValueTextMode.AUTO)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .span(width)
        .height(4)
    )


def up_or_away(title: str, description: str, expr: str) -> stat.Panel:
    """Whether a server answers."""
    words = {
        "0": model.ValueMappingResult("away", "red", index=0),
        "1": model.ValueMappingResult("up", "green", index=1),
    }
    return number(title, description, "none", ask(expr, instant=True)).mappings([model.ValueMap(words)])


def spread(title: str, description: str, unit: str, expr: str) -> heatmap.Panel:
    """How a histogram's observations are spread, over time."""
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .targets([ask(expr, "{{le}}").format(PromQueryFormat.HEATMAP).ref_id("A")])
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues"))
        .cell_gap(1)
        .span(12)
        .height(8)
    )


def rows(title: str, description: str, query: ApiQuery, *, width: int = 12) -> table.Panel:
    """A table from the API."""
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(INFINITY)
        .targets([query])
        .span(width)
        .height(8)
    )


def _by_emotion(queries: Iterable[Builder[Dataquery]]) -> bool:
    return any(isinstance(query, ApiQuery) or _legend(query) == "{{emotion}}" for query in queries)


def _legend(query: Builder[Dataquery]) -> str | None:
    return query.build().legend_format if isinstance(query, prometheus.Dataquery) else None


def _lettered(queries: Iterable[Builder[Dataquery]]) -> list[Builder[Dataquery]]:
    return [
        query.ref_id(letter) if isinstance(query, prometheus.Dataquery) else query
        for letter, query in zip("ABCDEFGH", queries, strict=False)
    ]
