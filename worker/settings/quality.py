"""What people are asked to review, and the role that counts what they say."""

from __future__ import annotations

from pydantic import (
    Field,
)

from worker.settings.base import HttpSettings, Port, Seconds, Section
from worker.slices import Review


class QualityHttpSettings(HttpSettings):
    """The quality role's API, health and metrics."""

    port: Port = Field(default=8081, description="Port to bind; 0 lets the system choose one and logs it.")


class ReviewSettings(Section):
    """Which labels people are asked to review; measured apart, because who chooses biases accuracy."""

    random_share: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of all labels in the random slice, whose accuracy is that of the stream. As large "
        "as people can review whole: 400 reviewed labels give an interval of 5 points.",
    )
    low_margin: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Labels whose most probable answer is less than this ahead of the second are offered as "
        "close calls: the ones that a training learns most from.",
    )

    @property
    def slices(self) -> Review:
        """How the slices are cut, for whoever offers labels and whoever measures them."""
        return Review(self.random_share, self.low_margin)


class QualitySettings(Section):
    """The quality role: one instance, and spares that take over from it."""

    group_id: str = Field(default="moodstream-quality", min_length=1, description="Consumer group.")
    session_timeout_ms: int = Field(
        default=10_000, ge=6000, le=60_000, description="How soon a spare takes over from a dead instance."
    )
    retention_days: int = Field(
        default=365,
        ge=1,
        description="How long a corrected label counts, from when it was labelled. Bounds the memory: some "
        "1.5 KB a corrected label.",
    )
    clock_tolerance_s: float = Field(
        default=300.0, ge=0, description="How far ahead of us the clock of who corrects may be."
    )
    refresh_s: Seconds = Field(default=10.0, description="How often the figures are computed.")
    drain_s: Seconds = Field(default=10.0, description="Longest time to finish after SIGTERM.")
    stall_s: Seconds = Field(
        default=60.0, description="/livez fails when corrections wait and none has moved for this long."
    )
    http: QualityHttpSettings = QualityHttpSettings()
