"""`moodstream topics create` and `check`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click
import msgspec

from worker.errors import ConfigurationError
from worker.options import json_option, settings_options
from worker.settings import Settings
from worker.topics.plan import Difference

_wait = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a broker that does not answer yet.",
)


@click.group()
def topics() -> None:
    """Create the topics, or check that they are as the settings say."""


@topics.command()
@json_option
@_wait
@click.option(
    "--allow-deletion",
    is_flag=True,
    help="Also apply what makes Kafka delete records that it would have kept: a shorter retention, "
    "another cleanup policy.",
)
@settings_options
def create(settings: Settings, as_json: bool, wait_s: float, allow_deletion: bool) -> None:
    """Create missing topics, add missing partitions, set differing configurations.

    Safe to run again and again, and while workers run. Never takes partitions away.
    """
    from worker.topics import admin

    report = admin.create(settings, allow_deletion=allow_deletion, wait_s=wait_s)
    if as_json:
        _print_json(created=report.created, changed=_plain(report.changed), left=_plain(report.left))
        return
    for name in report.created:
        click.echo(f"{name}: created")
    for change in report.changed:
        click.echo(f"{change.topic}: {change.what} {change.found} -> {change.wanted}{_remark(change)}")
    for difference in report.left:
        click.secho(f"left as it is: {difference}", fg="yellow")
    if not (report.created or report.changed or report.left):
        click.echo("every topic is as the settings say")


@topics.command()
@json_option
@_wait
@settings_options
def check(settings: Settings, as_json: bool, wait_s: float) -> None:
    """Show where the topics differ from the settings, and what mends it; changes nothing.

    Exit code 0: nothing differs; 2: something does; 3: Kafka cannot be reached.
    """
    from worker.topics import admin

    found = admin.check(settings, wait_s=wait_s)
    if as_json:
        _print_json(equal=not found, differences=_plain(found))
    for difference in () if as_json else found:
        click.secho(str(difference), fg="yellow")
    if found:
        sys.exit(ConfigurationError.exit_code)
    if not as_json:
        click.echo("every topic is as the settings say")


def _remark(change: Difference) -> str:
    """Adding partitions has a price that whoever runs this should know."""
    return " (keys now map to other partitions)" if change.what == "partitions" else ""


def _plain(differences: tuple[Difference, ...]) -> list[dict[str, str]]:
    return [asdict(difference) for difference in differences]


def _print_json(**result: Any) -> None:
    click.echo(msgspec.json.encode(result).decode())
