"""The formats of the topics as the settings say, for a role or a command.

Where all is JSON nothing here connects to anything, and `labels` answers with the JSON decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from worker.clock import Clock, backoff
from worker.dependency import Dependency
from worker.errors import ConfigurationError, DependencyError
from worker.formats import avro, protobuf, schemas
from worker.formats.cache import Schemas
from worker.formats.frame import header
from worker.formats.registry import NotThereError, Registry, RegistryAwayError, RejectedError, SchemaType
from worker.metrics import Metrics
from worker.settings import Format, Settings, TopicSettings
from worker.types import Label, Post
from worker.web.health import Health

T = TypeVar("T", bound=msgspec.Struct)

DEPENDENCY = "registry"
Encode = Callable[[Label], bytes]
_TURN_S = 0.2


def needed(topics: TopicSettings) -> bool:
    """Whether any topic is not JSON, so that a registry is needed."""
    return bool(topics.format_of) or topics.label_format != "json"


def check(settings: Settings) -> None:
    """See that a registry is named where one is needed; not as settings are read, for most commands ask none.

    Raises:
        ConfigurationError: it is not.
    """
    topics = settings.topics
    wanting = [f"topics.input_formats ({topic}={kind})" for topic, kind in topics.format_of.items()]
    if topics.label_format != "json":
        wanting.append(f"topics.label_format={topics.label_format}")
    if wanting and settings.registry.url is None:
        raise ConfigurationError(
            [
                f"registry.url (MOODSTREAM_REGISTRY__URL): {', '.join(wanting)} cannot be without a schema"
                " registry; accepted, for example: http://schema-registry:8081"
            ]
        )


def label_schema(topics: TopicSettings) -> tuple[SchemaType, str]:
    """The type and the schema of labels, as the worker registers them."""
    if topics.label_format == "avro":
        return "AVRO", msgspec.json.encode(schemas.avro(Label)).decode()
    return "PROTOBUF", schemas.serialized(Label)


def lookup_labels(registry: Registry, topics: TopicSettings, subject: str) -> int:
    """The id of the labels' schema, in whichever way it was registered.

    Raises:
        NotThereError: it is not.
    """
    kind, schema = label_schema(topics)
    try:
        return registry.lookup(subject, kind, schema)
    except NotThereError:
        if kind == "AVRO":
            raise
    return registry.lookup(subject, kind, schemas.protobuf(Label))  # by hand, as text


def subject_of(topic: str) -> str:
    """What the schema of a topic's values is registered under: Confluent's TopicNameStrategy."""
    return f"{topic}-value"


class Formats:
    """What reads posts and labels, and what writes labels. Belongs to one thread."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        metrics: Metrics,
        health: Health,
        wait_s: float | None = None,
    ) -> None:
        """Where a registry is needed, readiness waits for it from now on.

        With `wait_s` what reads waits for it too, so many seconds each time, and raises DependencyError then.

        Raises:
            ConfigurationError: no registry is named, a library is not installed, or a certificate cannot be
                read.
        """
        check(settings)
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._registry: Registry | None = None
        self._wait_s = wait_s
        self._known = False
        if needed(settings.topics):
            self._registry = Registry(settings.registry)
            self._dependency = Dependency(DEPENDENCY, clock, metrics, health)
            for kind in {*settings.topics.format_of.values(), settings.topics.label_format}:
                if kind == "avro":
                    avro.writer()
                elif kind == "protobuf":
                    protobuf.writer()

    def ready(self) -> bool:
        """Whether the registry may be asked: it has answered once, and did so last time.

        Asks it where it has not answered yet; never waits.

        Raises:
            DependencyError: it refuses us.
        """
        if self._registry is None:
            return True
        if self._known or not self._dependency.due:
            return self._dependency.due
        try:
            self._registry.types()
        except RegistryAwayError as error:
            self._dependency.failed(str(error))
            return False
        except (NotThereError, RejectedError) as error:
            raise DependencyError(DEPENDENCY, f"{error}: check registry.url") from error
        self._dependency.works()
        self._known = True
        return True

    def wait(self, go_on: Callable[[], bool]) -> bool:
        """Wait until the registry answers; false: `go_on`, which is asked in between, said no before.

        Raises:
            DependencyError: it refuses us.
        """
        while not self.ready():
            if not go_on():
                return False
            self._clock.sleep(_TURN_S)
        return True

    def posts(self) -> Mapping[str, Schemas[Post]]:
        """What reads the posts of each input that is not JSON."""
        return {topic: self._schemas(kind, Post) for topic, kind in self._settings.topics.format_of.items()}

    def readers(self) -> Mapping[str, Callable[[bytes], Post]]:
        """The same for who does not resolve schemas before."""
        return {topic: self._patient(read) for topic, read in self.posts().items()}

    def labels(self, kind: type[T]) -> Callable[[bytes], T]:
        """What reads labels as `kind`, a type with some of a label's fields.

        With Avro and Protobuf labels in JSON are read too: those from before the format was set. Raises what
        `Schemas` does, and MsgspecError or UnicodeDecodeError over JSON.
        """
        plain = msgspec.json.Decoder(kind).decode
        wanted = self._settings.topics.label_format
        if wanted == "json":
            return plain
        framed = self._patient(self._schemas(wanted, kind))
        return lambda value: plain(value) if value[:1] == b"{" else framed(value)

    def encoder(self, topic: str, go_on: Callable[[], bool]) -> Encode | None:
        """What writes labels for a topic; None: the registry was away, and `go_on` said no.

        Raises:
            ConfigurationError: the registry does not take their schema, or has it not and may not get it.
            DependencyError: it refuses us.
        """
        topics = self._settings.topics
        if topics.label_format == "json":
            return msgspec.json.Encoder().encode
        while self.wait(go_on):
            try:
                before = header(self._registered(topic))
            except RegistryAwayError as error:
                self._dependency.failed(str(error))
            else:
                write = avro.writer() if topics.label_format == "avro" else protobuf.writer()
                return lambda label: before + write(label)
        return None

    def _registered(self, topic: str) -> int:
        """The id of the labels' schema."""
        assert self._registry is not None  # noqa: S101
        subject, wanted = subject_of(topic), self._settings.topics.label_format
        printed = f"what `moodstream topics contract --message label --format {wanted}` prints"
        try:
            if self._settings.registry.auto_register == "on":
                return self._registry.register(subject, *label_schema(self._settings.topics))
            return lookup_labels(self._registry, self._settings.topics, subject)
        except NotThereError:
            problem = (
                f"registry.auto_register=off: {subject} has not got the schema of labels: register {printed},"
                " or set registry.auto_register=on"
            )
        except RejectedError as error:
            problem = (
                f"topics.label_format={wanted}: the registry does not take {printed} as {subject}: {error}:"
                " change its compatibility, or set another topics.labels"
            )
        raise ConfigurationError([problem])

    def _patient(self, read: Callable[[bytes], T]) -> Callable[[bytes], T]:
        return read if self._wait_s is None else patient(read, self._clock, self._wait_s)

    def _schemas(self, wanted: Format, kind: type[T]) -> Schemas[T]:
        assert self._registry is not None  # noqa: S101
        return Schemas(
            self._registry,
            wanted,
            kind,
            most=self._settings.registry.max_schemas,
            dependency=self._dependency,
            clock=self._clock,
            metrics=self._metrics,
        )


def for_command(settings: Settings, clock: Clock, wait_s: float) -> Formats:
    """The same for a command, which tells nobody how it is, and waits for `wait_s` seconds each time."""
    return Formats(settings, clock=clock, metrics=Metrics(), health=Health(clock, wait_s, ()), wait_s=wait_s)


def patient(read: Callable[[bytes], T], clock: Clock, wait_s: float) -> Callable[[bytes], T]:
    """A reader that waits for a registry that is away, for `wait_s` seconds each time.

    It raises DependencyError then.
    """

    def waiting(value: bytes) -> T:
        until = clock.monotonic() + wait_s
        for pause_s in backoff():
            try:
                return read(value)
            except RegistryAwayError as error:
                if clock.monotonic() >= until:
                    raise DependencyError(DEPENDENCY, str(error)) from error
                clock.sleep(pause_s)
        raise AssertionError("a backoff has no end")

    return waiting
