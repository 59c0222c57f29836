"""One Kafka that wants to know who comes and lets nobody do what no ACL allows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented, and not in its __all__
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.support.certificates import HOST, Authority, Pair
from tests.support.kafka import KafkaUnderTest
from worker.local.kafka import RealKafka
from worker.local.processes import free_port

_ITERATIONS = 4096
_WITHIN_S = 20
LISTENERS = {"SCRAM": "SASL_SSL", "MTLS": "SSL", "EXPIRED": "SASL_SSL", "ADMIN": "PLAINTEXT"}


class SecureKafka:
    """Listeners: `scram` (TLS, SASL/SCRAM), `mtls`, `expired` (as `scram`, with a certificate of yesterday).

    The test itself administers it over `admin`, a plain listener that a real cluster would not have.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        self.ports = {name: free_port() for name in LISTENERS}
        self.server = RealKafka()
        plain = f"PLAINTEXT://{HOST}:{self.server.port}"
        listeners = ",".join(f"{name}://{HOST}:{port}" for name, port in self.ports.items())
        protocols = ",".join(f"{name}:{protocol}" for name, protocol in LISTENERS.items())
        self.server.properties |= {
            "listeners": self.server.properties["listeners"].replace(plain, listeners),
            "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,{protocols}",
            "inter.broker.listener.name": "ADMIN",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            **_scram("scram"),
            **_scram("expired"),
            **self._store("scram", self.authority.issue("broker")),
            **self._store("mtls", self.authority.issue("broker-mtls")),
            **self._store("expired", self.authority.issue("broker-expired", expired=True)),
            "listener.name.mtls.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^.*CN=([a-z0-9-]+).*$/$1/",
        }

    @property
    def admin(self) -> KafkaUnderTest:
        return KafkaUnderTest(self.at("ADMIN"))

    def at(self, listener: str) -> str:
        """Its `bootstrap.servers` on one listener."""
        return f"{HOST}:{self.ports[listener]}"

    def user(self, name: str, password: str) -> None:
        """Make a SCRAM user."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
        change = UserScramCredentialUpsertion(name, info, password.encode())
        client = self._client()  # held: its answers end with it
        for done in client.alter_user_scram_credentials([change]).values():
            done.result(_WITHIN_S)

    def allow(self, acls: Iterable[AclBinding]) -> None:
        """Add ACLs."""
        client = self._client()
        for done in client.create_acls(list(acls)).values():
            done.result(_WITHIN_S)

    def forbid(self, *acls: AclBinding) -> None:
        """Take ACLs back."""
        filters = [
            AclBindingFilter(
                acl.restype, acl.name, acl.resource_pattern_type, acl.principal, acl.host, acl.operation,
                acl.permission_type,
            )
            for acl in acls
        ]  # fmt: skip
        client = self._client()
        for done in client.delete_acls(filters).values():
            done.result(_WITHIN_S)

    def _store(self, listener: str, pair: Pair) -> dict[str, str]:
        store = self.folder / f"{listener}.store.pem"
        store.write_text(pair.both)
        prefix = f"listener.name.{listener}.ssl"
        return {
            f"{prefix}.keystore.type": "PEM",
            f"{prefix}.keystore.location": str(store),
            f"{prefix}.truststore.type": "PEM",
            f"{prefix}.truststore.location": str(self.authority.certificate),
        }

    def _client(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.at("ADMIN")})


def _scram(listener: str) -> dict[str, str]:
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    return {f"listener.name.{listener}.scram-sha-512.sasl.jaas.config": login}


def binding(principal: str, operation: str, kind: str, name: str, pattern: str = "LITERAL") -> AclBinding:
    """One ACL that allows something, in the words of kafka-acls.sh."""
    return AclBinding(
        ResourceType[kind.upper()], name, ResourcePatternType[pattern.upper()], principal, "*",
        AclOperation[operation.upper()], AclPermissionType.ALLOW,
    )  # fmt: skip
