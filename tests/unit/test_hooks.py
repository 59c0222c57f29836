"""Webhooks: signatures as their senders make them, bodies into posts, and files that are refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from worker.errors import ConfigurationError
from worker.sources.hooks import Hook, Signature, read_hooks, value_of

SECRET = "a secret of some length"
BODY = b'{"ticket": {"id": 7, "subject": "Late", "description": "It never came"}}'
INPUTS = ("tweets", "feedback")


def hook(signature: Signature = Signature.HEX, **fields: str | tuple[str, ...]) -> Hook:
    places = {name: (at,) if isinstance(at, str) else at for name, at in fields.items()}
    return Hook("desk", "feedback", signature, SecretStr(SECRET), places)


def mac(signed: bytes, secret: str = SECRET) -> bytes:
    return hmac.new(secret.encode(), signed, hashlib.sha256).digest()


def headers_of(signature: Signature, body: bytes, secret: str = SECRET) -> dict[str, str]:
    """As the sender makes them."""
    if signature is Signature.ZENDESK:
        return {
            "x-zendesk-webhook-signature": base64.b64encode(
                mac(b"2026-05-04T18:00:00Z" + body, secret)
            ).decode(),
            "x-zendesk-webhook-signature-timestamp": "2026-05-04T18:00:00Z",
        }
    if signature is Signature.TYPEFORM:
        return {"typeform-signature": "sha256=" + base64.b64encode(mac(body, secret)).decode()}
    if signature is Signature.HEX:
        return {"x-hub-signature-256": "sha256=" + mac(body, secret).hex()}
    return {"authorization": f"Bearer {secret}"}


def test_githubs_own_example_is_taken() -> None:
    """From GitHub's documentation of webhooks, "Testing the webhook payload validation"."""
    one = Hook("g", "feedback", Signature.HEX, SecretStr("It's a Secret to Everybody"))
    told = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert one.signed({"x-hub-signature-256": told}, b"Hello, World!")


@pytest.mark.parametrize("signature", Signature)
def test_only_who_knows_the_secret_is_taken(signature: Signature) -> None:
    one, given = hook(signature), headers_of(signature, BODY)
    assert one.signed(given, BODY)
    assert not one.signed({}, BODY)
    assert not one.signed(headers_of(signature, BODY, "another secret of some length"), BODY)
    assert not one.signed({name: value + "é" for name, value in given.items()}, BODY)
    if signature is not Signature.TOKEN:
        assert not one.signed(given, BODY + b" ")
    if signature is Signature.ZENDESK:
        assert not one.signed(given | {"x-zendesk-webhook-signature-timestamp": "2026-05-04T18:00:01Z"}, BODY)


def post(one: Hook, body: bytes = BODY) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(value_of(one, body))
    return found


def test_fields_are_found_where_the_file_says() -> None:
    one = hook(
        id="ticket.id", text=("ticket.subject", "ticket.nothing", "ticket.description"), lang="ticket.no"
    )
    assert post(one) == {"id": 7, "text": "Late\nIt never came", "source": "desk"}


def test_lists_are_counted_from_0() -> None:
    body = b'{"form_response": {"token": "t", "answers": [{"number": 3}, {"text": "lovely"}]}}'
    one = hook(
        id="form_response.token", text="form_response.answers.1.text", source="form_response.answers.9.x"
    )
    assert post(one, body) == {"id": "t", "text": "lovely", "source": "desk"}


def test_without_an_id_the_same_body_has_the_same() -> None:
    one = hook(text="ticket.subject")
    assert post(one)["id"] == post(one)["id"] != post(one, BODY + b" ")["id"]


@pytest.mark.parametrize("body", [b"", b"no json", b"[1]", b'"x"', b'{"ticket": 3}', b"\xff", b"[" * 100_000])
def test_what_holds_no_text_goes_on_as_it_came(body: bytes) -> None:
    assert value_of(hook(text="ticket.subject"), body) == body


def test_without_fields_a_body_goes_on_as_it_came() -> None:
    assert value_of(hook(), BODY) == BODY


def written(folder: Path, text: str) -> Path:
    path = folder / "hooks.toml"
    path.write_text(text)
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        [hooks.desk]
        signature = "zendesk"
        secret_env = "DESK"
        [hooks.desk.fields]
        text = ["a", "b"]
        id = "c"
        [hooks.form]
        signature = "typeform"
        secret_env = "FORM"
        topic = "tweets"
        """,
    )
    found = read_hooks(path, {"DESK": SECRET, "FORM": SECRET}, INPUTS)
    assert found["desk"] == Hook(
        "desk", "feedback", Signature.ZENDESK, SecretStr(SECRET), {"text": ("a", "b"), "id": ("c",)}
    )
    assert (found["form"].topic, found["form"].fields) == ("tweets", {})
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "hooks"),
        ("[hooks]", r"there is no \[hooks.NAME\]"),
        ("[hooks.x]\nsecret_env='S'", "signature"),
        ("[hooks.x]\nsignature='md5'\nsecret_env='S'", "md5"),
        ("[hooks.x]\nsignature='hex'\nsecret='s'\nsecret_env='S'", "secret"),
        ("[hooks.X]\nsignature='hex'\nsecret_env='S'", "pattern|regex"),
        ("[hooks.x]\nsignature='hex'\nsecret_env='NONE'", "no environment variable NONE"),
        ("[hooks.x]\nsignature='hex'\nsecret_env='SHORT'", "shorter than 16"),
        ("[hooks.x]\nsignature='hex'\nsecret_env='S'\ntopic='labels'", "labels is none of topics.inputs"),
        ("[hooks.x]\nsignature='hex'\nsecret_env='S'\nfields={txt='a', text='b'}", "txt: a post has"),
        ("[hooks.x]\nsignature='hex'\nsecret_env='S'\nfields={id='a'}", "text is missing"),
        ("[hooks.x\n", "hooks.toml"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        read_hooks(written(tmp_path, text), {"S": SECRET, "SHORT": "x"}, INPUTS)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path, "[hooks.x]\nsignature='hex'\nsecret_env='A'\n[hooks.y]\nsignature='hex'\nsecret_env='B'"
    )
    with pytest.raises(ConfigurationError) as caught:
        read_hooks(path, {}, INPUTS)
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigurationError, match="No such file"):
        read_hooks(tmp_path / "none.toml", {}, INPUTS)
