"""The reference of the metrics, from the catalogue."""

from __future__ import annotations

from collections.abc import Iterable

from docs.hooks.markdown import code, page, plain, table
from worker.metrics import Definition

_INTRODUCTION = """
Every role serves those that it measures at `/metrics`. A histogram has `_bucket`, `_sum` and
`_count` behind its name.
"""


def render(catalogue: Iterable[Definition]) -> str:
    """The page."""
    rows = [
        (code(one.exposed), one.kind, ", ".join(map(code, one.labels)), plain(one.help) + _bounds(one))
        for one in catalogue
    ]
    return page("Metrics", _INTRODUCTION, table(["metric", "type", "labels", ""], rows))


def _bounds(one: Definition) -> str:
    return f" Bounds: {', '.join(f'{bound:g}' for bound in one.buckets)}." if one.buckets else ""
