"""The way to Redis 6.2 to 8 or Valkey."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import resources
from ssl import SSLError
from typing import Any

from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.commands.core import Script
from redis.connection import SSLConnection
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from worker import tls
from worker.hidden import opened
from worker.settings import RedisSettings
from worker.trends.redis_errors import unavailable

_RETRIES = 1
"""A connection that broke since it was last used is replaced at once. Longer outages are the loop's, and so
are answers that do not come: asking again would double the wait."""


_HEARD_S = 1.0
"""For how long to listen for why a connection was closed."""


class _TlsConnection(SSLConnection):
    """Says why a server closes a connection that it does not want.

    In TLS 1.3 (RFC 8446, section 4.4) our side is done before the server has looked at our certificate.
    Where it refuses it, its alert and the end of the connection cross our first command, which then fails
    with a broken pipe, the alert unread. So, where that command fails, we connect once more, say nothing,
    and listen.
    """

    def on_connect_check_health(self, check_health: bool = True) -> None:
        try:
            super().on_connect_check_health(check_health)
        except AuthenticationError:
            raise
        except RedisConnectionError as error:
            if (why := self._why_closed()) is not None:
                raise RedisConnectionError(str(why)) from error
            raise

    def _why_closed(self) -> SSLError | None:
        try:
            with closing(self._connect()) as listener:  # type: ignore[no-untyped-call]
                listener.settimeout(_HEARD_S)
                listener.recv(1)
        except SSLError as refused:
            return refused
        except (OSError, RedisError):
            pass  # then what went wrong first says more
        return None


@contextmanager
def connected(settings: RedisSettings) -> Iterator[Redis]:
    """A client that connects when first used. Threads may share it.

    Raises:
        ConfigurationError: a certificate or key cannot be used.
    """
    more: dict[str, Any] = {}
    if (files := tls.files_of(settings)) is not None:
        tls.context(files)  # the client would read them with each connection only, and ask for a password
        more = {
            "ssl_ca_certs": None if files.ca is None else str(files.ca),
            "ssl_certfile": None if files.certificate is None else str(files.certificate),
            "ssl_keyfile": None if files.key is None else str(files.key),
            "ssl_password": opened(files.key_password),
            "connection_class": _TlsConnection,
        }
    client = Redis.from_url(
        settings.url,
        username=settings.username,
        password=opened(settings.password),
        socket_timeout=settings.timeout_s,
        socket_connect_timeout=settings.timeout_s,
        retry=Retry(
            ExponentialWithJitterBackoff(cap=0.1, base=0.01),
            _RETRIES,
            supported_errors=(RedisConnectionError,),
        ),
        **more,
    )
    try:
        yield client
    finally:
        client.close()


@contextmanager
def reaching() -> Iterator[None]:
    """Turns whatever Redis or the way to it refuses into one error."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise unavailable(error) from error


def text(answer: bytes | str) -> str:
    """A name or number out of an answer; its client may or may not decode answers."""
    return answer if isinstance(answer, str) else answer.decode(errors="replace")


def script(client: Redis, name: str) -> Script:
    """One of the Lua scripts beside this file, ready to be called."""
    text = resources.files("worker.trends").joinpath(f"{name}.lua").read_text(encoding="utf-8")
    return client.register_script(text)
