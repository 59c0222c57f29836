"""What Redis, or the way to it, answers instead of data: an outage to wait for, or a refusal.

refused, exit 3      wrong user or password, a missing permission, a certificate that one side does not take
waited for           no connection, no answer, loading, read-only replica, out of memory, ...
"""

from __future__ import annotations

import re

from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError

from worker.trends.store import StoreRefusedError, StoreUnavailableError

_MISTRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED\] certificate verify failed: (.+?)(?: \(_ssl|$)")
_NOT_TAKEN = re.compile(r"\[SSL: \w*ALERT_\w*(?:CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)\w*\] ([\w ]+)")
_IN_SCRIPT = ("script can't run this command", "can't access at least one of the keys")
"""What an ACL forbids within a script has no error class of its own."""


def unavailable(error: RedisError | OSError) -> StoreUnavailableError:
    """The one error that the trends role knows, with what mends it where that is known."""
    told = str(error)
    reason = _refusal(error, told)
    if reason is None:
        return StoreUnavailableError("redis", f"{type(error).__name__}: {told}")
    return StoreRefusedError("redis", reason)


def _refusal(error: Exception, told: str) -> str | None:
    """Why waiting does not mend it, and what does; `None` where it may."""
    if isinstance(error, (AuthenticationError, AuthorizationError)):
        return f"{told.rstrip('.')}: check redis.username and redis.password (MOODSTREAM_REDIS__PASSWORD)"
    if isinstance(error, NoPermissionError) or any(words in told for words in _IN_SCRIPT):
        return f"{told}: the ACL of redis.username must allow it; docs/security.md has the whole rule"
    if mistrusted := _MISTRUSTED.search(told):
        return (
            f"its certificate cannot be trusted: {mistrusted[1]}: renew it, or set redis.ssl_ca_location to "
            "the certificate of the CA that signed it"
        )
    if not_taken := _NOT_TAKEN.search(told):
        return (
            f"it does not take our client certificate ({not_taken[1]}): set redis.ssl_certificate_location "
            "and redis.ssl_key_location to one that is in date and signed by a CA that Redis trusts"
        )
    return None
