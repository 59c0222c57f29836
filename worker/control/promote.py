"""Promote a model: tell the workers, wait for what they say, and go back where one of them refuses."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from worker.clock import Clock
from worker.control.follow import Watched
from worker.control.messages import MODEL, Promotion, Report
from worker.control.topic import ControlWriter
from worker.errors import ConfigurationError
from worker.settings import Settings
from worker.topics.members import count_members

_LOOK_S = 0.2
_WRITE_S = 30.0


class Outcome(NamedTuple):
    """What the workers did."""

    serving: list[Report]
    refused: list[Report]
    silent: int
    """Workers of the group that have not said anything since."""
    taken_back: bool = False
    """Whether all were told to go back, because one refused."""


def promoted(settings: Settings, board: Watched, model: str, *, within_s: float, clock: Clock) -> Outcome:
    """Promote `model` (`name@version`), and wait up to `within_s` seconds for every worker's answer.

    A fleet that serves two models for good would be nobody's wish, and a worker that starts later would
    meet what the others have refused: so one refusal takes the promotion back.

    Raises:
        ConfigurationError: it is no name of a model.
        DependencyError: Kafka did not take it.
    """
    before, _, _ = board.settings
    writer = ControlWriter(settings.kafka, settings.topics.control)
    promotion = _promotion(model, clock)
    workers = count_members(settings.kafka, settings.worker.group_id)
    writer.write(MODEL, promotion, within_s=_WRITE_S)
    outcome = _wait(board, promotion, workers, within_s, clock)
    if not outcome.refused:
        return outcome
    again = None if before is None else _promotion(before.model, clock)
    writer.write(MODEL, again, within_s=_WRITE_S)
    return outcome._replace(taken_back=True)


def _promotion(model: str, clock: Clock) -> Promotion:
    now = datetime.fromtimestamp(clock.time(), UTC)
    try:
        return msgspec.convert({"model": model, "at": now}, Promotion)
    except msgspec.ValidationError:
        raise ConfigurationError([f"{model}: write NAME@VERSION, for example default@2026.11.24"]) from None


def _wait(board: Watched, promotion: Promotion, workers: int, within_s: float, clock: Clock) -> Outcome:
    """Until as many workers have answered this promotion, or time is up."""
    deadline = clock.monotonic() + within_s
    while True:
        answers = [report for report in board.reports if report.told == promotion.at]
        serving = [report for report in answers if report.model == promotion.model]
        refused = [report for report in answers if report.model != promotion.model]
        silent = max(0, workers - len(answers))
        if not silent or clock.monotonic() >= deadline:
            return Outcome(serving, refused, silent)
        clock.sleep(_LOOK_S)
