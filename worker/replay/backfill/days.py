"""The days that a backfill covers, as --from and --to say them. Pure.

Whole days, UTC: authors, terms and the counts of 28 days are kept by the day, and a day cannot be answered by
two models at once.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from worker.times import moment
from worker.trends.backfills import day_text
from worker.trends.windows import DAY

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Days(NamedTuple):
    """Days since the epoch, UTC: `first` and all up to, not including, `end`."""

    first: int
    end: int

    @property
    def seconds(self) -> tuple[int, int]:
        """Where the first begins and the last ends, in epoch seconds."""
        return self.first * DAY, self.end * DAY


def parse_days(start: str, end: str, now: float) -> Days:
    """What `--from` and `--to` ask for; `now` in epoch seconds.

    Raises:
        ValueError: they make no whole days that are over; the message names every problem, a line each.
    """
    problems: list[str] = []
    found: list[int] = []
    for option, text in (("--from", start), ("--to", end)):
        try:
            found.append(_day(option, text, now))
        except ValueError as error:
            problems.append(str(error))
    if not problems:
        first, last = found
        today = int(now // DAY)
        if first >= last:
            problems.append(f"--from {start} is not before --to {end}: --to is the day after the last")
        if last > today:
            problems.append(
                f"--to {end}: its last day is not over yet, UTC: say {day_text(today)} at the latest"
            )
    if problems:
        raise ValueError("\n".join(problems))
    return Days(*found)


def _day(option: str, text: str, now: float) -> int:
    # By itself: `date.fromisoformat` takes ten digits for a day too, and they are epoch seconds.
    whole = f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text
    try:
        at = moment(whole, now)
    except ValueError as error:
        raise ValueError(f"{option} {text}: must be a day such as 2026-05-04, or {error}") from None
    day, within = divmod(at, DAY)
    if within:
        raise ValueError(
            f"{option} {text} lies within a day: a backfill covers whole days, UTC: say {day_text(int(day))}"
            f" or {day_text(int(day) + 1)}"
        )
    return int(day)
