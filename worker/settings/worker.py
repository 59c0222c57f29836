"""The model, its batches, and the worker around it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import (
    Field,
    SecretStr,
    model_validator,
)

from worker.settings.base import HttpSettings, Port, Ratio, Seconds, Section


class WorkerHttpSettings(HttpSettings):
    """The worker's health and metrics, and texts from whoever asks."""

    port: Port = Field(default=9464, description="Port to bind; 0 lets the system choose one and logs it.")
    token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Bearer token that POST /classify wants where one is set; without one, whoever reaches "
        "the address may ask. For example the output of `openssl rand -hex 24`.",
    )


class ClassifySettings(Section):
    """Texts that others ask about (POST /classify), between the batches of the stream."""

    enabled: Literal["on", "off"] = Field(
        default="off",
        description="on: the worker answers POST /classify with the model that labels the stream. It costs "
        "the model's time, so nobody may ask who was not meant to.",
    )
    max_texts: int = Field(default=64, ge=1, le=1024, description="Most texts of one request.")
    queue_texts: int = Field(
        default=256,
        ge=1,
        le=65_536,
        description="Most texts that wait; a request beyond them is refused at once. Not below max_texts.",
    )
    wait_s: float = Field(
        default=2.0,
        gt=0,
        le=60,
        description="Longest time until a request is answered, in seconds; one that the stream leaves no "
        "time for is then refused.",
    )

    @model_validator(mode="after")
    def _one_request_fits(self) -> ClassifySettings:
        if self.queue_texts < self.max_texts:
            raise ValueError("queue_texts cannot be below max_texts")
        return self


class ModelSettings(Section):
    """Which model, and on what."""

    path: Path | None = Field(
        default=None, description="Folder of the artefact; the bundled model where not given."
    )
    backend: Literal["auto", "native", "openvino", "torch", "null"] = Field(
        default="auto",
        description="auto: torch where a CUDA GPU is; else native, our own int8 forward pass, where it knows "
        "machine and network; else openvino. null answers without a model, for measuring everything else.",
    )
    store: Path | None = Field(
        default=None,
        description="Folder of model folders: what `moodstream model promote` and `shadow` may name, beside "
        "the bundled model and model.path.",
    )
    streams: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Parallel CPU inferences, one core each; 0: one per core that may be used (a container's "
        "limit counts).",
    )
    gate: Literal["on", "off"] = Field(
        default="on", description="off: always one of the six emotions, never neutral."
    )


class BatchSettings(Section):
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


class DeadLetterSettings(Section):
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


class WorkerSettings(Section):
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
    cloud_events: Literal["on", "off"] = Field(
        default="off",
        description="on: labels carry the headers of a CloudEvent 1.0 in binary mode (ce_id, ce_source, "
        "ce_type, ...). ce_id is the input's topic/partition/offset, the same whenever it is labelled.",
    )
    cloud_events_source: str = Field(
        default="/moodstream",
        pattern=r"^[!-~]{1,256}$",
        description="ce_source: which moodstream this is, as a URI reference; with ce_id it names a label.",
        examples=["//moods.example.com/production"],
    )
    drain_s: Seconds = Field(
        default=20.0, description="Longest time to finish and commit after SIGTERM; below the "
        "orchestrator's grace period.",
    )  # fmt: skip
    stall_s: Seconds = Field(
        default=60.0, description="/livez fails when a batch has not moved for this long."
    )
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    classify: ClassifySettings = ClassifySettings()
    http: WorkerHttpSettings = WorkerHttpSettings()

    @model_validator(mode="after")
    def _session_within_poll_interval(self) -> WorkerSettings:
        if self.max_poll_interval_ms < self.session_timeout_ms:
            raise ValueError("max_poll_interval_ms cannot be shorter than session_timeout_ms")
        return self
