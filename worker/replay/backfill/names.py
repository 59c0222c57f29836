"""What belongs to a backfill alone: two topics, a consumer group, and a hash tag's part of Redis."""

from __future__ import annotations

import re
from dataclasses import replace

from worker.settings import Settings
from worker.topics.acls import BACKFILLS
from worker.topics.plan import Topic, plan
from worker.trends.keys import Keys

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


def group_of(name: str) -> str:
    """Whose committed offsets say how far the inputs are labelled."""
    return f"{BACKFILLS}{name}"


def live_keys(settings: Settings) -> Keys:
    """Of what is counted live."""
    return Keys(settings.trends.namespace, settings.topics.labels)


def with_topics_of(settings: Settings, name: str) -> Settings:
    """The settings with the backfill's own topics for labels and dead letters.

    Dead letters go to one of their own, because those of the live topic are put back into the live inputs.
    """
    topics = settings.topics
    own = {"labels": f"{topics.labels}-{name}", "dead_letters": f"{topics.dead_letters}-{name}"}
    return settings.model_copy(update={"topics": topics.model_copy(update=own)})


def topics_of(settings: Settings, name: str) -> tuple[Topic, ...]:
    """These topics, with the shape of their live ones."""
    topics = settings.topics
    return tuple(
        replace(topic, name=f"{topic.name}-{name}")
        for topic in plan(topics)
        if topic.name in (topics.labels, topics.dead_letters)
    )
