"""What is wrong with certificates is told in words that help, before and after a handshake."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from pydantic import SecretStr

from tests.support.certificates import HOST, Authority, Pair
from worker.errors import ConfigurationError
from worker.settings import KafkaSettings, RedisSettings
from worker.stream.refusal import refusal, refused
from worker.tls import Files, context, files_of, trouble

PASSWORD = "a key's password"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does one thing with everybody who comes."""
    with socket.create_server((HOST, 0)) as listener:

        def run() -> None:
            with suppress(OSError):
                while True:
                    serve(listener.accept()[0])

        threading.Thread(target=run, daemon=True).start()
        yield f"{HOST}:{listener.getsockname()[1]}"


def tls_server(pair: Pair, clients: Authority | None = None) -> Callable[[socket.socket], None]:
    """Speaks TLS, and wants certificates of its clients where they have an authority."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pair.certificate, pair.key)
    if clients is not None:
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(clients.certificate)

    def serve(plain: socket.socket) -> None:
        plain.settimeout(5)
        with plain, suppress(OSError), made.wrap_socket(plain, server_side=True) as connection:
            connection.recv(1)

    return serve


def files(authority: Authority, ours: Pair | None = None) -> Files:
    if ours is None:
        return Files("kafka", authority.certificate)
    return Files("kafka", authority.certificate, ours.certificate, ours.key)


class TestHandshake:
    def test_nothing_is_wrong(self, authority: Authority) -> None:
        ours = authority.issue("client")
        with listening(tls_server(authority.issue("server"), authority)) as server:
            assert trouble(files(authority, ours), server) is None

    def test_an_unknown_authority(self, authority: Authority, stranger: Authority) -> None:
        with listening(tls_server(authority.issue("server"))) as server:
            told = trouble(files(stranger), server)
        assert told is not None
        assert told.startswith(f"the certificate of {server} cannot be trusted: unable to get local issuer")
        assert told.endswith("set kafka.ssl_ca_location to the certificate of the CA that signed it")

    def test_an_expired_server(self, authority: Authority) -> None:
        with listening(tls_server(authority.issue("old-server", expired=True))) as server:
            told = trouble(files(authority), server)
        assert told is not None
        assert "certificate has expired: renew it on the server" in told

    def test_another_name(self, authority: Authority) -> None:
        with listening(tls_server(authority.issue("server"))) as server:
            told = trouble(files(authority), server.replace(HOST, "127.0.0.2"))
        assert told is None  # nobody listens there
        elsewhere = authority.issue("elsewhere", host="kafka.example")
        with listening(tls_server(elsewhere)) as server:
            told = trouble(files(authority), server)
        assert told is not None
        assert "mismatch" in told
        assert "name the server in kafka's address as its certificate does" in told

    def test_no_client_certificate(self, authority: Authority) -> None:
        with listening(tls_server(authority.issue("server"), authority)) as server:
            told = trouble(files(authority), server)
        assert told is not None
        assert "wants a client certificate: set kafka.ssl_certificate_location" in told

    def test_an_expired_client(self, authority: Authority) -> None:
        ours = authority.issue("old-client", expired=True)
        with listening(tls_server(authority.issue("server"), authority)) as server:
            told = trouble(files(authority, ours), server)
        assert told is not None
        assert told.endswith(f"{ours.certificate}: certificate has expired: renew it")

    def test_an_unknown_client(self, authority: Authority, stranger: Authority) -> None:
        ours = stranger.issue("client")
        with listening(tls_server(authority.issue("server"), authority)) as server:
            told = trouble(files(authority, ours), server)
        assert told is not None
        assert told.endswith("must be signed by a CA that the server trusts for its clients")

    def test_a_server_that_is_away_or_ends_is_none_of_these(self, authority: Authority) -> None:
        def reset(client: socket.socket) -> None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()

        with listening(reset) as server:
            assert trouble(files(authority), server) is None
        with listening(socket.socket.close) as server:
            assert trouble(files(authority), server) is None
        assert trouble(files(authority), server) is None

    @pytest.mark.parametrize("ended", [ssl.SSLEOFError, ssl.SSLZeroReturnError])
    def test_however_the_end_of_a_connection_is_told(
        self, authority: Authority, monkeypatch: pytest.MonkeyPatch, ended: type[ssl.SSLError]
    ) -> None:
        """OpenSSL has two words for it, by when the server closes."""

        def wrap(*_: object, **__: object) -> None:
            raise ended(0, "closed")

        monkeypatch.setattr(ssl.SSLContext, "wrap_socket", wrap)
        with socket.create_server((HOST, 0)) as server:
            assert trouble(files(authority), f"{HOST}:{server.getsockname()[1]}") is None

    def test_the_first_that_answers_is_asked(self, authority: Authority, stranger: Authority) -> None:
        with listening(tls_server(stranger.issue("server"))) as server:
            told = trouble(files(authority), f"{HOST}:1,{server}")
        assert told is not None
        assert server in told


class TestFiles:
    def test_all_that_is_wrong_is_told(self, authority: Authority, tmp_path: Path) -> None:
        wrong = Files("redis", tmp_path / "ca.pem", tmp_path / "crt", tmp_path / "key")
        with pytest.raises(ConfigurationError) as caught:
            context(wrong)
        assert caught.value.problems == (
            f"redis.ssl_ca_location: {tmp_path}/ca.pem: No such file or directory",
            f"redis.ssl_certificate_location: {tmp_path}/crt: No such file or directory",
        )

    def test_what_is_no_certificate(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_text("certainly not")
        with pytest.raises(ConfigurationError, match=r"redis\.ssl_ca_location: .*ca\.pem: no certificate"):
            context(Files("redis", tmp_path / "ca.pem"))

    def test_a_key_of_another_certificate(self, authority: Authority) -> None:
        one, other = authority.issue("one"), authority.issue("other")
        mixed = replace(files(authority, one), key=other.key)
        with pytest.raises(ConfigurationError, match="does not go with"):
            context(mixed)

    @pytest.mark.parametrize(
        ("password", "told"), [(None, "is encrypted: set its password"), ("wrong", "does not open with it")]
    )
    def test_an_encrypted_key(self, authority: Authority, password: str | None, told: str) -> None:
        ours = authority.issue("locked", key_password=PASSWORD)
        secret = None if password is None else SecretStr(password)
        with pytest.raises(ConfigurationError, match=told):
            context(replace(files(authority, ours), key_password=secret))
        context(replace(files(authority, ours), key_password=SecretStr(PASSWORD)))

    def test_who_asks_for_no_tls_has_none(self) -> None:
        assert files_of(KafkaSettings()) is None
        assert files_of(RedisSettings()) is None
        assert files_of(RedisSettings(url="rediss://redis:6380/0")) == Files("redis")


class TestRefusal:
    @pytest.mark.parametrize(
        ("code", "told"),
        [
            (KafkaError._TRANSPORT, "SSL handshake failed: Disconnected: connection reset by peer"),
            (KafkaError._TRANSPORT, "Connect to ipv4#127.0.0.1:9092 failed: Connection refused"),
            (KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"),
            (KafkaError.COORDINATOR_LOAD_IN_PROGRESS, "loading"),
            (KafkaError.UNKNOWN_TOPIC_OR_PART, "no such topic"),
        ],
    )
    def test_what_may_pass_is_waited_for(self, code: int, told: str) -> None:
        assert not refused(KafkaError(code, told))

    @pytest.mark.parametrize(
        ("code", "told"),
        [
            (KafkaError._SSL, "certificate verify failed"),
            (KafkaError._TRANSPORT, "error:0A000416:SSL routines::ssl/tls alert certificate unknown"),
            (KafkaError._TRANSPORT, "error:0A000418:SSL routines::tlsv1 alert unknown ca"),
            (KafkaError._AUTHENTICATION, "SASL authentication error"),
            (KafkaError.GROUP_AUTHORIZATION_FAILED, "Group authorization failed"),
        ],
    )
    def test_what_does_not_pass_is_not(self, code: int, told: str) -> None:
        assert refused(KafkaError(code, told))

    def test_it_says_who_we_are_and_what_to_do(self) -> None:
        kafka = KafkaSettings(
            security_protocol="sasl_plaintext",
            sasl_mechanism="PLAIN",
            sasl_username="me",
            sasl_password=SecretStr(PASSWORD),
        )
        wrong = KafkaError(KafkaError._AUTHENTICATION, "no (after 335ms in state AUTH_REQ)")
        lacking = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "Topic authorization failed")
        assert str(refusal(wrong, kafka)) == (
            "kafka: no: we came as User:me with PLAIN: check kafka.sasl_username, kafka.sasl_password and "
            "kafka.sasl_mechanism (MOODSTREAM_KAFKA__SASL_USERNAME, ...)"
        )
        assert str(refusal(lacking, kafka, "labels")) == (
            "kafka: labels: Topic authorization failed: User:me lacks an ACL; `moodstream topics acls` "
            "prints all that each role needs"
        )
