"""Kafka and Redis with every lock on, and who has which key. Shared by tests/security."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from confluent_kafka.admin import AclBinding  # type: ignore[attr-defined]  # documented, and not in its __all__
from redis import Redis

from tests.support.certificates import HOST, Authority, Pair
from tests.support.secure_kafka import SecureKafka, binding
from worker.local.processes import free_port
from worker.local.redis import RealRedis

PAGE = Path(__file__).parents[2] / "docs" / "security.md"

KAFKA_PASSWORD = "planted-kafka-password-7c1e"
KEY_PASSWORD = "planted-key-password-9d2f"
REDIS_PASSWORD = "planted-redis-password-3b8a"
REDIS_KEY_PASSWORD = "planted-redis-key-password-5e6c"
TOKEN = "planted-http-token-2f4d8b"
SECRETS = (KAFKA_PASSWORD, KEY_PASSWORD, REDIS_PASSWORD, REDIS_KEY_PASSWORD, TOKEN)

REDIS_USER = "moodstream-trends"


def environment(section: str, **settings: object) -> dict[str, str]:
    """Settings of one section as variables."""
    return {f"MOODSTREAM_{section}__{name}".upper(): str(value) for name, value in settings.items()}


def pasted(marker: str) -> list[str]:
    """The lines of the block on docs/security.md that follows a comment with this marker, but comments."""
    found = re.search(rf"<!-- {marker}[^>]*-->\n```\n(.*?)\n```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"{PAGE}: no block after <!-- {marker} -->"
    return [line for line in found[1].splitlines() if not line.startswith("#")]


def acls(lines: list[str]) -> Iterator[tuple[str, AclBinding]]:
    """What kafka-acls.sh does with such lines: each resource, and the ACL on it."""
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "kafka-acls.sh"
        assert "--add" in words
        options: dict[str, list[str]] = {}
        for name, value in pairwise(words):
            if name.startswith("--") and not value.startswith("--"):
                options.setdefault(name.removeprefix("--"), []).append(value)
        [principal], [operation] = options["allow-principal"], options["operation"]
        [pattern] = options.get("resource-pattern-type", ["literal"])
        for kind in ("topic", "group", "transactional-id"):
            for name in options.get(kind, []):
                in_words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation)
                yield f"{kind}:{name}", binding(principal, in_words, kind.replace("-", "_"), name, pattern)


@dataclass(frozen=True)
class LockedKafka:
    """The secured Kafka and the files of those who come; `stranger` is a CA that nobody knows."""

    kafka: SecureKafka
    files: Mapping[str, Pair]
    stranger: Authority

    def scram(self, user: str, **settings: object) -> dict[str, str]:
        """The environment of somebody with a password."""
        return environment(
            "kafka",
            bootstrap_servers=self.kafka.at("SCRAM"),
            security_protocol="sasl_ssl",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_username=user,
            sasl_password=KAFKA_PASSWORD,
            ssl_ca_location=self.kafka.authority.certificate,
        ) | environment("kafka", **settings)

    def mtls(self, name: str | None, **settings: object) -> dict[str, str]:
        """The environment of somebody with a client certificate, or without any."""
        ours: dict[str, object] = {}
        if name is not None:
            ours = {
                "ssl_certificate_location": self.files[name].certificate,
                "ssl_key_location": self.files[name].key,
                "ssl_key_password": KEY_PASSWORD,
            }
        return environment(
            "kafka",
            bootstrap_servers=self.kafka.at("MTLS"),
            security_protocol="ssl",
            ssl_ca_location=self.kafka.authority.certificate,
            **ours,
        ) | environment("kafka", **settings)


class LockedRedis:
    """A Redis with a TLS port that wants client certificates, and the user of docs/security.md.

    The test itself administers it over a plain port that a real one would not have.
    """

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder, "redis-ca")
        self.stranger = Authority(folder, "redis-stranger")
        self.ours = self.authority.issue("trends", key_password=REDIS_KEY_PASSWORD)
        self.expired = self.authority.issue("trends-old", expired=True, key_password=REDIS_KEY_PASSWORD)
        self.strange = self.stranger.issue("trends-stranger", key_password=REDIS_KEY_PASSWORD)
        self.server = self._server(self.authority.issue("redis"))
        self.out_of_date = self._server(self.authority.issue("redis-old", expired=True))

    def _server(self, pair: Pair) -> RealRedis:
        return RealRedis(
            {
                "tls-port": str(free_port()),
                "tls-cert-file": str(pair.certificate),
                "tls-key-file": str(pair.key),
                "tls-ca-cert-file": str(self.authority.certificate),
                "tls-auth-clients": "yes",
            }
        )

    def allow(self, rule: str) -> None:
        """One line of redis-cli."""
        with Redis(HOST, self.server.port) as client:
            client.execute_command(*shlex.split(rule.replace("PASSWORD", REDIS_PASSWORD)))

    def settings(self, pair: Pair | None = None, *, port: str = "", **more: object) -> dict[str, str]:
        """The environment of the trends role that may come in, changed by `more`."""
        ours = pair or self.ours
        return environment(
            "redis",
            url=f"rediss://{HOST}:{port or self.server.options['tls-port']}/0",
            username=REDIS_USER,
            password=REDIS_PASSWORD,
            ssl_ca_location=self.authority.certificate,
            ssl_certificate_location=ours.certificate,
            ssl_key_location=ours.key,
            ssl_key_password=REDIS_KEY_PASSWORD,
        ) | environment("redis", **more)
