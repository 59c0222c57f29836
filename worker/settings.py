"""Every setting of every role, in one frozen tree, read once.

Order, strongest first: command-line flags, `MOODSTREAM_SECTION__NAME` environment variables, defaults.
All that is wrong is reported at once, each problem with the setting's name and an accepted value.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from worker.slices import Review

ENV_PREFIX = "MOODSTREAM_"

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Ratio = Annotated[float, Field(ge=0, le=1)]
TopicName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]
Weight = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}=[1-9][0-9]{0,3}$")]


_WEBHOOK = re.compile(
    r"(https://(?P<host>[a-zA-Z0-9.-]+|\[[0-9a-fA-F:.]+\])|http://(127\.0\.0\.1|localhost))(:\d{1,5})?(/[^\s#]*)?"
)


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
    weights: tuple[Weight, ...] = Field(
        default=(),
        description="Shares of the inputs under a backlog, as topic=weight: with feedback=4, four records of "
        "feedback for each of the others, and none waits behind a long queue. Topics not named have 1. None "
        "given: in the order of fetching, which is fastest.",
        examples=["tweets=1,feedback=4"],
    )
    labels: TopicName = Field(default="emotion-labels", description="Where labels go.")
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

    @field_validator("inputs", "weights", mode="before")
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
        return self

    @property
    def weight_of(self) -> dict[str, int]:
        """The weights by topic."""
        return {topic: int(weight) for topic, weight in (one.split("=") for one in self.weights)}


class HttpSettings(_Section):
    """Where a role answers /livez, /readyz and /metrics."""

    host: str = Field(default="127.0.0.1", description="Address to bind; 0.0.0.0 inside a container.")
    port: Port = Field(default=0, description="Port to bind; 0 lets the system choose one and logs it.")
    token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Bearer token that requests must bring which change something (corrections, queries); "
        "without one they are refused. For example the output of `openssl rand -hex 24`.",
    )

    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="Names, separated by commas, under which it is asked, as a proxy passes them on; "
        "localhost and addresses always are. Where none is given and host is a loopback address, no other "
        "name is taken: a web page could point its own at this machine.",
        examples=["moods.example.com"],
    )
    requests_per_s: float = Field(
        default=50.0,
        ge=0,
        le=100_000,
        description="Most requests a second from one address (four times as many in a burst); 0: no limit. "
        "Behind a proxy all come from one address. Health checks are not counted.",
    )

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().lower() for part in value.split(",") if part.strip())
        return value

    @field_validator("token")
    @classmethod
    def _sendable(cls, value: SecretStr | None) -> SecretStr | None:
        # What RFC 6750 lets a header carry. A trailing newline from a file would never match, and in silence.
        if value is not None and not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", value.get_secret_value()):
            raise ValueError("a bearer token holds letters, digits and . _ ~ + / - only, = at its end")
        return value


class WorkerHttpSettings(HttpSettings):
    """The worker's health and metrics."""

    port: Port = Field(default=9464, description="Port to bind; 0 lets the system choose one and logs it.")


class TrendsHttpSettings(HttpSettings):
    """The trends role's API, health and metrics."""

    port: Port = Field(default=8080, description="Port to bind; 0 lets the system choose one and logs it.")


class QualityHttpSettings(HttpSettings):
    """The quality role's API, health and metrics."""

    port: Port = Field(default=8081, description="Port to bind; 0 lets the system choose one and logs it.")


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
    store: Path | None = Field(
        default=None,
        description="Folder of model folders: what `moodstream model promote` and `shadow` may name, beside "
        "the bundled model and model.path.",
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


class DeadLetterSettings(_Section):
    """When dead letters say that the worker, or what feeds it, is broken: it then stops with exit code 4.

    Posts on which the model fails and records that cannot be read are judged apart, the latter by topic.
    """

    window_s: float = Field(
        default=60.0, ge=1, le=86_400, description="What the limits below look back on, in seconds."
    )
    model_in_a_row: int = Field(
        default=8, ge=0, description="Most posts one after another on which the model may fail."
    )
    model_count: int = Field(
        default=8, ge=0, description="Most posts in the window or in one batch on which the model may fail, "
        "unless their share is within worker.dead_letters.model_ratio.",
    )  # fmt: skip
    model_ratio: Ratio = Field(
        default=0.1,
        description="Most of the posts in the window or in one batch on which the model may fail, "
        "unless there are no more than worker.dead_letters.model_count. 1: no such limit.",
    )
    input_count: int = Field(
        default=1000, ge=0, description="As model_count, of records of one topic that cannot be read."
    )
    input_ratio: Ratio = Field(
        default=1.0,
        description="As model_ratio, of records of one topic that cannot be read. 1: no limit, because one "
        "producer that sends garbage should not stop all the others; 0.5 where you would rather wait.",
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
    max_poll_interval_ms: int = Field(
        default=300_000,
        ge=1000,
        le=86_400_000,
        description="How soon the partitions of a worker whose loop hangs move on; not below the session "
        "timeout. A model may take longer: the loop goes on meanwhile.",
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
    label_text: Literal["on", "off"] = Field(
        default="on",
        description="Whether a label carries the text of its post (its first 2,000 characters). Top terms, "
        "tracked queries and the live page need it; off where the labels topic may be read more widely "
        "than the posts.",
    )
    drain_s: Seconds = Field(
        default=20.0, description="Longest time to finish and commit after SIGTERM; below the "
        "orchestrator's grace period.",
    )  # fmt: skip
    stall_s: Seconds = Field(
        default=60.0, description="/livez fails when a batch has not moved for this long."
    )
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    http: WorkerHttpSettings = WorkerHttpSettings()

    @model_validator(mode="after")
    def _session_within_poll_interval(self) -> WorkerSettings:
        if self.max_poll_interval_ms < self.session_timeout_ms:
            raise ValueError("max_poll_interval_ms cannot be shorter than session_timeout_ms")
        return self


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


class AlertSettings(_Section):
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


class TrendsSettings(_Section):
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


class SourceHttpSettings(HttpSettings):
    """The health and metrics of a source."""

    port: Port = Field(default=9465, description="Port to bind; 0 lets the system choose one and logs it.")


_SERVER = re.compile(r"(https://[a-zA-Z0-9.-]+|http://(127\.0\.0\.1|localhost))(:\d{1,5})?/?")


class _ApiSettings(_Section):
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


class SourceSettings(_Section):
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


class ReviewSettings(_Section):
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


class QualitySettings(_Section):
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
    source: SourceSettings = SourceSettings()
    review: ReviewSettings = ReviewSettings()
    quality: QualitySettings = QualitySettings()
    log: LogSettings = LogSettings()
