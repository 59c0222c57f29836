"""The reference of the command line, from click's own tree."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import NamedTuple

import click

from docs.hooks.markdown import code, page, plain, table


class Found(NamedTuple):
    """One command and the context to ask it in."""

    path: str
    """As it is written: `moodstream topics create`."""
    command: click.Command
    context: click.Context

    @property
    def params(self) -> list[click.Parameter]:
        """What people may give; hidden options are left out."""
        shown = self.command.get_params(self.context)
        return [one for one in shown if not (isinstance(one, click.Option) and one.hidden)]


def walk(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[Found]:
    """A command and all below it, plug-ins included, hidden ones not."""
    context = click.Context(command, parent=parent, info_name=name)
    yield Found(context.command_path, command, context)
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            if found is not None and not found.hidden:
                yield from walk(found, sub, context)


def render(command: click.Command, name: str, introduction: str) -> str:
    """The page.

    Args:
        command: The root of the tree.
        name: What it is called.
        introduction: What holds for all commands.
    """
    return page("Commands", plain_paragraphs(introduction), *map(_section, walk(command, name)))


def plain_paragraphs(text: str) -> str:
    """A docstring as Markdown."""
    return "\n\n".join(plain(part) for part in inspect.cleandoc(text).split("\n\n"))


def _section(found: Found) -> str:
    usage = " ".join([found.path, *found.command.collect_usage_pieces(found.context)])
    rows = [_row(one, found.context) for one in found.params]
    level = min(found.path.count(" "), 2) + 2
    parts = [
        f"{'#' * level} {found.path}",
        plain_paragraphs(found.command.help or ""),
        f"```text\n{usage}\n```",
        table(["option", "value", "default", ""], [row for row in rows if row is not None]),
    ]
    return "\n\n".join(part for part in parts if part)


def _row(param: click.Parameter, context: click.Context) -> tuple[str, str, str, str] | None:
    """An argument is named by the usage line and explained by the help above it."""
    if not isinstance(param, click.Option) or param.name == "help":
        return None
    more = param.get_help_extra(context)
    spelled = ", ".join(code(one) for one in (*param.opts, *param.secondary_opts))
    value = "" if param.is_flag else code(param.make_metavar(context))
    span = f" ({code(more['range'])})" if "range" in more else ""
    marks = [" Required."] * param.required + [" May be given several times."] * param.multiple
    return spelled, value + span, code(more.get("default", "")), plain((param.help or "") + "".join(marks))
