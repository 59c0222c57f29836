"""Under MOODSTREAM_TEST_STRICT=1 a skipped test fails, with its reason: CI must have run everything.

Only tests marked `needs_data` may still skip: the data sets are not part of the product.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

VARIABLE = "MOODSTREAM_TEST_STRICT"

_strict = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_strict] = os.environ.get(VARIABLE) == "1"
    config.addinivalue_line("markers", "needs_data: reads data sets that are not part of the product")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    expected_to_fail = hasattr(report, "wasxfail")
    if not expected_to_fail and item.get_closest_marker("needs_data") is None:
        _forbid_skip(report, item.config)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skip(report, collector.config)
    return report


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport, config: pytest.Config) -> None:
    if report.outcome != "skipped" or not config.stash[_strict]:
        return
    where = report.longrepr
    if isinstance(where, tuple):
        path, line, reason = where
        where = f"{path}:{line}: {reason}"
    report.outcome = "failed"
    report.longrepr = f"{where}\n{VARIABLE}=1 turns this skip into a failure"
