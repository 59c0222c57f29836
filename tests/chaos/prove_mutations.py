"""The checker can fail: what is broken on purpose is found, by runs in which the product passes.

Not part of `make test`, because each run takes some minutes: `make chaos-proofs`.
"""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from tests.chaos.run import Outcome, Plan, run
from tests.chaos.system import Options

pytestmark = pytest.mark.timeout(900)

KILLS = Plan(seed=11, minutes=1.5, kinds=("kill_worker", "stop_worker"), trends_within_s=60)
ZOMBIES = Plan(
    seed=12,
    minutes=1.5,
    kinds=("stop_trends",),
    options=Options(redis_delay_s=0.3),
    trends_within_s=60,
)
"""Redis answers late, so that trends are seldom stopped with nothing on its way."""


def outcome(plan: Plan, folder: Path) -> Outcome:
    found = run(plan, folder, click.echo, lambda _: None)
    for line in (found.result, *found.verdict.examples):
        click.echo(str(line))
    return found


@pytest.mark.parametrize("plan", [KILLS, ZOMBIES], ids=["kills", "zombies"])
def test_the_product_passes(plan: Plan, tmp_path: Path) -> None:
    assert outcome(plan, tmp_path).good


def test_a_worker_without_transactions_is_found_out(tmp_path: Path) -> None:
    broken = KILLS.options._replace(worker_module="tests.chaos.untransactional")
    verdict = outcome(KILLS._replace(options=broken), tmp_path).verdict
    assert verdict.doubled + verdict.lost > 0
    assert not verdict.input_lost
    assert not verdict.wrong


def test_trends_that_do_not_compare_the_offset_are_found_out(tmp_path: Path) -> None:
    broken = ZOMBIES.options._replace(trends_module="tests.chaos.unchecked")
    verdict = outcome(ZOMBIES._replace(options=broken, trends_within_s=10), tmp_path).verdict
    assert verdict.trends_off > 0
    assert verdict.lost == verdict.doubled == verdict.wrong == 0
