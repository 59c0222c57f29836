"""How Kafka is reached, and which topics there are."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

from pydantic import (
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from worker.settings.base import InputFormat, Section, TopicName, Weight

Format = Literal["json", "avro", "protobuf"]
"""How messages are written; all but JSON with a schema of the registry."""


class KafkaSettings(Section):
    """How to reach Kafka, for every role."""

    bootstrap_servers: str = Field(
        default="127.0.0.1:9092",
        description="Comma-separated host:port of one or more brokers.",
        examples=["kafka-1:9092,kafka-2:9092"],
        pattern=r"^[^\s,]+:\d+(,[^\s,]+:\d+)*$",
    )
    security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        default="plaintext", description="`sasl_ssl` is what most managed clusters want."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        default=None, description="Needed with sasl_plaintext and sasl_ssl.", examples=["SCRAM-SHA-512"]
    )
    sasl_username: str | None = Field(default=None, description="User name for SASL.")
    sasl_password: SecretStr | None = Field(default=None, description="Password for SASL.")
    ssl_ca_location: Path | None = Field(
        default=None, description="CA certificates (PEM) to trust; the system's where not given."
    )
    ssl_certificate_location: Path | None = Field(
        default=None, description="Client certificate (PEM), for mutual TLS."
    )
    ssl_key_location: Path | None = Field(default=None, description="Client key (PEM), for mutual TLS.")
    ssl_key_password: SecretStr | None = Field(default=None, description="Password of the client key.")

    @model_validator(mode="after")
    def _sasl_is_whole(self) -> KafkaSettings:
        if self.security_protocol.startswith("sasl"):
            missing = [
                name
                for name in ("sasl_mechanism", "sasl_username", "sasl_password")
                if getattr(self, name) is None
            ]
            if missing:
                raise ValueError(
                    f"security_protocol={self.security_protocol} also needs {', '.join(missing)}"
                )
        if (self.ssl_certificate_location is None) != (self.ssl_key_location is None):
            raise ValueError("ssl_certificate_location and ssl_key_location go together")
        return self


class TopicSettings(Section):
    """The topics' names and, for `moodstream topics create`, their shape."""

    inputs: tuple[TopicName, ...] = Field(
        default=("tweets", "feedback"),
        min_length=1,
        description="Topics to label.",
        examples=["tweets,feedback"],
    )
    weights: tuple[Weight, ...] = Field(
        default=(),
        description="Shares of the inputs under a backlog, as topic=weight: with feedback=4, four records of "
        "feedback for each of the others, and none waits behind a long queue. Topics not named have 1. None "
        "given: in the order of fetching, which is fastest.",
        examples=["tweets=1,feedback=4"],
    )
    input_formats: tuple[InputFormat, ...] = Field(
        default=(),
        description="How the posts of an input are written, as topic=format: json, avro or protobuf, the "
        "last two as Confluent's serializers write them, with a schema of registry.url. Not named: JSON.",
        examples=["tweets=avro,feedback=protobuf"],
    )
    labels: TopicName = Field(default="emotion-labels", description="Where labels go.")
    label_format: Format = Field(
        default="json",
        description="How labels are written and read: avro and protobuf need registry.url. All roles must "
        "agree; after a change, what is in the topic already must have been counted.",
    )
    dead_letters: TopicName = Field(
        default="emotion-dead-letters", description="Where records go that cannot be labelled."
    )
    corrections: TopicName = Field(default="emotion-corrections", description="People's corrections.")
    judgements: TopicName = Field(
        default="emotion-judgements", description="Labels with all that people say of each (compacted)."
    )
    control: TopicName = Field(default="emotion-control", description="Operators' settings (compacted).")
    alerts: TopicName = Field(default="emotion-alerts", description="Spikes and drift.")
    partitions: int = Field(
        default=12,
        ge=1,
        le=10_000,
        description="Partitions of inputs and labels: the most workers that can share the load.",
    )
    replication_factor: int = Field(
        default=1, ge=1, le=9, description="Copies of each partition; 3 in production."
    )
    min_insync_replicas: int = Field(
        default=1, ge=1, le=9, description="Copies that must confirm a write; 2 where there are 3."
    )
    retention_hours: int = Field(
        default=168, ge=1, description="How long inputs and labels are kept; replay reaches this far."
    )
    max_message_bytes: int = Field(
        default=2_097_152,
        ge=65_536,
        description="Largest record; dead letters get 64 KiB more for headers. A label has less than 64 KiB.",
    )

    @property
    def names(self) -> tuple[str, ...]:
        """Every topic."""
        outputs = (
            self.labels, self.dead_letters, self.corrections, self.judgements, self.control, self.alerts,
        )  # fmt: skip
        return (*self.inputs, *outputs)

    @property
    def redrivable(self) -> tuple[str, ...]:
        """Topics whose bad records become dead letters, which may be put back there; never any other."""
        return (*self.inputs, self.corrections)

    @field_validator("inputs", "weights", "input_formats", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _distinct(self) -> TopicSettings:
        names = self.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each topic needs a name of its own; used twice: {', '.join(twice)}")
        if self.min_insync_replicas > self.replication_factor:
            raise ValueError("min_insync_replicas cannot exceed replication_factor")
        strange = sorted(self.weight_of.keys() - set(self.inputs))
        if strange:
            raise ValueError(f"weights names what is none of the inputs: {', '.join(strange)}")
        strange = sorted(self.format_of.keys() - set(self.inputs))
        if strange:
            raise ValueError(f"input_formats names what is none of the inputs: {', '.join(strange)}")
        return self

    @property
    def format_of(self) -> dict[str, Format]:
        """The formats of the inputs that are not JSON."""
        named = (one.split("=") for one in self.input_formats)
        return {topic: cast(Format, kind) for topic, kind in named if kind != "json"}

    @property
    def weight_of(self) -> dict[str, int]:
        """The weights by topic."""
        return {topic: int(weight) for topic, weight in (one.split("=") for one in self.weights)}
