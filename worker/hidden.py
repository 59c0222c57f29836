"""A secret on its way to the client that needs it as a plain string."""

from __future__ import annotations

from pydantic import SecretStr


class Hidden(str):
    """A plain string to whoever uses it, and stars wherever it is shown.

    Clients and tracebacks print whole configurations (kafka-python logs its own at debug level).
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'**********'"


def opened(secret: SecretStr | None) -> Hidden | None:
    """The secret for a client. Secrets leave their `SecretStr` here and in `worker.web.token` only."""
    return None if secret is None else Hidden(secret.get_secret_value())
