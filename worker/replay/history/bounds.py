"""Where a range begins and ends, as --from and --to say it. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

from worker.times import moment

_OFFSET = "offset:"


class Bound(NamedTuple):
    """One end of a range."""

    kind: Literal["beginning", "end", "time", "offset"]
    value: int = 0
    """Milliseconds since the epoch by Kafka's clock, or an offset."""


def parse_bound(option: str, text: str, now: float) -> Bound:
    """What `--from` or `--to` asks for; `now` in epoch seconds.

    Raises:
        ValueError: it is none; the message names the option.
    """
    if text in ("beginning", "end"):
        return Bound("beginning" if text == "beginning" else "end")
    if text.startswith(_OFFSET):
        number = text.removeprefix(_OFFSET)
        if not (number.isascii() and number.isdecimal() and len(number) < 19):
            raise ValueError(f"{option} {text}: write {_OFFSET} and a whole number, such as {_OFFSET}1000")
        return Bound("offset", int(number))
    try:
        return Bound("time", round(moment(text, now) * 1000))
    except ValueError as error:
        raise ValueError(f"{option} {text}: must {error}, {_OFFSET}N, beginning or end") from None
