"""Where the schemas are of topics that are in Avro or Protobuf."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from worker.settings.base import Section

_URL = re.compile(
    r"https?://[a-zA-Z0-9.-]+(:\d{1,5})?(/[a-zA-Z0-9._~/-]*)?|https?://\[[0-9a-fA-F:]+\](:\d{1,5})?/?"
)


class RegistrySettings(Section):
    """A schema registry that speaks Confluent's protocol, for topics that are not JSON."""

    url: str | None = Field(
        default=None,
        description="Address of the schema registry, needed where topics.input_formats or "
        "topics.label_format say avro or protobuf. With the path of its Confluent API, where that has one: "
        "Apicurio's is /apis/ccompat/v7.",
        examples=["http://schema-registry:8081"],
    )
    username: str | None = Field(
        default=None, min_length=1, description="User name for the registry (HTTP basic), or its API key."
    )
    password: SecretStr | None = Field(default=None, description="Password, or the API key's secret.")
    ssl_ca_location: Path | None = Field(
        default=None,
        description="CA certificates (PEM) to trust; the system's where not given.",
    )
    ssl_certificate_location: Path | None = Field(
        default=None, description="Client certificate (PEM), for mutual TLS."
    )
    ssl_key_location: Path | None = Field(default=None, description="Client key (PEM), for mutual TLS.")
    ssl_key_password: SecretStr | None = Field(default=None, description="Password of the client key.")
    auto_register: Literal["on", "off"] = Field(
        default="on",
        description="Whether the worker registers the schema of its labels, under TOPIC-value. off: it only "
        "looks it up, and does not start where it is not registered.",
    )
    timeout_s: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="Longest time for an answer, in seconds; then it is asked again.",
    )
    max_schemas: int = Field(
        default=2048,
        ge=1024,
        le=65_536,
        description="Schemas kept in memory; beyond them the one not used for longest is forgotten.",
    )

    @field_validator("url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and not _URL.fullmatch(value):
            raise ValueError("an http(s)://host:port, with a path if need be; the name has a setting")
        return None if value is None else value.rstrip("/")

    @field_validator("username")
    @classmethod
    def _sendable(cls, value: str | None) -> str | None:
        if value is not None and ":" in value:
            raise ValueError("a user name of HTTP basic holds no colon")
        return value

    @model_validator(mode="after")
    def _whole(self) -> RegistrySettings:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if (self.ssl_certificate_location is None) != (self.ssl_key_location is None):
            raise ValueError("ssl_certificate_location and ssl_key_location go together")
        return self
