"""In strict mode a skip is a failure, unless it is for want of data sets."""

from __future__ import annotations

import pytest

SKIPS = """
    import pytest

    def test_in_the_test():
        pytest.skip('no Kafka')

    @pytest.mark.skip(reason='no Redis')
    def test_by_mark():
        pass

    @pytest.fixture
    def prometheus():
        pytest.skip('no Prometheus')

    def test_in_a_fixture(prometheus):
        pass
"""
SKIPPED_MODULE = "import pytest\npytest.skip('no Java', allow_module_level=True)"
ALLOWED = """
    import pytest

    @pytest.mark.needs_data
    def test_want_of_data():
        pytest.skip('no data')

    @pytest.mark.xfail
    def test_expected_to_fail():
        raise ValueError
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(pytester, monkeypatch)


class Run:
    """Runs test modules under the plug-in alone."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pytester = pytester
        self._monkeypatch = monkeypatch

    def __call__(self, *, strict: bool, **modules: str) -> pytest.RunResult:
        self._monkeypatch.setenv("MOODSTREAM_TEST_STRICT", "1" if strict else "0")
        self._monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        self._pytester.makepyfile(**modules)
        return self._pytester.runpytest_inprocess("-p", "tests.support.strict", "--strict-markers")


def test_skips_are_skips_at_a_developers_desk(run: Run) -> None:
    result = run(strict=False, test_skips=SKIPS, test_module=SKIPPED_MODULE)

    assert result.ret == pytest.ExitCode.OK
    assert result.parseoutcomes() == {"skipped": 4}


def test_every_skip_fails_with_its_reason(run: Run) -> None:
    result = run(strict=True, test_skips=SKIPS)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"failed": 1, "errors": 2}  # before the test: an error
    for reason in ("no Kafka", "no Redis", "no Prometheus"):
        result.stdout.fnmatch_lines([f"*{reason}*", "*MOODSTREAM_TEST_STRICT=1 turns this skip into*"])


def test_a_skipped_module_stops_the_run(run: Run) -> None:
    result = run(strict=True, test_module=SKIPPED_MODULE)

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*no Java*", "*MOODSTREAM_TEST_STRICT=1 turns this skip into*"])


def test_want_of_data_and_expected_failures_pass(run: Run) -> None:
    result = run(strict=True, test_allowed=ALLOWED)

    assert result.ret == pytest.ExitCode.OK
    assert result.parseoutcomes() == {"skipped": 1, "xfailed": 1}
