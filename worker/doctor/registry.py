"""The schema registry, as the roles would meet it; nothing is registered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from worker.doctor.findings import Finding
from worker.errors import ConfigurationError, DependencyError
from worker.formats.opened import check, label_schema, lookup_labels, needed, subject_of
from worker.formats.registry import NotThereError, Registry, RegistryAwayError, RejectedError
from worker.settings import Settings

_ANOTHER = "change the subject's compatibility in the registry, or set another topics.labels"


def look(settings: Settings) -> Iterator[Finding]:
    """Whether it answers, takes us and the labels' schema; nothing where all topics are JSON."""
    if not needed(settings.topics):
        return
    try:
        check(settings)
        registry = Registry(settings.registry)
        types = registry.types()
    except ConfigurationError as error:
        yield from (Finding("registry.settings", "fault", problem) for problem in error.problems)
        return
    except DependencyError as error:
        yield Finding("registry.login", "fault", error.reason, away=True)
        return
    except (RegistryAwayError, NotThereError, RejectedError) as error:
        yield Finding(
            "registry.login",
            "fault",
            f"{settings.registry.url}: {error}",
            "start it, or set registry.url (MOODSTREAM_REGISTRY__URL), for example: http://schema-registry:8081",
            away=True,
        )
        return
    yield Finding("registry.login", "ok", f"answers, and takes us; it knows {', '.join(sorted(types))}")
    formats = {*settings.topics.format_of.values(), settings.topics.label_format} - {"json"}
    for kind in sorted(formats):
        if kind.upper() not in types:
            yield Finding(
                "registry.types", "fault", f"it knows no {kind}", "use another format, or another registry"
            )
    if settings.topics.label_format != "json":
        yield _labels(settings, registry)


def _labels(settings: Settings, registry: Registry) -> Finding:
    """Whether the worker could begin: with its schema registered, or registering it now."""
    try:
        return _registered_or_fit(settings, registry)
    except (RegistryAwayError, RejectedError, DependencyError) as error:
        return Finding("registry.labels", "fault", str(error), away=not isinstance(error, RejectedError))


def _registered_or_fit(settings: Settings, registry: Registry) -> Finding:
    subject, (kind, schema) = subject_of(settings.topics.labels), label_schema(settings.topics)
    with suppress(NotThereError):
        lookup_labels(registry, settings.topics, subject)
        return Finding("registry.labels", "ok", f"{subject} has the schema of labels")
    if settings.registry.auto_register == "off":
        return Finding(
            "registry.labels",
            "fault",
            f"{subject} has not got the schema of labels",
            "register what `moodstream topics contract --message label --format"
            f" {settings.topics.label_format}` prints, or set registry.auto_register=on",
        )
    try:
        fit = registry.fits(subject, kind, schema)
    except NotThereError:
        return Finding("registry.labels", "ok", f"{subject} is not there yet: the worker makes it")
    if fit.compatible:
        return Finding("registry.labels", "ok", f"{subject} will take the schema of labels")
    why = f": {fit.why}" if fit.why else ""
    return Finding("registry.labels", "fault", f"{subject} does not take the schema of labels{why}", _ANOTHER)
