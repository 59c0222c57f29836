"""The least that each role must be allowed on a Kafka with ACLs. Pure: settings in, facts out."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from worker.settings import Settings

SOURCES = "moodstream-source-"
"""What the groups and transactional ids of our own sources begin with."""

BACKFILLS = "moodstream-backfill-"
"""What the groups and transactional ids of backfills begin with; their names follow."""


class Acl(NamedTuple):
    """One operation that is allowed on some resources of one kind."""

    operation: str
    """In the words of kafka-acls.sh. Read, Write and Alter bring Describe, AlterConfigs DescribeConfigs."""
    resource: Literal["topic", "group", "transactional-id"]
    names: tuple[str, ...]
    pattern: Literal["literal", "prefixed"] = "literal"


def _worker(settings: Settings) -> tuple[Acl, ...]:
    topics, group = settings.topics, settings.worker.group_id
    return (
        Acl("Read", "topic", (*topics.inputs, topics.control)),
        Acl("Write", "topic", (topics.labels, topics.dead_letters, topics.control)),
        Acl("Read", "group", (group,)),
        # What follows the prefix is the worker's instance_id, or random.
        Acl("Write", "transactional-id", (f"{group}-",), "prefixed"),
    )


def _trends(settings: Settings) -> tuple[Acl, ...]:
    topics = settings.topics
    return (
        Acl("Read", "topic", (topics.labels,)),
        Acl("Write", "topic", (topics.alerts, topics.corrections)),
        Acl("Read", "group", (settings.trends.group_id,)),
    )


def _quality(settings: Settings) -> tuple[Acl, ...]:
    topics = settings.topics
    return (
        Acl("Read", "topic", (topics.corrections, topics.labels, topics.judgements)),
        Acl("Write", "topic", (topics.judgements, topics.dead_letters)),
        Acl("Read", "group", (settings.quality.group_id,)),
    )


def _source(settings: Settings) -> tuple[Acl, ...]:
    return (Acl("Write", "topic", settings.topics.inputs),)


def _send(settings: Settings) -> tuple[Acl, ...]:
    # Read: its group commits the source's cursor on the topic, and some read back what they have written.
    return (
        Acl("Read", "topic", settings.topics.inputs),
        Acl("Write", "topic", settings.topics.inputs),
        Acl("Read", "group", (SOURCES,), "prefixed"),
        Acl("Write", "transactional-id", (SOURCES,), "prefixed"),
    )


def _operator(settings: Settings) -> tuple[Acl, ...]:
    control = (settings.topics.control,)
    return (
        Acl("Read", "topic", control),
        Acl("Write", "topic", control),
        Acl("Describe", "group", (settings.worker.group_id,)),
    )


def _inspect(settings: Settings) -> tuple[Acl, ...]:
    return (Acl("Read", "topic", (settings.topics.dead_letters,)),)


def _redrive(settings: Settings) -> tuple[Acl, ...]:
    topics, group = settings.topics, f"{settings.worker.group_id}-redrive"
    return (
        Acl("Read", "topic", (topics.dead_letters,)),
        Acl("Write", "topic", (*topics.redrivable, topics.dead_letters)),
        Acl("Read", "group", (group,)),
        Acl("Write", "transactional-id", (f"{group}-{topics.dead_letters}",)),
    )


def _backfill(settings: Settings) -> tuple[Acl, ...]:
    # Topics of a backfill have the names of the live ones, a dash and its own. Delete is for `remove`.
    labels, dead = f"{settings.topics.labels}-", f"{settings.topics.dead_letters}-"
    own = ("Create", "Write", "Alter", "AlterConfigs", "Delete")
    return (
        Acl("Read", "topic", settings.topics.inputs),
        Acl("Read", "topic", (labels,), "prefixed"),
        *(Acl(operation, "topic", (labels, dead), "prefixed") for operation in own),
        Acl("Read", "group", (BACKFILLS,), "prefixed"),
        Acl("Delete", "group", (BACKFILLS,), "prefixed"),
        Acl("Write", "transactional-id", (BACKFILLS,), "prefixed"),
    )


def _create(settings: Settings) -> tuple[Acl, ...]:
    every = settings.topics.names
    return (Acl("Create", "topic", every), Acl("Alter", "topic", every), Acl("AlterConfigs", "topic", every))


def _check(settings: Settings) -> tuple[Acl, ...]:
    every = settings.topics.names
    return (Acl("Describe", "topic", every), Acl("DescribeConfigs", "topic", every))


_ROLES: Mapping[str, Callable[[Settings], tuple[Acl, ...]]] = {
    "worker": _worker,
    "trends": _trends,
    "quality": _quality,
    "source": _source,
    "send": _send,
    "operator": _operator,
    "backfill": _backfill,
    "inspect": _inspect,
    "redrive": _redrive,
    "create": _create,
    "check": _check,
}
ROLES = tuple(_ROLES)
"""`source` is whoever writes posts, `send` our own commands that do (`moodstream send`, `source`), `operator`
whoever says `moodstream control` and `model promote`, `backfill` whoever runs a backfill; the last four are
commands of `moodstream topics`."""


def least(role: str, settings: Settings) -> tuple[Acl, ...]:
    """The ACLs without which a role cannot work with these settings, and no others."""
    return _ROLES[role](settings)


def usual_principal(role: str) -> str:
    """Whom the ACLs are for where nobody says."""
    return f"User:moodstream-{role}"


def commands(acls: Sequence[Acl], principal: str, bootstrap: str) -> list[str]:
    """Lines for a shell that give `principal` these ACLs with Kafka's own tool."""
    tool = ["kafka-acls.sh", "--bootstrap-server", bootstrap, "--command-config", "admin.properties"]
    lines = []
    for acl in acls:
        words = [*tool, "--add", "--allow-principal", principal, "--operation", acl.operation]
        for name in acl.names:
            words += [f"--{acl.resource}", name]
        if acl.pattern != "literal":
            words += ["--resource-pattern-type", acl.pattern]
        lines.append(shlex.join(words))
    return lines
