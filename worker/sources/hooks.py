"""Webhooks: who may send, and how what they send becomes a post. Pure.

A file says which there are:

    [hooks.zendesk]                     # POST /hooks/zendesk
    signature = "zendesk"
    secret_env = "ZENDESK_SECRET"       # the environment variable that holds the secret
    topic = "feedback"                  # the last of topics.inputs where not given

    [hooks.zendesk.fields]              # of a post: where they are in what comes, names between dots
    id = "ticket.id"
    text = ["ticket.subject", "ticket.description"]    # those that are there, a line each
    author_id = "ticket.requester.id"

Without `fields` a body goes into the topic as it comes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import tomllib
from collections.abc import Callable, Mapping
from enum import StrEnum
from hmac import compare_digest
from pathlib import Path
from typing import Annotated, Any

import msgspec
from pydantic import SecretStr

from worker.errors import ConfigurationError
from worker.hidden import opened
from worker.types import Post

_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
_FIELDS = frozenset(field.name for field in msgspec.structs.fields(Post))
_LEAST_SECRET = 16
"""Characters; what is shorter can be guessed."""


class Signature(StrEnum):
    """How a sender proves that it is one. All but `token` are HMAC-SHA256 with the secret."""

    HEX = "hex"
    """`X-Hub-Signature-256: sha256=` and the body's, as hexadecimal digits: GitHub's way."""
    TYPEFORM = "typeform"
    """`Typeform-Signature: sha256=` and the body's, as base64."""
    ZENDESK = "zendesk"
    """`X-Zendesk-Webhook-Signature`: of `X-Zendesk-Webhook-Signature-Timestamp` and the body, as base64."""
    TOKEN = "token"  # noqa: S105 - the name of a way
    """`Authorization: Bearer` and the secret itself: for senders that cannot sign."""


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    """A hook as the file has it."""

    signature: Signature
    secret_env: Annotated[str, msgspec.Meta(min_length=1)]
    topic: str | None = None
    fields: dict[str, str | list[str]] = {}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    hooks: dict[Annotated[str, msgspec.Meta(pattern=_NAME)], _Written]


class Hook(msgspec.Struct, frozen=True):
    """One sender."""

    name: str
    topic: str
    signature: Signature
    secret: SecretStr
    fields: Mapping[str, tuple[str, ...]] = {}
    """Of a post: the places in a body, in their order."""

    def signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether the sender knows the secret. A nearly right signature takes as long as a wrong one."""
        secret = opened(self.secret)
        return secret is not None and _CHECKS[self.signature](secret.encode(), headers, body)


def read_hooks(path: Path, environment: Mapping[str, str], inputs: tuple[str, ...]) -> dict[str, Hook]:
    """The hooks of a file, by name.

    Args:
        path: TOML.
        environment: Where secrets are.
        inputs: The topics that workers read.

    Raises:
        ConfigurationError: with all that is wrong with it.
    """
    try:
        written = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).hooks
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError([f"{path}: {getattr(error, 'strerror', None) or error}"]) from None
    problems: list[str] = [] if written else [f"{path}: there is no [hooks.NAME] in it"]
    for name, hook in written.items():
        problems += [f"{path}: hooks.{name}.{problem}" for problem in _problems(hook, environment, inputs)]
    if problems:
        raise ConfigurationError(problems)
    return {
        name: Hook(
            name,
            hook.topic or inputs[-1],
            hook.signature,
            SecretStr(environment[hook.secret_env]),
            {
                field: (places,) if isinstance(places, str) else tuple(places)
                for field, places in hook.fields.items()
            },
        )
        for name, hook in written.items()
    }


def _problems(hook: _Written, environment: Mapping[str, str], inputs: tuple[str, ...]) -> list[str]:
    found = []
    secret = environment.get(hook.secret_env, "")
    if not secret:
        found.append(f"secret_env: there is no environment variable {hook.secret_env}")
    elif len(secret) < _LEAST_SECRET:
        found.append(
            f"secret_env: the secret in {hook.secret_env} is shorter than {_LEAST_SECRET} characters"
        )
    if hook.topic is not None and hook.topic not in inputs:
        found.append(f"topic: {hook.topic} is none of topics.inputs: {', '.join(inputs)}")
    unknown = sorted(hook.fields.keys() - _FIELDS)
    if unknown:
        found.append(f"fields: {', '.join(unknown)}: a post has {', '.join(sorted(_FIELDS))}")
    if hook.fields and "text" not in hook.fields:
        found.append("fields: text is missing: where is what the post says?")
    return found


def value_of(hook: Hook, body: bytes) -> bytes:
    """What a body becomes.

    What is no JSON, or has no text where the hook looks for it, goes into the topic as it came: a worker
    puts it with the dead letters, where somebody sees it, and the sender need not send it again.
    """
    if not hook.fields:
        return body
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    found = {field: _found(said, places) for field, places in hook.fields.items()}
    post = {field: value for field, value in found.items() if value is not None}
    if "text" not in post:
        return body
    post.setdefault("id", hashlib.blake2b(body, digest_size=12).hexdigest())  # the same if it comes again
    post.setdefault("source", hook.name)
    return msgspec.json.encode(post)


def _found(said: object, places: tuple[str, ...]) -> Any:
    """What stands in these places: the one value as it is, or the texts, a line each."""
    values = [value for place in places if (value := _at(said, place)) is not None]
    if len(values) < 2:
        return values[0] if values else None
    return "\n".join(str(value) for value in values)


def _at(said: object, place: str) -> object:
    for name in place.split("."):
        if isinstance(said, dict):
            said = said.get(name)
        elif isinstance(said, list) and name.isdecimal() and int(name) < len(said):
            said = said[int(name)]
        else:
            return None
    return said


def _hmac(secret: bytes, signed: bytes) -> bytes:
    return hmac.digest(secret, signed, "sha256")


def _is_hex(secret: bytes, headers: Mapping[str, str], body: bytes) -> bool:
    return compare_digest(
        _given(headers, "x-hub-signature-256"), b"sha256=" + _hmac(secret, body).hex().encode()
    )


def _is_typeform(secret: bytes, headers: Mapping[str, str], body: bytes) -> bool:
    expected = b"sha256=" + base64.b64encode(_hmac(secret, body))
    return compare_digest(_given(headers, "typeform-signature"), expected)


def _is_zendesk(secret: bytes, headers: Mapping[str, str], body: bytes) -> bool:
    stamp = _given(headers, "x-zendesk-webhook-signature-timestamp")
    expected = base64.b64encode(_hmac(secret, stamp + body))
    return compare_digest(_given(headers, "x-zendesk-webhook-signature"), expected)


def _is_token(secret: bytes, headers: Mapping[str, str], _body: bytes) -> bool:
    return compare_digest(_given(headers, "authorization"), b"Bearer " + secret)


def _given(headers: Mapping[str, str], name: str) -> bytes:
    """Headers arrive as Latin-1, whatever the bytes were."""
    return headers.get(name, "").encode("latin-1", "replace")


_CHECKS: Mapping[Signature, Callable[[bytes, Mapping[str, str], bytes], bool]] = {
    Signature.HEX: _is_hex,
    Signature.TYPEFORM: _is_typeform,
    Signature.ZENDESK: _is_zendesk,
    Signature.TOKEN: _is_token,
}
