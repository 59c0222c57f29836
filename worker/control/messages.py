"""The messages of `emotion-control`. Pure; the topic is compacted, so the last word on each key stays.

key          value                                    what a worker does
model        {"model": "name@version", "at"}          serves it from the next batch on
shadow       {"model", "share", "at"}, or null        asks it beside the one that serves; null ends that
pause        {"paused": true, "at"}                   takes no records, and stays in its group
worker/ID    {"worker", "model", "refused"?, ...}     (written by workers) what it serves; null: it ended
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from worker.errors import MoodstreamError

MODEL: Final = "model"
SHADOW: Final = "shadow"
PAUSE: Final = "pause"
WORKER: Final = "worker/"
"""What the key of a report begins with; the worker's id follows."""

ModelName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}@[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", max_length=201)
]
_Time = Annotated[datetime, Meta(tz=True)]


class BadControlError(MoodstreamError):
    """A message that sets nothing; whatever was set before stays."""


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """Which model serves."""

    model: ModelName
    at: _Time


class Shadowing(msgspec.Struct, frozen=True, kw_only=True):
    """Which model is asked beside it, and about how much."""

    model: ModelName
    share: Annotated[float, Meta(gt=0, le=1)]
    """Of the posts, chosen by a hash of their key: the same ones for every worker."""
    at: _Time


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Whether records are taken."""

    paused: bool
    at: _Time


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker's shadow has answered since it began."""

    model: ModelName
    against: ModelName
    """What served meanwhile."""
    n: Annotated[int, Meta(ge=0)]
    agreed: Annotated[int, Meta(ge=0)]
    skipped: Annotated[int, Meta(ge=0)] = 0
    """Posts of its share that it was not asked about, because live posts were waiting."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker says of itself."""

    worker: Annotated[str, Meta(min_length=1, max_length=300)]
    model: ModelName
    """What it serves."""
    at: _Time
    told: _Time | None = None
    """`at` of the promotion that it has carried out or refused; None: there was none."""
    refused: str | None = None
    """Why it does not serve what was last promoted."""
    wanted: ModelName | None = None
    """What it refused."""
    shadow: Compared | None = None


Setting = Promotion | Shadowing | Pause | Report
_TYPES: Final[Mapping[str, type[Setting]]] = {MODEL: Promotion, SHADOW: Shadowing, PAUSE: Pause}
Kind = Literal["model", "shadow", "pause", "worker"]


def decode(key: bytes | None, value: bytes | None) -> tuple[str, Setting | None]:
    """The key and what it is set to; None where it is set no more.

    Raises:
        BadControlError: it is no message of these.
    """
    name = (key or b"").decode(errors="replace")
    kind: type[Setting] | None = Report if name.startswith(WORKER) else _TYPES.get(name)
    if kind is None:
        raise BadControlError(f"unknown key {name[:64]!r}: known are {', '.join(_TYPES)} and {WORKER}ID")
    if value is None:
        return name, None
    try:
        setting: Setting = msgspec.json.decode(value, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadControlError(f"{name}: {error}") from None
    return name, setting


class Board:
    """The last word on every key, from the messages in the order of the topic."""

    def __init__(self) -> None:
        self._settings: dict[str, Setting] = {}

    def apply(self, key: bytes | None, value: bytes | None) -> str:
        """Take one message in; the key that it sets.

        Raises:
            BadControlError: nothing has changed.
        """
        name, setting = decode(key, value)
        if setting is None:
            self._settings.pop(name, None)
        else:
            self._settings[name] = setting
        return name

    @property
    def promotion(self) -> Promotion | None:
        """The model that was promoted; None: each worker's own settings say."""
        found = self._settings.get(MODEL)
        return found if isinstance(found, Promotion) else None

    @property
    def shadow(self) -> Shadowing | None:
        """The model in the shadow."""
        found = self._settings.get(SHADOW)
        return found if isinstance(found, Shadowing) else None

    @property
    def paused(self) -> bool:
        """Whether workers take no records."""
        found = self._settings.get(PAUSE)
        return isinstance(found, Pause) and found.paused

    @property
    def reports(self) -> list[Report]:
        """What each worker said last."""
        return [setting for setting in self._settings.values() if isinstance(setting, Report)]
