"""One webhook: an alert as signed JSON by POST.

    X-Moodstream-Timestamp   epoch seconds of this attempt
    X-Moodstream-Signature   v1=<hex HMAC-SHA256 of "<timestamp>.<body>" under trends.alerts.webhook_secret>
    Idempotency-Key          the alert's id: the same for every attempt

Whoever receives it computes the signature over the bytes as they came, compares in constant time, and refuses
timestamps that are minutes old. Redirects are never followed: only the address that was set gets the alert.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from typing import Literal, NamedTuple

import urllib3

from worker.trends.alerts.describe import webhook_body
from worker.types import Alert

_UNACCEPTABLE = frozenset({400, 413, 415, 422})
"""What no second attempt changes. All else may pass, or be mended by who set the address."""
_LONGEST_WAIT_S = 3600

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What became of one attempt."""

    outcome: Literal["delivered", "refused", "failed"]
    reason: str = ""
    """Says nothing of the address, which is a secret."""
    wait_s: float | None = None
    """How long the other side asks us to wait."""


class Webhook:
    """One address. Belongs to one thread."""

    def __init__(self, url: str, secret: str | None, timeout_s: float) -> None:
        self._url = url
        self._secret = None if secret is None else secret.encode()
        self._timeout_s = timeout_s
        self._pool = urllib3.PoolManager(num_pools=1, retries=False)

    def send(self, alert: Alert, now: float) -> Answer:
        """One attempt at `now` (epoch seconds); never raises for what the other side does."""
        body = webhook_body(alert)
        timestamp = str(int(now))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "moodstream",
            "Idempotency-Key": alert.id.encode("ascii", "backslashreplace").decode(),
            "X-Moodstream-Timestamp": timestamp,
        }
        if self._secret is not None:
            headers["X-Moodstream-Signature"] = signature(self._secret, timestamp, body)
        try:
            answer = self._pool.request(
                "POST",
                self._url,
                body=body,
                headers=headers,
                redirect=False,
                timeout=urllib3.Timeout(total=self._timeout_s),
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return Answer("failed", type(error).__name__)
        status, wait_s = answer.status, _seconds(answer.headers.get("Retry-After"))
        answer.close()  # what it says beside its status is not read
        if 200 <= status < 300:
            return Answer("delivered")
        if status in _UNACCEPTABLE:
            return Answer("refused", f"status {status}")
        return Answer("failed", f"status {status}", wait_s)

    def close(self) -> None:
        """Close what is open."""
        self._pool.clear()


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """The value of X-Moodstream-Signature."""
    return "v1=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds; its other form, a date, is left to our own backoff."""
    if header is None or not header.strip().isascii() or not header.strip().isdecimal():
        return None
    return min(float(header), _LONGEST_WAIT_S)
