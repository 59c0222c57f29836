"""A short run with a fixed seed, as part of every test run; `make chaos` does long ones with any."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click
import pytest

from tests.chaos.run import Plan, run
from tests.chaos.schedule import KINDS, schedule
from worker.local import kafka as local_kafka
from worker.local import redis as local_redis

SHORT = Plan(
    seed=6,
    minutes=0.55,
    rate=250,
    # All but a full disk, for which not every machine lets one mount, and what takes long to start again.
    kinds=tuple(kind for kind in KINDS if kind not in ("full_disk", "rebalance_storm", "end_broker")),
    gap_s=(1.5, 4.0),
)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_nothing_is_lost_doubled_or_out_of_order(tmp_path: Path) -> None:
    for missing in (local_kafka.available(), local_redis.available()):
        if missing is not None:
            pytest.skip(missing)
    faults = schedule(SHORT.seed, SHORT.minutes * 60, SHORT.kinds, SHORT.gap_s)
    outcome = run(SHORT, tmp_path, click.echo, lambda _: None)
    assert outcome.good, (outcome.result, outcome.verdict.examples)
    assert outcome.result["faults_by_kind"] == dict(sorted(Counter(fault.kind for fault in faults).items()))
    assert outcome.result["faults"] >= 10
    assert outcome.result["records"] > 5000
