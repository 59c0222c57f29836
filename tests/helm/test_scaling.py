"""How many workers there are: fixed, or by KEDA, at most as many as partitions."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from tests.helm.test_settings import LEAST, roles, told
from tests.support.helm import (
    NAMESPACE,
    Manifest,
    container,
    of_kind,
    render,
)
from worker.configuration import known
from worker.metrics import CONSUMER_LAG_SECONDS

PRODUCTION = "production"
KEDA_FOR_ALL = {"worker": {"autoscaling": {"enabled": True}}}


def worker(name: str | None, more: dict[str, Any] | None = None) -> Manifest:
    return of_kind(render(name, more), "Deployment", "StatefulSet")["worker"]


def scaled(more: dict[str, Any] | None = None, name: str | None = PRODUCTION) -> Manifest:
    spec: Manifest = of_kind(render(name, more), "ScaledObject")["worker"]["spec"]
    return spec


def triggers(spec: Manifest, kind: str) -> list[Manifest]:
    return [trigger for trigger in spec["triggers"] if trigger["type"] == kind]


class TestScaling:
    def test_it_is_off_by_default(self) -> None:
        made = render(None, LEAST)

        assert of_kind(made, "ScaledObject", "TriggerAuthentication", "ServiceMonitor", "NetworkPolicy") == {}
        assert worker(None, LEAST)["spec"]["replicas"] == 1

    @pytest.mark.parametrize("partitions", [24, 7])
    def test_the_ceiling_is_the_number_of_partitions(self, partitions: int) -> None:
        spec = scaled({"settings": {"topics": {"partitions": partitions}}})

        assert spec["maxReplicaCount"] == partitions
        assert (
            spec["maxReplicaCount"] == told(roles(PRODUCTION)["worker"]).topics.partitions or partitions == 7
        )
        assert spec["minReplicaCount"] == 3

    def test_the_ceiling_follows_what_the_worker_itself_is_told(self) -> None:
        more = {"worker": {"settings": {"topics": {"partitions": 5}}}}

        assert scaled(more)["maxReplicaCount"] == 5
        assert scaled({"worker": {"autoscaling": {"maxReplicas": 9}}})["maxReplicaCount"] == 9

    def test_nobody_else_says_how_many_there_are(self) -> None:
        assert "replicas" not in worker(PRODUCTION)["spec"]

    @pytest.mark.parametrize("static", [True, False])
    def test_it_scales_what_is_there(self, static: bool) -> None:
        more = {"worker": {"staticMembership": static}}
        target = scaled(more)["scaleTargetRef"]
        made = worker(PRODUCTION, more)

        assert (target["apiVersion"], target["kind"]) == (made["apiVersion"], made["kind"])
        assert target["name"] == made["metadata"]["name"]
        assert target["envSourceContainerName"] == container(made["spec"]["template"])["name"]

    def test_it_asks_for_the_lag_of_the_workers_group_on_each_input(self) -> None:
        kafka = triggers_metadata("kafka")
        settings = told(roles(PRODUCTION)["worker"])

        assert [one["topic"] for one in kafka] == list(settings.topics.inputs)
        assert {one["consumerGroup"] for one in kafka} == {settings.worker.group_id}
        assert {one["bootstrapServers"] for one in kafka} == {settings.kafka.bootstrap_servers}

    def test_it_follows_the_workers_own_topics_and_group(self) -> None:
        mine = {"worker": {"group_id": "mine"}, "topics": {"inputs": ["a_B.c", "d"], "weights": []}}
        kafka = triggers_metadata("kafka", {"worker": {"settings": mine}})

        assert [(one["topic"], one["consumerGroup"]) for one in kafka] == [("a_B.c", "mine"), ("d", "mine")]

    def test_it_asks_prometheus_for_a_metric_that_workers_have(self) -> None:
        [trigger] = triggers(scaled(), "prometheus")
        [(metric, matchers)] = re.findall(r"max\((\w+)\{(.*)\}\)", trigger["metadata"]["query"])

        assert metric == CONSUMER_LAG_SECONDS.exposed
        assert dict(re.findall(r'(\w+)="([^"]*)"', matchers)) == {
            "job": "worker",
            "namespace": NAMESPACE,
            "service": of_kind(render(PRODUCTION), "Service")["worker"]["metadata"]["name"],
        }
        assert trigger["metricType"] == "Value"
        assert trigger["metadata"]["threshold"] == "15"
        assert trigger["metadata"]["ignoreNullValues"] == "false"

    def test_it_works_without_prometheus(self) -> None:
        spec = scaled(KEDA_FOR_ALL, "small")

        assert triggers(spec, "prometheus") == []
        assert len(triggers(spec, "kafka")) == 2
        assert all("authenticationRef" not in trigger for trigger in spec["triggers"])
        assert of_kind(render("small", KEDA_FOR_ALL), "TriggerAuthentication") == {}

    def test_it_reaches_kafka_as_the_worker_does(self) -> None:
        authentication = of_kind(render(PRODUCTION), "TriggerAuthentication")["worker"]
        given = {variable["name"]: variable for variable in container(roles(PRODUCTION)["worker"])["env"]}
        refs = {
            ref["parameter"]: (ref["name"], ref["key"]) for ref in authentication["spec"]["secretTargetRef"]
        }
        [username] = authentication["spec"]["env"]
        password = given["MOODSTREAM_KAFKA__SASL_PASSWORD"]["valueFrom"]["secretKeyRef"]

        assert refs == {
            "password": (password["name"], password["key"]),
            "ca": ("moodstream-kafka-ca", "ca.crt"),
        }
        assert username["parameter"] == "username"
        assert username["name"] in given
        assert username["containerName"] == "worker"
        for trigger in triggers(scaled(), "kafka"):
            assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
            assert (trigger["metadata"]["sasl"], trigger["metadata"]["tls"]) == ("scram_sha512", "enable")

    @pytest.mark.parametrize(
        ("mechanism", "sasl"),
        [("PLAIN", "plaintext"), ("SCRAM-SHA-256", "scram_sha256"), ("SCRAM-SHA-512", "scram_sha512")],
    )
    def test_a_mechanism_has_another_name_in_keda(self, mechanism: str, sasl: str) -> None:
        more = {"settings": {"kafka": {"sasl_mechanism": mechanism}}}

        assert {one["sasl"] for one in triggers_metadata("kafka", more)} == {sasl}

    def test_these_are_all_mechanisms(self) -> None:
        mechanisms = set(get_args(get_args(known()["kafka.sasl_mechanism"].annotation)[0]))

        assert mechanisms == {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}

    def test_certificates_alone_are_enough(self) -> None:
        certificates = {"existingSecret": "mine", "ca": "ca.crt", "certificate": "tls.crt", "key": "tls.key"}
        more = {
            "settings": {"kafka": {"security_protocol": "ssl"}},
            "tls": {"kafka": certificates},
            "worker": {"autoscaling": {"enabled": True}},
        }
        [authentication] = of_kind(render("small", more), "TriggerAuthentication").values()

        assert {ref["parameter"]: ref["key"] for ref in authentication["spec"]["secretTargetRef"]} == {
            "ca": "ca.crt", "cert": "tls.crt", "key": "tls.key",
        }  # fmt: skip
        assert "sasl" not in triggers(scaled(more, "small"), "kafka")[0]["metadata"]


def triggers_metadata(kind: str, more: dict[str, Any] | None = None) -> list[Manifest]:
    return [trigger["metadata"] for trigger in triggers(scaled(more), kind)]
