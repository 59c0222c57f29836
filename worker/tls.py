"""TLS towards Kafka, Redis and the schema registry: the settings' files, and what is wrong with a handshake.

librdkafka says of every certificate that it does not take that it "could not be verified". OpenSSL knows why:
expired, issued by an unknown authority, for another host. So where a handshake fails, it is done once more
here.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from worker.errors import ConfigurationError
from worker.hidden import opened
from worker.settings import KafkaSettings, RedisSettings, RegistrySettings

_ANSWER_S = 3.0
_ALERT_S = 0.5
"""Since TLS 1.3 a client learns only after the handshake that its certificate is not taken."""


@dataclass(frozen=True, slots=True)
class Files:
    """Whom we trust and who we are: PEM files, and the section of the settings that names them."""

    section: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    key_password: SecretStr | None = None


def files_of(settings: KafkaSettings | RedisSettings | RegistrySettings) -> Files | None:
    """The files that settings name; `None` where they do not ask for TLS."""
    if isinstance(settings, KafkaSettings):
        section, wanted = "kafka", settings.security_protocol in ("ssl", "sasl_ssl")
    elif isinstance(settings, RegistrySettings):
        section, wanted = "registry", (settings.url or "").startswith("https://")
    else:
        section, wanted = "redis", settings.url.startswith("rediss://")
    if not wanted:
        return None
    return Files(
        section,
        settings.ssl_ca_location,
        settings.ssl_certificate_location,
        settings.ssl_key_location,
        settings.ssl_key_password,
    )


def context(files: Files) -> ssl.SSLContext:
    """What to verify servers with, and who we are.

    Raises:
        ConfigurationError: a file is missing, is no PEM, or does not fit the other; all of them are told.
    """
    problems: list[str] = []
    made = ssl.create_default_context()
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT  # librdkafka is not strict either: one answer for both
    if files.ca is not None:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            made.load_verify_locations(files.ca)
        except OSError as error:
            problems.append(f"{files.section}.ssl_ca_location: {files.ca}: {_why(error)}")
    problems += _identify(made, files)
    if problems:
        raise ConfigurationError(problems)
    return made


def trouble(files: Files, servers: str) -> str | None:
    """What is wrong with TLS towards the first of `servers` that answers, and what mends it; `None`: nothing.

    `servers` are host:port, separated by commas.

    Raises:
        ConfigurationError: as `context` does.
    """
    made = context(files)
    for server in servers.split(","):
        host, _, port = server.rpartition(":")
        host = host.strip("[]")
        try:
            with (
                socket.create_connection((host, int(port)), timeout=_ANSWER_S) as plain,
                made.wrap_socket(plain, server_hostname=host) as connection,
            ):
                connection.settimeout(_ALERT_S)
                connection.recv(1)
        except ssl.SSLCertVerificationError as error:
            return f"the certificate of {server} cannot be trusted: {mistrust(files, error.verify_message)}"
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):  # which of them is a matter of who is faster
            continue  # closed without a word: a server that ends, or one without TLS
        except ssl.SSLError as error:
            return f"{server} refuses TLS with us ({_why(error)}): {rejection(files)}"
        except OSError:  # the time-out too: a server that takes us waits for our first request
            continue
    return None


def mistrust(files: Files, reason: str) -> str:
    """Why a server's certificate is not taken, with what mends it. `reason` is OpenSSL's."""
    if "expired" in reason or "not yet valid" in reason:
        return f"{reason}: renew it on the server, or set this machine's clock right"
    if "mismatch" in reason:
        return f"{reason}: name the server in {files.section}'s address as its certificate does"
    return f"{reason}: set {files.section}.ssl_ca_location to the certificate of the CA that signed it"


def rejection(files: Files) -> str:
    """Why a server does not take our certificate, as far as can be known here, and what mends it."""
    ours = f"{files.section}.ssl_certificate_location"
    if files.certificate is None or files.key is None:
        return f"it wants a client certificate: set {ours} and {files.section}.ssl_key_location"
    outdated = _outdated(files)
    if outdated is not None:
        return f"{ours}: {files.certificate}: {outdated}: renew it"
    return f"{ours}: {files.certificate} must be signed by a CA that the server trusts for its clients"


def _identify(made: ssl.SSLContext, files: Files) -> list[str]:
    """Load our certificate and key into `made`; answers what is wrong with them."""
    if files.certificate is None or files.key is None:
        return []
    setting = f"{files.section}.ssl"
    for name, path in (("certificate", files.certificate), ("key", files.key)):
        try:
            path.read_bytes()
        except OSError as error:
            return [f"{setting}_{name}_location: {path}: {_why(error)}"]
    asked = False

    def answer() -> str:
        nonlocal asked
        asked = True  # without this function OpenSSL would ask whoever sits at the terminal
        return opened(files.key_password) or ""

    try:
        made.load_cert_chain(files.certificate, files.key, answer)
    except ssl.SSLError as error:
        if asked and files.key_password is None:
            return [f"{setting}_key_password: {files.key} is encrypted: set its password"]
        if asked:
            return [f"{setting}_key_password: {files.key} does not open with it"]
        return [f"{setting}_key_location: {files.key} does not go with {files.certificate}: {_why(error)}"]
    return []


def _outdated(files: Files) -> str | None:
    """Why nobody would take our certificate, whoever signed it; `None` where that is not so.

    Python reads no dates from certificate files; a handshake does. So the certificate is shown, in memory, to
    a server that trusts it for itself.
    """
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    server.load_verify_locations(files.certificate)
    for made in (client, server):
        _identify(made, files)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for side in sides * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        except ssl.SSLError:
            return None  # it does not go, for another reason than this certificate
    return None


def _why(error: OSError) -> str:
    """In words, without the numbers of Python's and OpenSSL's source lines."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return error.strerror or str(error)
