"""Every setting of every role, in one frozen tree, read once.

Order, strongest first: command-line flags, `MOODSTREAM_SECTION__NAME` environment variables, defaults.
All that is wrong is reported at once, each problem with the setting's name and an accepted value.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from worker.errors import ConfigurationError

ENV_PREFIX = "MOODSTREAM_"
_NOT_SETTINGS = (f"{ENV_PREFIX}CACHE", f"{ENV_PREFIX}TEST_")
"""Variables of the local servers and the tests; any other name with the prefix is a typing error."""

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
TopicName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Section):
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


class TopicSettings(_Section):
    """The topics' names and, for `moodstream topics create`, their shape."""

    inputs: tuple[TopicName, ...] = Field(
        default=("tweets", "feedback"),
        min_length=1,
        description="Topics to label.",
        examples=["tweets,feedback"],
    )
    labels: TopicName = Field(default="emotion-labels", description="Where labels go.")
    dead_letters: TopicName = Field(
        default="emotion-dead-letters", description="Where records go that cannot be labelled."
    )
    corrections: TopicName = Field(default="emotion-corrections", description="People's corrections.")
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
        default=2_097_152, ge=1024, description="Largest record; dead letters get 64 KiB more for headers."
    )

    @field_validator("inputs", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _distinct(self) -> TopicSettings:
        names = [
            *self.inputs, self.labels, self.dead_letters, self.corrections, self.control, self.alerts,
        ]  # fmt: skip
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each topic needs a name of its own; used twice: {', '.join(twice)}")
        if self.min_insync_replicas > self.replication_factor:
            raise ValueError("min_insync_replicas cannot exceed replication_factor")
        return self


class HttpSettings(_Section):
    """Where a role answers /livez, /readyz and /metrics."""

    host: str = Field(default="127.0.0.1", description="Address to bind; 0.0.0.0 inside a container.")
    port: Port = Field(default=0, description="Port to bind; 0 lets the system choose one and logs it.")


class WorkerHttpSettings(HttpSettings):
    """The worker's health and metrics."""

    port: Port = Field(default=9464, description="Port to bind; 0 lets the system choose one and logs it.")


class TrendsHttpSettings(HttpSettings):
    """The trends role's API, health and metrics."""

    port: Port = Field(default=8080, description="Port to bind; 0 lets the system choose one and logs it.")


class ModelSettings(_Section):
    """Which model, and on what."""

    path: Path | None = Field(
        default=None, description="Folder of the artefact; the bundled model where not given."
    )
    backend: Literal["auto", "openvino", "torch", "null"] = Field(
        default="auto",
        description="auto: torch where a CUDA GPU is, else openvino (int8 on the CPU). "
        "null answers without a model, for measuring everything else.",
    )
    streams: int = Field(
        default=0, ge=0, le=256, description="Parallel CPU inferences, one core each; 0: one per core."
    )
    gate: Literal["on", "off"] = Field(
        default="on", description="off: always one of the six emotions, never neutral."
    )


class BatchSettings(_Section):
    """How many records make a batch: one model call sequence and one Kafka transaction."""

    max_records: int = Field(
        default=4096, ge=1, le=100_000, description="Most records in a batch; larger is faster, later."
    )
    max_tokens: int = Field(
        default=16_384,
        ge=1,
        description="Most word pieces in a batch: the token budget. A post has about 25; "
        "halve it to halve the latency under load.",
    )
    slo_ms: float | None = Field(
        default=None,
        ge=10,
        le=60_000,
        description="Experimental. Aim: p99 from written to labelled and committed, in ms. The worker times "
        "its model at start and cuts batches so that it keeps it; unset, batches are as large as allowed.",
    )
    linger_ms: float = Field(
        default=20.0, ge=0, le=60_000, description="Longest wait for more records once one is there."
    )


class WorkerSettings(_Section):
    """The worker role."""

    group_id: str = Field(default="moodstream-worker", min_length=1, description="Consumer group.")
    instance_id: str | None = Field(
        default=None,
        pattern=r"^[a-zA-Z0-9._-]{1,200}$",
        description="A name that is this worker's alone and stays the same over restarts (a StatefulSet's "
        "pod name): restarts then cause no rebalance and fence a hung predecessor at once. Two workers "
        "that share one fence each other.",
    )
    group_protocol: Literal["classic", "consumer"] = Field(
        default="classic",
        description="classic: cooperative-sticky assignment. consumer: KIP-848, brokers from 4.0.",
    )
    session_timeout_ms: int = Field(
        default=10_000, ge=1000, le=1_800_000, description="How soon a dead worker's partitions move on."
    )
    transaction_timeout_ms: int = Field(
        default=15_000,
        ge=1000,
        le=900_000,
        description="How soon the broker aborts a dead worker's open transaction.",
    )
    queue_mb: int = Field(
        default=64, ge=1, le=2048, description="Most fetched data held unread; fetching pauses there."
    )
    fetch_wait_ms: int = Field(
        default=100,
        ge=1,
        le=30_000,
        description="Longest time that a broker holds an empty answer back; lower asks an idle broker more "
        "often. Records that arrive are answered at once.",
    )
    drain_s: Seconds = Field(
        default=20.0, description="Longest time to finish and commit after SIGTERM; below the "
        "orchestrator's grace period.",
    )  # fmt: skip
    stall_s: Seconds = Field(
        default=60.0, description="/livez fails when a batch has not moved for this long."
    )
    http: WorkerHttpSettings = WorkerHttpSettings()


class RedisSettings(_Section):
    """How to reach Redis, for the trends role."""

    url: str = Field(
        default="redis://127.0.0.1:6379/0",
        description="redis://host:port/db, rediss:// for TLS, unix:// for a socket; no password in it.",
        pattern=r"^(redis|rediss|unix)://[^\s]+$",
        examples=["rediss://redis:6379/0"],
    )
    username: str | None = Field(default=None, description="ACL user.")
    password: SecretStr | None = Field(default=None, description="Password of the ACL user.")
    ssl_ca_location: Path | None = Field(default=None, description="CA certificates (PEM) to trust.")
    timeout_s: Seconds = Field(default=5.0, description="Longest wait for an answer.")

    @field_validator("url")
    @classmethod
    def _no_password(cls, value: str) -> str:
        if "@" in value:
            raise ValueError("put user name and password into redis.username and redis.password, not the URL")
        return value


class TrendsSettings(_Section):
    """The trends role."""

    group_id: str = Field(default="moodstream-trends", min_length=1, description="Consumer group.")
    namespace: str = Field(
        default="moodstream",
        pattern=r"^[a-zA-Z0-9._-]{1,64}$",
        description="First part of every Redis key; another one keeps a second set of trends.",
    )
    retention_hours: int = Field(
        default=24 * 35, ge=1, description="How long a count is kept after its last change."
    )
    max_sources: int = Field(
        default=64,
        ge=1,
        le=10_000,
        description="Most sources counted by name in each partition; further ones count as `other`.",
    )
    max_records: int = Field(default=10_000, ge=1, le=200_000, description="Most labels read at once.")
    session_timeout_ms: int = Field(
        default=10_000, ge=1000, le=1_800_000, description="How soon a dead instance's partitions move on."
    )
    drain_s: Seconds = Field(default=10.0, description="Longest time to finish after SIGTERM.")
    stall_s: Seconds = Field(
        default=60.0, description="/livez fails when the loop has not moved for this long."
    )
    http: TrendsHttpSettings = TrendsHttpSettings()


class LogSettings(_Section):
    """Logs go to standard error, one JSON object a line unless a person is watching."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level.")
    format: Literal["auto", "json", "text"] = Field(
        default="auto", description="auto: text on a terminal, JSON elsewhere."
    )


class Settings(_Section):
    """The whole tree. Build it with `load`, once, and pass it in."""

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    model: ModelSettings = ModelSettings()
    batch: BatchSettings = BatchSettings()
    worker: WorkerSettings = WorkerSettings()
    redis: RedisSettings = RedisSettings()
    trends: TrendsSettings = TrendsSettings()
    log: LogSettings = LogSettings()


def load(flags: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """Build the settings from flags (`{"kafka.bootstrap_servers": ...}`) and the environment.

    Raises:
        ConfigurationError: listing every problem, not only the first.
    """
    environ = os.environ if env is None else env
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in sorted(environ.items()):
        # An empty variable is one that compose or a shell has not filled in: the default holds.
        if value and name.startswith(ENV_PREFIX) and not name.startswith(_NOT_SETTINGS):
            _place(values, name.removeprefix(ENV_PREFIX).lower().split("__"), value, name, problems)
    for dotted, value in (flags or {}).items():
        _place(values, dotted.split("."), value, f"--set {dotted}", problems)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError([*problems, *_explain(error)]) from None
    if problems:
        raise ConfigurationError(problems)
    return settings


def known() -> dict[str, Any]:
    """Each setting's dotted name with its pydantic field, in the order of the tree."""
    found: dict[str, Any] = {}

    def walk(model: type[BaseModel], prefix: str) -> None:
        for name, field in model.model_fields.items():
            annotation = field.annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                walk(annotation, f"{prefix}{name}.")
            else:
                found[prefix + name] = field

    walk(Settings, "")
    return found


def _place(values: dict[str, Any], path: list[str], value: str, given_as: str, problems: list[str]) -> None:
    """Put one value into the tree; an unknown name becomes a problem that suggests the nearest one."""
    dotted = ".".join(path)
    names = known()
    if dotted not in names:
        near = get_close_matches(dotted, names, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else "; `moodstream config` lists them all"
        problems.append(f"{given_as}: no such setting{hint}")
        return
    node = values
    for part in path[:-1]:
        node = node.setdefault(part, {})
    node[path[-1]] = value


def _explain(error: ValidationError) -> list[str]:
    fields = known()
    lines = []
    for item in error.errors(include_url=False, include_context=False):
        dotted = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        field = fields.get(dotted) or fields.get(dotted.rpartition(".")[0])
        accepted = ""
        if field is not None:
            example = field.examples[0] if field.examples else field.get_default(call_default_factory=True)
            accepted = f"; accepted, for example: {example}" if example is not None else ""
        lines.append(f"{dotted} ({ENV_PREFIX}{dotted.upper().replace('.', '__')}): {message}{accepted}")
    return lines


def shown(settings: Settings) -> dict[str, Any]:
    """The effective values as JSON-ready data, secrets hidden as `**********`."""
    return settings.model_dump(mode="json")
