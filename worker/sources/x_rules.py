"""The rules of X's filtered stream: those of a file, and the same on the server.

    [rules]
    phones = "(iphone OR pixel) lang:en -is:retweet"

Each bears the tag `moodstream/FEED/NAME` there. Rules with other tags are somebody else's.
https://docs.x.com/x-api/posts/filtered-stream/introduction
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from worker.errors import ConfigurationError
from worker.sources.api import Api, CutError, RefusedError

PATH = "/2/tweets/search/stream/rules"
_AT_ONCE = 100
_MOST_PAGES = 100
_T = TypeVar("_T")


class Rule(NamedTuple):
    """What posts match it, and whose it is."""

    value: str
    tag: str


class _Stored(msgspec.Struct):
    """A rule on the server."""

    id: str
    value: str
    tag: str = ""


class _Meta(msgspec.Struct):
    next_token: str | None = None


class _Listed(msgspec.Struct):
    data: list[_Stored] = []
    meta: _Meta = msgspec.field(default_factory=_Meta)


class _Trouble(msgspec.Struct):
    title: str = ""
    detail: str = ""
    details: list[str] = []
    value: str = ""


class _Done(msgspec.Struct):
    errors: list[_Trouble] = []


class _File(msgspec.Struct, forbid_unknown_fields=True):
    rules: dict[str, str]


class Changes(NamedTuple):
    """What makes the server's rules those that are wanted."""

    add: tuple[Rule, ...]
    delete: tuple[str, ...]
    """Ids."""
    stay: int
    """Rules that are there and stay, those of others included."""


def read_rules(path: Path, feed: str) -> tuple[Rule, ...]:
    """The rules of a file, with the tags of a feed.

    Raises:
        ConfigurationError: it cannot be read, or holds something else.
    """
    try:
        rules = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).rules
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        problem = getattr(error, "strerror", None) or error
        raise ConfigurationError([f"source.x.rules_file {path}: {problem}"]) from None
    problems = [
        f"source.x.rules_file {path}: rules.{name}: it is empty"
        for name, value in rules.items()
        if not value.strip()
    ]
    twice = sorted({value for value in rules.values() if list(rules.values()).count(value) > 1})
    problems += [f"source.x.rules_file {path}: twice in it: {value}" for value in twice]
    if problems:
        raise ConfigurationError(problems)
    return tuple(Rule(value.strip(), f"{_ours(feed)}{name}") for name, value in rules.items())


def changes(wanted: Iterable[Rule], there: Sequence[_Stored], feed: str) -> Changes:
    """What is missing, and what of ours is too much.

    X takes no rule twice: one that others have serves us too.
    """
    ours = [rule for rule in there if rule.tag.startswith(_ours(feed))]
    of_others = {rule.value for rule in there} - {rule.value for rule in ours}
    missing = {rule: None for rule in wanted if rule.value not in of_others}  # in their order
    delete = []
    for rule in ours:
        pair = Rule(rule.value, rule.tag)
        if pair in missing:
            del missing[pair]
        else:
            delete.append(rule.id)
    return Changes(tuple(missing), tuple(delete), len(there) - len(delete))


def agree(api: Api, wanted: Sequence[Rule] | None, feed: str) -> Changes:
    """Make the rules on the server those that are wanted (None: leave them), and say what that took.

    Raises:
        ConfigurationError: X refuses one, or there is none at all, so that nothing would ever come.
        CutError: no answer, or none that can be read.
        RefusedError: its status is not 2xx.
    """
    there = _listed(api)
    needed = Changes((), (), len(there)) if wanted is None else changes(wanted, there, feed)
    for ids in _parts(needed.delete):  # first: X takes no rule twice, and one may have a new name
        _post(api, {"delete": {"ids": list(ids)}})
    for rules in _parts(needed.add):
        _post(api, {"add": [rule._asdict() for rule in rules]})
    if not needed.add and not needed.stay:
        raise ConfigurationError(
            ["source.x.rules_file: X has no rules, so nothing would come: name a file with some"]
        )
    return needed


def _listed(api: Api) -> list[_Stored]:
    found: list[_Stored] = []
    query: dict[str, str] = {}
    for _ in range(_MOST_PAGES):
        page = _decoded(api.ask("GET", PATH, query).body, _Listed)
        found += page.data
        if page.meta.next_token is None:
            break
        query = {"pagination_token": page.meta.next_token}
    return found


def _post(api: Api, change: object) -> None:
    """Raises ConfigurationError with all that X says is wrong."""
    try:
        said = api.ask("POST", PATH, body=msgspec.json.encode(change)).body
    except RefusedError as refused:
        if refused.status != 400:
            raise
        said = refused.body
        if not _decoded(said, _Done).errors:
            raise
    problems = [
        f"source.x.rules_file: X refuses {trouble.value or 'a rule'}: "
        + ("; ".join(trouble.details) or trouble.detail or trouble.title)
        for trouble in _decoded(said, _Done).errors
    ]
    if problems:
        raise ConfigurationError(problems)


def _decoded(said: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(said, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise CutError("what X says of its rules cannot be read") from None


def _parts(all_of_it: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (all_of_it[at : at + _AT_ONCE] for at in range(0, len(all_of_it), _AT_ONCE))


def _ours(feed: str) -> str:
    return f"moodstream/{feed}/"
