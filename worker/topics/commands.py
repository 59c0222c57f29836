"""`moodstream topics`: all but what deals with dead letters, which is in `letter_commands`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import click
import msgspec

from worker.errors import ConfigurationError
from worker.formats.schemas import MESSAGES, avro, protobuf
from worker.options import json_option, settings_options
from worker.settings import Format, Settings
from worker.topics.acls import ROLES, commands, least, usual_principal
from worker.topics.contract import TYPES, asyncapi
from worker.topics.letter_commands import inspect_letters, redrive_letters, wait_option
from worker.topics.plan import Difference
from worker.topics.schemas import schema_of


@click.group()
def topics() -> None:
    """Create and check the topics, say what is on them and who needs which ACLs; deal with dead letters."""


topics.add_command(inspect_letters)
topics.add_command(redrive_letters)


@topics.command()
@json_option
@wait_option
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
@wait_option
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


@topics.command()
@click.argument("roles", nargs=-1, type=click.Choice(ROLES), metavar="[ROLE]...")
@click.option("--principal", metavar="User:NAME", help="For whom; User:moodstream-ROLE where not given.")
@json_option
@settings_options
def acls(settings: Settings, roles: tuple[str, ...], principal: str | None, as_json: bool) -> None:
    """Print the least ACLs that each ROLE needs, as lines of kafka-acls.sh; connects to nothing.

    Roles: worker, trends, source (who writes posts), operator (who promotes models), and the commands of
    this group: inspect, redrive, create, check.
    """
    found = {role: (principal or usual_principal(role), least(role, settings)) for role in roles or ROLES}
    if as_json:
        _print_json(
            **{
                role: {"principal": whom, "acls": [acl._asdict() for acl in needed]}
                for role, (whom, needed) in found.items()
            }
        )
        return
    for role, (whom, needed) in found.items():
        click.secho(f"# {role}", dim=True)
        for line in commands(needed, whom, settings.kafka.bootstrap_servers):
            click.echo(line)


@topics.command()
@click.option(
    "--message",
    type=click.Choice(list(TYPES)),
    help="Print the schema of one message instead.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["json", "avro", "protobuf"]),
    default="json",
    show_default=True,
    help="Of that schema: JSON Schema, Avro (.avsc) or Protobuf (.proto); the last two of post and label.",
)
@settings_options
def contract(settings: Settings, message: str | None, kind: Format) -> None:
    """Print what stands on the topics as an AsyncAPI 3 document in JSON; connects to nothing."""
    if kind != "json" and message not in MESSAGES:
        raise ConfigurationError([f"--format {kind}: name --message post or --message label with it"])
    if kind == "protobuf":
        click.echo(protobuf(MESSAGES[message or ""]), nl=False)
        return
    if kind == "avro":
        found: Any = avro(MESSAGES[message or ""])
    else:
        found = schema_of(TYPES[message]) if message else asyncapi(settings, version("moodstream"))
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))


def _remark(change: Difference) -> str:
    """Adding partitions has a price that whoever runs this should know."""
    return " (keys now map to other partitions)" if change.what == "partitions" else ""


def _plain(differences: tuple[Difference, ...]) -> list[dict[str, str]]:
    return [asdict(difference) for difference in differences]


def _print_json(**result: Any) -> None:
    click.echo(msgspec.json.encode(result).decode())
