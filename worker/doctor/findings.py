"""What a look found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from worker.errors import ConfigurationError, DependencyError

State = Literal["ok", "note", "fault"]
"""`note`: it works, and somebody should look at it."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was looked at."""

    check: str
    """What was looked at, such as `kafka.topics`."""
    state: State
    said: str
    """What was found; no secret, no text of a post."""
    mend: str = ""
    """What to do about it; empty where `said` says it, or nothing is to be done."""
    away: bool = False
    """Whether a server cannot be reached or does not want us."""


def exit_code(findings: Sequence[Finding]) -> int:
    """0 where no fault was found, 3 where a server is away or refuses us, 2 for all other faults."""
    faults = [finding for finding in findings if finding.state == "fault"]
    if not faults:
        return 0
    return DependencyError.exit_code if any(fault.away for fault in faults) else ConfigurationError.exit_code
