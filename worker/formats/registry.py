"""One question to a schema registry that speaks Confluent's protocol, and what its answer means.

Nothing here waits or asks again: `RegistryAwayError` says that waiting may help, `DependencyError` that it
will not, `NotThereError` and `RejectedError` that the registry has answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, SSLError

from worker import tls
from worker.errors import DependencyError, MoodstreamError
from worker.hidden import opened
from worker.settings import RegistrySettings

T = TypeVar("T")
SchemaType = Literal["AVRO", "PROTOBUF", "JSON"]

_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
_MOST_BYTES = 4 * 1024 * 1024
_MOST_SAID = 300
"""Characters of the registry's own words that are worth repeating."""
_NO_SUBJECT, _NO_VERSION, _NO_SCHEMA = 40401, 40402, 40403
_TROUBLE = (HTTPError, HTTPException, OSError)


class RegistryAwayError(MoodstreamError):
    """The registry did not answer, or not as a registry does: to be asked again."""


class NotThereError(MoodstreamError):
    """The registry has no such schema, subject or version; `code` is its own number for it."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        super().__init__(reason)


class RejectedError(MoodstreamError):
    """The registry does not take a schema: it is incompatible with the one before it, or invalid to it."""


class Reference(msgspec.Struct, frozen=True):
    """What a schema takes from another."""

    name: str
    subject: str
    version: int


class Stored(msgspec.Struct, frozen=True):
    """A schema as the registry has it."""

    schema: str
    type: SchemaType = msgspec.field(default="AVRO", name="schemaType")
    references: list[Reference] = []


class _Id(msgspec.Struct):
    id: int


class _Problem(msgspec.Struct):
    error_code: int
    message: str = ""


class _Fit(msgspec.Struct):
    is_compatible: bool
    messages: list[str] = []


class Fit(NamedTuple):
    """Whether a schema may follow the one that a subject has."""

    compatible: bool
    why: str
    """The registry's words where it may not; empty where it says none."""


class Registry:
    """One registry. Redirects are not followed: only the server that was set gets the password."""

    def __init__(self, settings: RegistrySettings) -> None:
        """Connects when it is first asked.

        Raises:
            ConfigurationError: a certificate cannot be read.
        """
        assert settings.url is not None  # noqa: S101 - `opened.check` sees to it
        self._settings = settings
        self._url = settings.url
        self._files = tls.files_of(settings)
        trusted = None if self._files is None else tls.context(self._files)
        self._pool = urllib3.PoolManager(num_pools=1, retries=False, ssl_context=trusted)
        self._headers = {"Accept": f"{_MEDIA_TYPE}, application/json", "User-Agent": "moodstream"}
        if settings.username is not None:
            secret = f"{settings.username}:{opened(settings.password)}"
            self._headers |= urllib3.make_headers(basic_auth=secret)

    def types(self) -> list[str]:
        """Which kinds of schemas it takes; the cheapest question that asks for our credentials too."""
        return self._asked("GET", "/schemas/types", list[str])

    def schema(self, number: int, *, serialized: bool = False) -> Stored:
        """The schema with this id; of Protobuf `serialized` gives the file's descriptor in base64.

        Raises:
            NotThereError: there is none.
        """
        return self._asked("GET", f"/schemas/ids/{number}{_serialized(serialized)}", Stored)

    def version(self, subject: str, version: int, *, serialized: bool = False) -> Stored:
        """A version of a subject, as `Reference` names them.

        Raises:
            NotThereError: there is none.
        """
        where = f"{_subject(subject)}/versions/{version}{_serialized(serialized)}"
        return self._asked("GET", where, Stored)

    def register(self, subject: str, kind: SchemaType, schema: str) -> int:
        """The id of a schema under a subject, which gets it where it has not got it yet.

        Raises:
            RejectedError: the subject does not take it.
        """
        return self._asked("POST", f"{_subject(subject)}/versions", _Id, _body(kind, schema)).id

    def lookup(self, subject: str, kind: SchemaType, schema: str) -> int:
        """The id of a schema that a subject has already.

        Raises:
            NotThereError: it has not.
        """
        return self._asked("POST", _subject(subject), _Id, _body(kind, schema)).id

    def fits(self, subject: str, kind: SchemaType, schema: str) -> Fit:
        """Whether a subject would take a schema.

        Raises:
            NotThereError: there is no such subject, which therefore takes any.
            RejectedError: it is no schema to the registry.
        """
        where = f"/compatibility{_subject(subject)}/versions/latest?verbose=true"
        found = self._asked("POST", where, _Fit, _body(kind, schema))
        return Fit(found.is_compatible, "; ".join(found.messages)[:_MOST_SAID])

    def _asked(self, method: str, where: str, kind: type[T], body: Mapping[str, Any] | None = None) -> T:
        headers = self._headers if body is None else self._headers | {"Content-Type": _MEDIA_TYPE}
        try:
            answer = self._pool.request(
                method,
                f"{self._url}{where}",
                body=None if body is None else msgspec.json.encode(body),
                headers=headers,
                redirect=False,
                timeout=urllib3.Timeout(total=self._settings.timeout_s),
                preload_content=False,
            )
            try:
                said = answer.read(_MOST_BYTES + 1, decode_content=True)
            finally:
                answer.close() if answer.status != 200 else answer.release_conn()
        except SSLError as error:
            raise self._untrusted(error) from error
        except _TROUBLE as error:
            raise RegistryAwayError(_told(error)) from error
        if len(said) > _MOST_BYTES:
            raise RegistryAwayError(f"an answer of more than {_MOST_BYTES} bytes")
        if answer.status != 200:
            raise self._refusal(answer.status, said)
        try:
            return msgspec.json.decode(said, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RegistryAwayError(
                "it does not answer as a schema registry does: check registry.url"
            ) from error

    def _refusal(self, status: int, said: bytes) -> MoodstreamError:
        """What an answer other than 200 means."""
        if status in (401, 403):
            who = self._settings.username
            came = "without a name" if who is None else f"as {who}"
            return DependencyError(
                "registry",
                f"it refuses us ({status}), we came {came}: check registry.username and registry.password"
                " (MOODSTREAM_REGISTRY__USERNAME, ...)",
            )
        try:
            problem = msgspec.json.decode(said, type=_Problem)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return RegistryAwayError(
                f"it answers {status}, and not as a schema registry does: check registry.url"
            )
        reason = problem.message[:_MOST_SAID]
        if status == 404 and problem.error_code in (_NO_SUBJECT, _NO_VERSION, _NO_SCHEMA):
            return NotThereError(problem.error_code, reason)
        if status in (409, 422):
            return RejectedError(reason or f"error {problem.error_code}")
        return RegistryAwayError(f"it answers {status} ({problem.error_code}): {reason}")

    def _untrusted(self, error: SSLError) -> MoodstreamError:
        """A certificate that is not taken; or a server that is going down in the middle of a handshake."""
        address = urllib3.util.parse_url(self._url)
        trouble = self._files and tls.trouble(self._files, f"{address.host}:{address.port or 443}")
        return DependencyError("registry", trouble) if trouble else RegistryAwayError(_told(error))


def _serialized(wanted: bool) -> str:
    return "?format=serialized" if wanted else ""


def _subject(subject: str) -> str:
    return f"/subjects/{quote(subject, safe='')}"


def _body(kind: SchemaType, schema: str) -> dict[str, Any]:
    # Registries older than Confluent's 5.5 know no types, and Avro needs none.
    return {"schema": schema} if kind == "AVRO" else {"schema": schema, "schemaType": kind}


def _told(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return str(reason if isinstance(reason, BaseException) else error) or type(error).__name__
