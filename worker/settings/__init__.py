"""Every setting of every role, in one frozen tree, read once.

Order, strongest first: command-line flags, `MOODSTREAM_SECTION__NAME` environment variables, defaults.
All that is wrong is reported at once, each problem with the setting's name and an accepted value.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from worker.settings.base import HttpSettings, Section
from worker.settings.kafka import Format, KafkaSettings, TopicSettings
from worker.settings.quality import QualityHttpSettings, QualitySettings, ReviewSettings
from worker.settings.registry import RegistrySettings
from worker.settings.source import MastodonSettings, SourceHttpSettings, SourceSettings, XSettings
from worker.settings.tracing import TracingSettings
from worker.settings.trends import AlertSettings, RedisSettings, TrendsHttpSettings, TrendsSettings
from worker.settings.worker import (
    BatchSettings,
    ClassifySettings,
    DeadLetterSettings,
    ModelSettings,
    WorkerHttpSettings,
    WorkerSettings,
)

ENV_PREFIX = "MOODSTREAM_"


class LogSettings(Section):
    """Logs go to standard error, one JSON object a line unless a person is watching."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level.")
    format: Literal["auto", "json", "text"] = Field(
        default="auto", description="auto: text on a terminal, JSON elsewhere."
    )


class Settings(Section):
    """The whole tree. Build it with `load`, once, and pass it in."""

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    registry: RegistrySettings = RegistrySettings()
    model: ModelSettings = ModelSettings()
    batch: BatchSettings = BatchSettings()
    worker: WorkerSettings = WorkerSettings()
    redis: RedisSettings = RedisSettings()
    trends: TrendsSettings = TrendsSettings()
    source: SourceSettings = SourceSettings()
    review: ReviewSettings = ReviewSettings()
    quality: QualitySettings = QualitySettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()


__all__ = [
    "ENV_PREFIX",
    "AlertSettings",
    "BatchSettings",
    "ClassifySettings",
    "DeadLetterSettings",
    "Format",
    "HttpSettings",
    "KafkaSettings",
    "LogSettings",
    "MastodonSettings",
    "ModelSettings",
    "QualityHttpSettings",
    "QualitySettings",
    "RedisSettings",
    "RegistrySettings",
    "ReviewSettings",
    "Settings",
    "SourceHttpSettings",
    "SourceSettings",
    "TopicSettings",
    "TracingSettings",
    "TrendsHttpSettings",
    "TrendsSettings",
    "WorkerHttpSettings",
    "WorkerSettings",
    "XSettings",
]
