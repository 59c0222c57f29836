"""Fixtures for every test: real servers where they can be had, and a reason to skip where not.

KAFKA_BOOTSTRAP          use this Kafka instead of starting one
MOODSTREAM_TEST_DATA     the folder of data sets; by default ../shared/data beside the checkout
MOODSTREAM_TEST_STRICT   1: nothing may skip (tests/support/strict.py), and Hypothesis draws the same examples
                         every time: what judges a change must not be chance. Without it, it draws new ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support.kafka import KafkaUnderTest
from worker.bench.texts import read_texts
from worker.local import kafka as local_kafka
from worker.local import prometheus as local_prometheus
from worker.local import redis as local_redis

pytest_plugins = ["pytester", "tests.support.strict"]
_data_folder = Path(os.environ.get("MOODSTREAM_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")


def pytest_configure(config: pytest.Config) -> None:
    # kafka-python 3.0 reads its schemas with functions that Python 3.11 deprecated and 3.13 took back.
    config.addinivalue_line("filterwarnings", "ignore:(read|open)_text is deprecated:DeprecationWarning")
    # No deadline: how long an example takes says how busy the machine is.
    strict = os.environ.get("MOODSTREAM_TEST_STRICT") == "1"
    hypothesis.settings.register_profile("moodstream", derandomize=strict, deadline=None)
    hypothesis.settings.load_profile("moodstream")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for one another make a tiny network ten times slower on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaUnderTest]:
    """A real Apache Kafka that the whole session shares: use topics and groups of your own."""
    given = os.environ.get("KAFKA_BOOTSTRAP")
    if given:
        yield KafkaUnderTest(given)
        return
    _skip_where(local_kafka.available())
    with local_kafka.RealKafka() as server:
        yield KafkaUnderTest(server.bootstrap)


@pytest.fixture
def own_kafka() -> Iterator[local_kafka.RealKafka]:
    """A real Apache Kafka of the test's own, to stop and kill (and mark the test slow)."""
    _skip_where(local_kafka.available())
    with local_kafka.RealKafka() as server:
        yield server


@pytest.fixture
def redis_server() -> Iterator[local_redis.RealRedis]:
    """A real, empty Redis of the test's own, whose data outlive a kill."""
    _skip_where(local_redis.available())
    with local_redis.RealRedis(aof=True) as server:
        yield server


@pytest.fixture
def prometheus() -> Iterator[Callable[[Mapping[str, Any]], local_prometheus.RealPrometheus]]:
    """Starts a real Prometheus with a configuration, such as `scraping({"worker": "127.0.0.1:9464"})`."""
    _skip_where(local_prometheus.available())
    with ExitStack() as servers:
        yield lambda config: servers.enter_context(local_prometheus.RealPrometheus(config))


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that costs next to nothing, for tests of the stream around it."""
    from tests.support.small_model import write_small_model  # OpenVINO: only where it is asked for

    return write_small_model(tmp_path_factory.mktemp("models") / "small").path


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of data sets; mark tests that need it `needs_data`."""
    if not _data_folder.is_dir():
        pytest.skip(f"no data sets at {_data_folder}: name their folder in MOODSTREAM_TEST_DATA")
    return _data_folder


@pytest.fixture(scope="session")
def posts() -> list[str]:
    """Texts of posts: real tweets where the data sets are at hand, else those written for the demo."""
    traffic = _data_folder / "tweets" / "traffic.txt"
    return read_texts(traffic if traffic.is_file() else None)


def _skip_where(missing: str | None) -> None:
    if missing is not None:
        pytest.skip(missing)
