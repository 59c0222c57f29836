"""Settings from flags and the environment: read, explained where they are wrong, and shown."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from worker.errors import ConfigurationError
from worker.settings import ENV_PREFIX, Settings

_NOT_SETTINGS = (f"{ENV_PREFIX}CACHE", f"{ENV_PREFIX}TEST_")
"""Variables of the local servers and the tests; any other name with the prefix is a typing error."""


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


def environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, secrets in the clear; what is at its default is left out."""
    return dict(_variables(settings, ENV_PREFIX))


def _variables(section: BaseModel, prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in section.model_dump(exclude_defaults=True).items():
        yield from _variable(f"{prefix}{name.upper()}", value)


def _variable(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for part, inner in value.items():
            yield from _variable(f"{name}__{part.upper()}", inner)
    else:
        yield name, value.get_secret_value() if isinstance(value, SecretStr) else str(value)


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
