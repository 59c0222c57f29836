"""`moodstream doctor`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click
import msgspec

from worker.clock import Clock, SystemClock
from worker.doctor.findings import Finding, exit_code
from worker.options import json_option, settings_options
from worker.settings import Settings

ROLES = ("worker", "trends", "quality")
_SIGNS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "fault": ("✗", "red")}


def examine(settings: Settings, roles: Sequence[str], *, wait_s: float, clock: Clock) -> Iterator[Finding]:
    """All looks that these roles make necessary, as they are done; what is nearest first."""
    from worker.doctor import kafka, machine, redis, registry

    yield from machine.limits()
    yield from machine.addresses(settings, roles)
    if "worker" in roles:
        yield from machine.model(settings)
    if "trends" in roles:
        yield from redis.look(settings, clock)
    yield from registry.look(settings)
    yield from kafka.look(settings, roles, wait_s=wait_s, clock=clock)


@click.command()
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(ROLES),
    default=("worker", "trends"),
    show_default=True,
    help="What is to run here; again for more than one.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a broker that does not answer yet.",
)
@json_option
@settings_options
def doctor(settings: Settings, roles: tuple[str, ...], wait_s: float, as_json: bool) -> None:
    """Look at all that the roles need, from addresses to ACLs, and say what to do; change nothing.

    Exit code 0: no fault; 2: something is wrong; 3: a server is away or refuses us.
    """
    found = []
    for finding in examine(settings, roles, wait_s=wait_s, clock=SystemClock()):
        found.append(finding)
        if not as_json:
            _show(finding)
    faults = sum(finding.state == "fault" for finding in found)
    if as_json:
        click.echo(msgspec.json.encode({"ok": not faults, "findings": found}))
    elif faults:
        click.secho(f"{faults} to mend", fg="red", bold=True)
    else:
        click.secho("nothing is wrong", fg="green", bold=True)
    sys.exit(exit_code(found))


def _show(finding: Finding) -> None:
    sign, colour = _SIGNS[finding.state]
    click.echo(f"{click.style(sign, fg=colour)} {click.style(finding.check, bold=True)}: {finding.said}")
    if finding.mend:
        click.echo(f"    {finding.mend}")
