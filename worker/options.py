"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from worker.configuration import load
from worker.errors import ConfigurationError

_Command = TypeVar("_Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="The result as one JSON line.")


def settings_options(command: _Command) -> _Command:
    """Give a command `--set` and `--bootstrap`, and the settings as its argument `settings`."""
    return click.option(
        "--bootstrap",
        "brokers",
        metavar="HOST:PORT,...",
        help="Kafka brokers: short for --set kafka.bootstrap_servers=...",
    )(set_option(command))


def set_option(command: _Command) -> _Command:
    """Give a command `--set`, and the settings as its argument `settings`."""

    @click.option(
        "--set",
        "values",
        multiple=True,
        metavar="SECTION.NAME=VALUE",
        help="Any setting; `moodstream config` lists them. Stronger than the environment.",
    )
    @functools.wraps(command)
    def with_settings(*args: Any, values: tuple[str, ...], **kwargs: Any) -> Any:
        short = {
            "kafka.bootstrap_servers": kwargs.pop("brokers", None),
            "batch.slo_ms": kwargs.pop("slo_ms", None),
        }
        return command(*args, settings=load(_flags(values, short)), **kwargs)

    return with_settings  # type: ignore[return-value]


def _flags(values: tuple[str, ...], short: Mapping[str, str | None]) -> dict[str, str]:
    wrong = [value for value in values if "=" not in value]
    if wrong:
        raise ConfigurationError([f"--set {value}: write SECTION.NAME=VALUE" for value in wrong])
    flags = dict(value.split("=", 1) for value in values)
    return flags | {name: value for name, value in short.items() if value is not None}
