"""Values that cannot be meant are refused before anything is made, with the value's name."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helm.test_settings import LEAST, SECRETS
from tests.support.helm import RefusedError, render
from worker.configuration import known
from worker.settings import ENV_PREFIX


def refusal(more: dict[str, Any], name: str | None = "small") -> str:
    with pytest.raises(RefusedError) as refused:
        render(name, more)
    return str(refused.value)


def nested(path: str, value: Any) -> dict[str, Any]:
    """`a.b` and 1 as {"a": {"b": 1}}."""
    for step in reversed(path.split(".")):
        value = {step: value}
    found: dict[str, Any] = value
    return found


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        # Names that there are none of
        ("wroker", {"replicas": 2}, "'wroker' not allowed"),
        ("worker.replica", 2, "'replica' not allowed"),
        ("settings.kafka.bootstrap", "kafka:9092", "'bootstrap' not allowed"),
        ("settings.worker.drain", 20, "'drain' not allowed"),
        ("trends.settings.trends.alerts.wekks", 2, "'wekks' not allowed"),
        ("worker.gpu.memory", "80Gi", "'memory' not allowed"),
        ("worker.securityContext", {"privileged": True}, "'securityContext' not allowed"),
        ("security.privileged", True, "'privileged' not allowed"),
        ("topics.files", {"a.toml": ""}, "'files' not allowed"),
        ("worker.settings.worker.instance_id", "one-for-all", "'instance_id' not allowed"),
        # Types
        ("worker.replicas", "two", "/worker/replicas': got string, want integer"),
        ("worker.replicas", 0, "/worker/replicas': minimum: got 0, want 1"),
        ("worker.replicas", 1.5, "/worker/replicas': got number, want integer"),
        ("worker.staticMembership", "yes", "/worker/staticMembership': got string, want boolean"),
        ("settings.topics.partitions", "12", "/settings/topics/partitions': got string, want integer"),
        ("settings.topics.inputs", "tweets,feedback", "/settings/topics/inputs': got string, want array"),
        ("settings.worker.drain_s", "20s", "/settings/worker/drain_s': got string, want number"),
        ("settings.worker.drain_s", 0, "/settings/worker/drain_s': exclusiveMinimum: got 0, want 0"),
        ("settings.kafka.bootstrap_servers", "kafka", "/bootstrap_servers': 'kafka' does not match"),
        ("settings.kafka.security_protocol", "tls", "/kafka/security_protocol': value must be one of"),
        ("settings.log.level", "loud", "/settings/log/level': value must be one of"),
        ("settings.worker.label_text", "maybe", "/settings/worker/label_text': value must be one of"),
        ("worker.settings.worker.http.port", 70_000, "/worker/settings/worker/http/port': maximum"),
        ("worker.settings.worker.http.port", 0, "/worker/settings/worker/http/port': minimum: got 0, want 1"),
        ("trends.strategy", "Replace", "/trends/strategy': value must be one of"),
        ("worker.resources.requests.cpu", "many", "/worker/resources/requests/cpu': 'many' does not match"),
        ("worker.autoscaling.lagRecords", 0, "/worker/autoscaling/lagRecords': minimum"),
        ("worker.autoscaling.prometheus.serverAddress", "prom", "/serverAddress': 'prom' does not match"),
        ("serviceMonitor.interval", 15, "/serviceMonitor/interval': got number, want string"),
        ("sources.firehose", {"kind": "firehose"}, "/sources/firehose/kind': value must be one of"),
        ("sources.firehose", {"args": ["--lang"]}, "/sources/firehose': missing property 'kind'"),
        ("sources.Blue_Sky", {"kind": "bluesky"}, "/sources': additional properties 'Blue_Sky' not allowed"),
        # Secrets that are none
        ("secrets.kafka.sasl_password", "hunter2", "/secrets/kafka/sasl_password': got string, want object"),
        ("secrets.kafka.sasl_password", {"existingSecret": "a"}, "/sasl_password': missing property 'key'"),
        ("secrets.kafka.sasl_password", {"value": "hunter2"}, "'value' not allowed"),
        ("secrets.topics.labels", {"existingSecret": "a", "key": "b"}, "'topics' not allowed"),
        (
            "sources.feedback",
            {"kind": "webhook", "secretEnv": {"MOODSTREAM_LOG__LEVEL": {"existingSecret": "a", "key": "b"}}},
            "sources.feedback.secretEnv.MOODSTREAM_LOG__LEVEL: a setting belongs under settings, or secrets",
        ),
        # What does not go together
        ("worker.replicas", 4, "worker.replicas: 4 is more than settings.topics.partitions, 3"),
        (
            "worker.autoscaling",
            {"enabled": True, "minReplicas": 5},
            "worker.autoscaling.minReplicas: 5 is more than settings.topics.partitions, 3",
        ),
        (
            "worker.autoscaling",
            {"enabled": True, "maxReplicas": 13},
            "worker.autoscaling.maxReplicas: 13 is more than settings.topics.partitions, 3",
        ),
        (
            "worker.autoscaling",
            {"enabled": True, "minReplicas": 3, "maxReplicas": 2},
            "worker.autoscaling.minReplicas: 3 is more than worker.autoscaling.maxReplicas, 2",
        ),
        (
            "settings.kafka.security_protocol",
            "sasl_ssl",
            "kafka.sasl_password: settings.kafka.security_protocol=sasl_ssl needs it, for quality",
        ),
        ("worker.settings.worker.http.host", "127.0.0.1", 'worker.settings.worker.http.host: "127.0.0.1"'),
        ("sources.bluesky.replicas", 2, "sources.bluesky.replicas: 2 instances of a feed would"),
        ("sources.feedback", {"kind": "webhook"}, "sources.feedback.files: a webhook needs a file"),
        ("sources.m", {"kind": "mastodon"}, "sources.m.settings.source.mastodon.server: which server?"),
        ("sources.x", {"kind": "x"}, "sources.x.secrets.source.x.token: X wants the bearer token"),
        (
            "worker",
            {"gpu": {"enabled": True}, "settings": {"model": {"backend": "openvino"}}},
            "worker.gpu.enabled: settings.model.backend=openvino would leave the GPU idle",
        ),
    ],
)  # fmt: skip
def test_it_is_refused(path: str, value: Any, told: str) -> None:
    assert told in refusal(nested(path, value))


def test_no_secret_can_be_given_as_a_plain_value() -> None:
    """Helm tells of all at once, by the section that each is in."""
    paths = [variable.removeprefix(ENV_PREFIX).lower().replace("__", ".").split(".") for variable in SECRETS]
    assert {".".join(path) for path in paths} <= known().keys()
    given: dict[str, Any] = {}
    for *sections, name in paths:
        node = given
        for section in sections:
            node = node.setdefault(section, {})
        node[name] = "hunter2hunter2hunter2"

    told = refusal({"settings": given})

    assert "hunter2" not in told
    for *sections, name in paths:
        [line] = [line for line in told.splitlines() if f"at '/settings/{'/'.join(sections)}':" in line]
        assert f"'{name}'" in line
        assert "not allowed" in line


def test_a_user_name_is_given_once() -> None:
    reference = {"existingSecret": "kafka", "key": "username"}
    both = {
        "settings": nested("kafka.sasl_username", "me"),
        "secrets": nested("kafka.sasl_username", reference),
    }

    assert "kafka.sasl_username is given under settings and under secrets" in refusal(both)


def test_without_servers_all_that_is_missing_is_told_at_once() -> None:
    told = refusal({}, None)

    for role in ("worker", "trends", "topics"):
        assert f"settings.kafka.bootstrap_servers: which brokers does {role} ask?" in told
    assert "settings.redis.url: trends need a Redis" in told


def test_the_least_is_enough() -> None:
    """The same values without their faults are taken: it is the faults that were refused."""
    assert render(None, LEAST)
