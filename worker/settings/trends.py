"""Redis, the trends role and its alerts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import (
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from worker.settings.base import HttpSettings, Port, Seconds, Section

_WEBHOOK = re.compile(
    r"(https://(?P<host>[a-zA-Z0-9.-]+|\[[0-9a-fA-F:.]+\])|http://(127\.0\.0\.1|localhost))(:\d{1,5})?(/[^\s#]*)?"
)


class TrendsHttpSettings(HttpSettings):
    """The trends role's API, health and metrics."""

    port: Port = Field(default=8080, description="Port to bind; 0 lets the system choose one and logs it.")


class RedisSettings(Section):
    """How to reach Redis, for the trends role."""

    url: str = Field(
        default="redis://127.0.0.1:6379/0",
        description="redis://host:port/db, rediss:// for TLS, unix:// for a socket; no password in it.",
        pattern=r"^(redis|rediss|unix)://[^\s]+$",
        examples=["rediss://redis:6379/0"],
    )
    username: str | None = Field(default=None, description="ACL user.")
    password: SecretStr | None = Field(default=None, description="Password of the ACL user.")
    ssl_ca_location: Path | None = Field(
        default=None,
        description="CA certificates (PEM) to trust with rediss://; the system's where not given.",
    )
    ssl_certificate_location: Path | None = Field(
        default=None, description="Client certificate (PEM), where Redis wants one (tls-auth-clients)."
    )
    ssl_key_location: Path | None = Field(default=None, description="Key (PEM) of the client certificate.")
    ssl_key_password: SecretStr | None = Field(default=None, description="Password of the client key.")
    timeout_s: Seconds = Field(default=5.0, description="Longest wait for an answer.")

    @model_validator(mode="after")
    def _tls_is_whole(self) -> RedisSettings:
        if (self.ssl_certificate_location is None) != (self.ssl_key_location is None):
            raise ValueError("ssl_certificate_location and ssl_key_location go together")
        files = (self.ssl_ca_location, self.ssl_certificate_location)
        if files != (None, None) and not self.url.startswith("rediss://"):
            raise ValueError("certificates are used with a rediss:// URL only: the connection would be open")
        return self

    @field_validator("url")
    @classmethod
    def _no_password(cls, value: str) -> str:
        if "@" in value:
            raise ValueError("put user name and password into redis.username and redis.password, not the URL")
        return value


class AlertSettings(Section):
    """Spikes, far more posts than usual of an emotion or a tracked query; drift, labels that look unusual."""

    detect: Literal["on", "off"] = Field(
        default="on", description="off: look for no spikes; what was found before is still served."
    )
    window_minutes: int = Field(
        default=30,
        ge=5,
        le=180,
        multiple_of=5,
        description="Span that is compared with its usual counts, in steps of 5 minutes. Shorter finds a "
        "spike sooner, longer finds one in fewer posts.",
    )
    min_posts: int = Field(
        default=50,
        ge=5,
        description="Fewest posts in a window that can be a spike; raise it where small ones do not matter.",
    )
    min_ratio: float = Field(
        default=2.0, gt=1, description="Least number of times the usual count and the usual share."
    )
    min_deviations: float = Field(
        default=4.5,
        ge=2,
        description="Least distance from the usual count, in robust standard deviations; lower finds more "
        "spikes and more that are none.",
    )
    weeks: int = Field(
        default=4,
        ge=1,
        le=26,
        description="Previous weeks whose same hour is compared with, as far as counts are kept.",
    )
    cooldown_minutes: int = Field(
        default=360, ge=0, description="After an alert the same series raises no other for so long."
    )
    reach_minutes: int = Field(
        default=120,
        ge=10,
        le=1440,
        description="How far back windows are looked at (again): a spike that an outage delayed is still "
        "found within this time.",
    )
    every_s: Seconds = Field(default=30.0, description="How often windows are looked at.")
    drift: Literal["on", "off"] = Field(
        default="on",
        description="off: do not look whether the labels' confidence, length and language are as usual; "
        "spikes are told whatever made them.",
    )
    drift_posts: int = Field(
        default=300,
        ge=50,
        description="Fewest labels of one model in a window, or else in a day, that are judged for drift.",
    )
    drift_psi: float = Field(
        default=0.2,
        gt=0,
        description="Least population stability index that is a drift; 0.1 is customarily some, 0.25 much.",
    )
    drift_cooldown_hours: int = Field(
        default=72, ge=0, description="After an alert the same drift is not told again for so long."
    )
    keep_hours: int = Field(default=24 * 35, ge=1, description="How long /api/alerts remembers an alert.")
    max_kept: int = Field(
        default=1000, ge=1, le=100_000, description="Most alerts that /api/alerts remembers."
    )
    webhook_urls: tuple[SecretStr, ...] = Field(
        default=(),
        max_length=8,
        description="Comma-separated https:// addresses that get each alert as JSON, Slack's incoming "
        "webhooks among them. Hidden like a password, because who knows one may post there.",
    )
    webhook_secret: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Key of the HMAC-SHA256 signature that each webhook carries in X-Moodstream-Signature. "
        "For example the output of `openssl rand -hex 24`.",
    )
    webhook_timeout_s: Seconds = Field(default=5.0, le=60, description="Longest wait for a webhook's answer.")
    webhook_queue: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Most alerts that wait for a webhook that is away; then the oldest goes, and is counted.",
    )

    @field_validator("webhook_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("webhook_urls")
    @classmethod
    def _addresses(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        # The message must not hold the address.
        for number, url in enumerate(value, start=1):
            if not _WEBHOOK.fullmatch(url.get_secret_value()):
                raise ValueError(
                    f"address {number} is not https://host/path (http:// only to 127.0.0.1 or localhost; "
                    "no user name in it)"
                )
        return value


class TrendsSettings(Section):
    """The trends role."""

    group_id: str = Field(default="moodstream-trends", min_length=1, description="Consumer group.")
    namespace: str = Field(
        default="moodstream",
        pattern=r"^[a-zA-Z0-9._-]{1,64}$",
        description="First part of every Redis key; another one keeps a second set of trends.",
    )
    retention_hours: int = Field(
        default=24 * 35,
        ge=1,
        description="How long counts by the minute are kept after their last change: what steps that are not "
        "whole hours can reach.",
    )
    hourly_days: int = Field(
        default=400, ge=1, description="How long counts by the hour are kept after their last change."
    )
    daily_days: int = Field(
        default=3660, ge=1, description="How long counts by the day are kept after their last change."
    )
    details_hours: int = Field(
        default=24 * 7,
        ge=1,
        description="How long the authors, terms and sampled posts of an hour are kept. Terms take the most "
        "of the memory: up to 100 KiB an hour.",
    )
    details_days: int = Field(
        default=92, ge=1, description="How long the authors and terms of a day are kept."
    )
    late_hours: int = Field(
        default=24 * 3660,
        ge=0,
        description="A post that was written longer than this before it was labelled is counted as late, and "
        "nowhere else. Lower it where posts cannot be trusted: each hour that any is of takes 3 KiB.",
    )
    early_hours: int = Field(
        default=24,
        ge=0,
        description="A post that says it was written longer than this after it was labelled is counted as "
        "early, and nowhere else.",
    )
    max_sources: int = Field(
        default=64,
        ge=1,
        le=10_000,
        description="Most sources counted by name; further ones count as `other`.",
    )
    max_langs: int = Field(
        default=32,
        ge=1,
        le=10_000,
        description="Most languages counted by name; further ones count as `other`.",
    )
    terms: Literal["on", "off"] = Field(
        default="on",
        description="Whether words, hashtags and emoji are counted; they need `worker.label_text`. Counting "
        "takes about half the time without.",
    )
    max_terms: int = Field(
        default=10_000,
        ge=100,
        le=1_000_000,
        description="Most numbers of posts per term and emotion that are kept of an hour; of a day four "
        "times as many are. Beyond, the rarest terms go. More are needed where more than about 10,000 posts "
        "come in an hour.",
    )
    samples: int = Field(
        default=20,
        ge=0,
        le=1000,
        description="Most posts of each hour and emotion whose ids are kept to look them up, of each hour "
        "and slice that is offered for review, and of each tracked query a quarter of that; 0 keeps none.",
    )
    store_text: Literal["on", "off"] = Field(
        default="off",
        description="Whether sampled posts are kept with their text, which people need who review labels on "
        "the page. Either way they go when a deletion arrives.",
    )
    queries_file: Path | None = Field(
        default=None,
        description="TOML or JSON file with a table `queries`: name = expression. They are tracked besides "
        "those set through the API, and can only be changed in the file.",
        examples=["/etc/moodstream/queries.toml"],
    )
    max_queries: int = Field(
        default=1000, ge=0, le=20_000, description="Most tracked queries, those of the file included."
    )
    max_records: int = Field(default=10_000, ge=1, le=200_000, description="Most labels read at once.")
    live_text: Literal["on", "off"] = Field(
        default="on",
        description="Whether the live page shows the texts of posts as they are counted; off where more "
        "people reach it than may read them. Nothing of it is stored.",
    )
    session_timeout_ms: int = Field(
        default=10_000, ge=1000, le=1_800_000, description="How soon a dead instance's partitions move on."
    )
    drain_s: Seconds = Field(default=10.0, description="Longest time to finish after SIGTERM.")
    stall_s: Seconds = Field(
        default=60.0, description="/livez fails when the loop has not moved for this long."
    )
    alerts: AlertSettings = AlertSettings()
    http: TrendsHttpSettings = TrendsHttpSettings()
