"""Certificates made for a test: an authority, and what it signs, good or out of date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

HOST = "127.0.0.1"


class Pair(NamedTuple):
    """A certificate with its chain, and its key; PEM files."""

    certificate: Path
    key: Path

    @property
    def both(self) -> str:
        """As Kafka's PEM key stores want it."""
        return self.key.read_text() + self.certificate.read_text()


class Authority:
    """A certificate authority whose files lie in a folder of its own."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._ca = trustme.CA(organization_name=name)
        self.certificate = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(str(self.certificate))

    def issue(
        self, name: str, *, expired: bool = False, key_password: str | None = None, host: str | None = None
    ) -> Pair:
        """A certificate for this machine, or `host`, with that common name; expired: since yesterday."""
        now = datetime.now(UTC)
        leaf = self._ca.issue_cert(
            *((HOST, "localhost") if host is None else (host,)),
            common_name=name,
            not_before=now - timedelta(days=30),
            not_after=now + timedelta(days=-1 if expired else 30),
        )
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        pair.certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        # PKCS #8, the only form that Kafka reads and the one whose encryption is sound.
        key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
        encryption = (
            NoEncryption() if key_password is None else BestAvailableEncryption(key_password.encode())
        )
        pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        pair.key.chmod(0o600)
        return pair
