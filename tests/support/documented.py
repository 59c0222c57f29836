"""What the documents tell people to type, held against click's commands and the Makefile. Nothing is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import click
from markdown_it import MarkdownIt

from worker.configuration import known, load
from worker.errors import ConfigurationError

_MARKDOWN = MarkdownIt("commonmark").enable("table")
_SHELLS = ("", "sh", "bash", "shell", "console")
_ASSIGNMENT = re.compile(r"[A-Z_][A-Z0-9_]*=")
_PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_.@:/-]*(\.[a-z]+)?")
"""`NAME`, `NAME@VERSION`, `FILE.svg`: whatever somebody puts there."""
_ETC = "..."


class Line(NamedTuple):
    """One command as it is typed."""

    words: tuple[str, ...]
    in_block: bool
    """Else it stands in running text, where a command without arguments is only its name."""

    def __str__(self) -> str:
        return shlex.join(self.words)


def typed(markdown: str) -> Iterator[Line]:
    """Every command of a block for the shell, and every code span, as words.

    Comments go, and variables before a command; what stands in brackets (`[--for SECONDS]`) counts as given.
    """
    for line in in_blocks(markdown):
        yield from (Line(words, in_block=True) for words in _commands(line))
    for token in _MARKDOWN.parse(markdown):
        for child in token.children or []:
            if child.type == "code_inline":
                yield from (Line(words, in_block=False) for words in _commands(child.content))


def in_blocks(markdown: str) -> Iterator[str]:
    """Every line of a block for the shell as it stands there; one that goes on is joined."""
    for token in _MARKDOWN.parse(markdown):
        if token.type == "code_block" or (token.type == "fence" and token.info.strip() in _SHELLS):
            yield from token.content.replace("\\\n", " ").splitlines()


def programs(line: str) -> list[str]:
    """The first word of each command in a line."""
    return [words[0] for words in _commands(line)]


def _commands(line: str) -> Iterator[tuple[str, ...]]:
    try:
        words = shlex.split(re.sub(r"(?<!\S)\[([^\]]*)\]", r"\1", line), comments=True)
    except ValueError:  # a quotation mark without its other: no command
        return
    begun: list[str] = []
    for word in [*words, ";"]:
        if word in (";", "|", "&&", "||", "&", ">", "<"):
            if begun:
                yield tuple(begun)
            begun = []
        elif begun or not (_ASSIGNMENT.match(word) or word in ("$", "export")):
            begun.append(word)


def faults(root: click.Command, line: Line) -> list[str]:
    """What is wrong with a line whose first word is the command `root`; empty where nothing is.

    Types are asked whether they take what is given, less those of files, which need not be there. No callback
    runs.
    """
    command, context = root, click.Context(root, info_name=line.words[0])
    rest = [word for word in line.words[1:] if word != _ETC]
    try:
        while True:
            given, left, _ = command.make_parser(context).parse_args(list(rest))
            named = line.words[-1] == context.info_name and not line.in_block
            wrong = list(_wrong(command, context, given, complete=_ETC not in line.words and not named))
            if wrong or not left:
                return wrong
            below = command.get_command(context, left[0]) if isinstance(command, click.Group) else None
            if below is None:
                return [f"{context.command_path} has no {left[0]}"]
            command, context, rest = below, click.Context(below, context, left[0]), left[1:]
    except click.UsageError as error:
        return [error.format_message()]


def _wrong(
    command: click.Command, context: click.Context, given: Mapping[str, Any], *, complete: bool
) -> Iterator[str]:
    if given.get("help"):
        return
    for param in command.get_params(context):
        value = given.get(param.name or "")
        if value is None or param.value_is_missing(value):
            if complete and param.required:
                yield f"{context.command_path} needs {param.opts[0]}"
            continue
        for word in _words(value):
            yield from _untaken(param, word, context)


def _words(value: Any) -> Iterator[str]:
    """The words given for one parameter, which may be several, in pairs, or none (a flag)."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _words(one)


def _untaken(param: click.Parameter, word: str, context: click.Context) -> Iterator[str]:
    if param.opts == ["--set"]:
        yield from _unset(word)
    elif not (_PLACEHOLDER.fullmatch(word) or isinstance(param.type, click.Path | click.File)):
        try:
            param.type.convert(word, param, context)
        except click.UsageError as error:
            yield error.format_message()


def _unset(word: str) -> Iterator[str]:
    """What is wrong with the value of a `--set`."""
    name, _, value = word.partition("=")
    if _PLACEHOLDER.fullmatch(value):
        if name not in known() and not _PLACEHOLDER.fullmatch(name):
            yield f"no such setting: {name}"
        return
    try:
        load({name: value}, env={})
    except ConfigurationError as error:
        yield from error.problems


class Makefile:
    """The targets of a Makefile, and what they run."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._recipes = dict(re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)*)", text, re.MULTILINE))

    def faults(self, root: click.Command, line: Line) -> list[str]:
        """What is wrong with a line whose first word is make; `ARGS` for moodstream are looked into."""
        found = []
        for word in line.words[1:]:
            name, is_variable, value = word.partition("=")
            if not is_variable and name not in self._recipes:
                found.append(f"there is no make {name}")
            elif is_variable and f"$({name})" not in self._text:
                found.append(f"the Makefile knows no {name}")
            elif name == "ARGS":
                found += self._of_arguments(root, line, value)
        return found

    def _of_arguments(self, root: click.Command, line: Line, value: str) -> list[str]:
        recipe = self._recipes.get(line.words[1], "")
        run = re.search(r"\$\(BIN\)/(moodstream [^\n]*?) \$\(ARGS\)", recipe)
        if run is None:
            return []
        return faults(root, Line((*run[1].split(), *shlex.split(value)), line.in_block))
