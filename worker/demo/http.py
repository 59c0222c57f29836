"""Asking the roles over HTTP, as anyone would."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from worker.errors import DependencyError

_TIMEOUT_S = 2.0


def get(url: str, **query: str | float) -> tuple[int, bytes]:
    """Status and body of an answer.

    Raises:
        OSError: nobody answers, or not in HTTP.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", f"{parts.path}?{urlencode(query)}" if query else parts.path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


def get_json(url: str, **query: str | float) -> Any:
    """The JSON of an answer.

    Raises:
        DependencyError: there is no such answer.
    """
    try:
        status, body = get(url, **query)
    except OSError as error:
        raise DependencyError(url, str(error)) from error
    if status != http.client.OK:
        raise DependencyError(url, f"answers {status}: {body[:300].decode(errors='replace')}")
    return msgspec.json.decode(body)


def put(url: str, body: object, token: str) -> None:
    """Set something.

    Raises:
        DependencyError: it was not taken.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT_S)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request("PUT", parts.path, msgspec.json.encode(body), headers)
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise DependencyError(url, f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise DependencyError(url, f"answers {answer.status}: {text[:300].decode(errors='replace')}")


def answers_ok(url: str) -> bool:
    """Whether it answers 200."""
    try:
        return get(url)[0] == http.client.OK
    except OSError:
        return False
