"""Sources that run for ever."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import (
    Field,
    SecretStr,
    field_validator,
)

from worker.settings.base import HttpSettings, Port, Seconds, Section


class SourceHttpSettings(HttpSettings):
    """The health and metrics of a source."""

    port: Port = Field(default=9465, description="Port to bind; 0 lets the system choose one and logs it.")


_SERVER = re.compile(r"(https://[a-zA-Z0-9.-]+|http://(127\.0\.0\.1|localhost))(:\d{1,5})?/?")


class _ApiSettings(Section):
    """Somebody's API that posts come from."""

    @field_validator("token", check_fields=False)
    @classmethod
    def _sendable(cls, value: SecretStr | None) -> SecretStr | None:
        # The message must not hold it. X has % in its tokens, which RFC 6750 does not know.
        if value is not None and not re.fullmatch(r"[\x21-\x7e]+", value.get_secret_value()):
            raise ValueError("a bearer token holds no white space and nothing but ASCII")
        return value

    @field_validator("server", "streaming_server", check_fields=False)
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and not _SERVER.fullmatch(value):
            raise ValueError("an https://host (http:// only to 127.0.0.1 or localhost), without a path")
        return None if value is None else value.rstrip("/")


class MastodonSettings(_ApiSettings):
    """`moodstream source mastodon`."""

    server: str | None = Field(
        default=None,
        description="The server whose public timeline is read.",
        examples=["https://mastodon.example"],
    )
    streaming_server: str | None = Field(
        default=None,
        description="Where it streams, if elsewhere: `configuration.urls.streaming` of its /api/v2/instance, "
        "with https:// in place of wss://.",
        examples=["https://streaming.mastodon.example"],
    )
    token: SecretStr | None = Field(
        default=None,
        description="Access token (scope read:statuses), which most servers ask for since Mastodon 4.2.",
    )
    edits: Literal["on", "off"] = Field(
        default="on",
        description="Whether a status that was edited comes again, as a deletion and a new record of its "
        "key: it is labelled and counted again.",
    )
    gap_minutes: int = Field(
        default=60,
        ge=0,
        le=7 * 24 * 60,
        description="After a break or a restart, at most so much is fetched of what was written meanwhile.",
    )


class XSettings(_ApiSettings):
    """`moodstream source x`."""

    server: str = Field(default="https://api.x.com", description="Where the API is.")
    token: SecretStr | None = Field(default=None, description="Bearer token of your app (app-only).")
    rules_file: Path | None = Field(
        default=None,
        description="TOML file with a table `rules`: name = rule. The rules on the server that bear our tags "
        "are made equal to them; those of others are left alone. Without a file all rules are left alone.",
        examples=["/etc/moodstream/rules.toml"],
    )
    backfill_minutes: int = Field(
        default=0,
        ge=0,
        le=5,
        description="Ask X at each connection for what it has missed in so many minutes; not every access "
        "level may.",
    )


class SourceSettings(Section):
    """Sources that run for ever, such as `moodstream source bluesky`."""

    window: int = Field(
        default=50_000,
        ge=1000,
        le=5_000_000,
        description="Mastodon and X: so many posts are remembered to recognise what comes twice, and at the "
        "start so many records of the topic are read for it.",
    )
    mastodon: MastodonSettings = MastodonSettings()
    x: XSettings = XSettings()
    drain_s: Seconds = Field(default=10.0, description="Longest time to finish after SIGTERM.")
    stall_s: Seconds = Field(
        default=120.0, description="/livez fails when the source has not moved for this long."
    )
    http: SourceHttpSettings = SourceHttpSettings()
