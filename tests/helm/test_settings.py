"""What the pods are told is what the product understands: settings, secrets, ports, files and commands."""

from __future__ import annotations

import os
import re
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.documented import Line, faults
from tests.support.helm import NAMESPACE, PODS, SETS, Manifest, container, of_kind, pods, render
from worker.cli import cli
from worker.clock import SystemClock
from worker.configuration import known, load
from worker.errors import ConfigurationError
from worker.metrics import Metrics
from worker.process import _LAST_WORD_S
from worker.settings import ENV_PREFIX, Settings
from worker.sources.hooks import read_hooks
from worker.sources.x_rules import read_rules
from worker.trends.watch import read_queries
from worker.web.health import Health
from worker.web.server import serve

SECRETS = {
    ENV_PREFIX + name.upper().replace(".", "__")
    for name, field in known().items()
    if "SecretStr" in str(field.annotation)
}
PROBES = {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
USER_NAMES = {
    "MOODSTREAM_KAFKA__SASL_USERNAME",
    "MOODSTREAM_REDIS__USERNAME",
    "MOODSTREAM_REGISTRY__USERNAME",
}
SECTION = {"worker": "worker", "trends": "trends", "quality": "quality", "source": "source"}
LEAST: dict[str, Any] = {
    "settings": {"kafka": {"bootstrap_servers": "kafka:9092"}, "redis": {"url": "redis://redis:6379/0"}}
}
ALL = [(name, pod) for name in SETS for pod in PODS[name]]


_LIKE = {"URLS": "https://hooks.example/a", "HEADERS": "authorization=Bearer%20s"}
"""What is in Secrets that are more than a word, by the last word of their names."""


def of_set(name: str, pod: str) -> Manifest:
    return pods(render(name))[pod]


def environment(pod: Manifest, number: int = 0) -> dict[str, str]:
    """What the process would find, with something in each Secret that may be there."""
    found: dict[str, str] = {}
    fields = {
        "metadata.name": f"{pod['metadata'].get('name', 'pod')}-{number}",
        "metadata.namespace": NAMESPACE,
    }
    for variable in container(pod)["env"]:
        name, source = variable["name"], variable.get("valueFrom", {})
        assert name not in found, f"{name} is there twice"
        if "secretKeyRef" in source:
            assert source["secretKeyRef"].keys() == {"name", "key"}
            found[name] = _LIKE.get(name.rpartition("_")[2], "s" * 32)
        elif "fieldRef" in source:
            found[name] = fields[source["fieldRef"]["fieldPath"]]
        else:
            assert isinstance(variable["value"], str)
            found[name] = re.sub(r"\$\((\w+)\)", lambda one: found[one[1]], variable["value"])
    return found


def told(pod: Manifest, number: int = 0) -> Settings:
    """The settings that its process would have."""
    return load(env=environment(pod, number))


def role(pod: Manifest) -> Any:
    """The section of its settings that is the role's own."""
    return getattr(told(pod), SECTION[container(pod)["name"]])


def roles(name: str) -> dict[str, Manifest]:
    """The pods of a set that run for ever."""
    return {pod: one for pod, one in pods(render(name)).items() if container(one)["name"] in SECTION}


@pytest.mark.parametrize(("name", "pod"), ALL)
class TestEveryPod:
    def test_its_environment_is_settings(self, name: str, pod: str) -> None:
        """The product's own loader would refuse an unknown name or a value out of range."""
        given = environment(of_set(name, pod))
        settings = load(env=given)

        assert settings.kafka.bootstrap_servers.startswith("kafka")
        others = {one for one in given if not one.startswith(ENV_PREFIX)}
        assert others <= {"POD_NAME", "POD_NAMESPACE", "ZENDESK_SECRET"}

    def test_secrets_are_references_and_nothing_else_is(self, name: str, pod: str) -> None:
        for variable in container(of_set(name, pod))["env"]:
            referred = "secretKeyRef" in variable.get("valueFrom", {})
            if variable["name"] in SECRETS:
                assert referred, variable
            elif referred:
                assert variable["name"] in {*USER_NAMES, "ZENDESK_SECRET"}

    def test_its_command_can_be_given(self, name: str, pod: str) -> None:
        arguments = container(of_set(name, pod))["args"]

        assert faults(cli, Line(("moodstream", *arguments), in_block=True)) == []

    def test_services_of_the_namespace_put_nothing_into_its_environment(self, name: str, pod: str) -> None:
        assert of_set(name, pod)["spec"]["enableServiceLinks"] is False

    def test_it_is_told_only_of_servers_that_it_asks(self, name: str, pod: str) -> None:
        sections = {one.removeprefix(ENV_PREFIX).split("__")[0] for one in environment(of_set(name, pod))}
        redis = pod in {"trends", "trends-doctor"}

        assert ("REDIS" in sections) == redis
        assert "KAFKA" in sections

    def test_files_that_it_is_told_of_are_mounted(self, name: str, pod: str) -> None:
        one = of_set(name, pod)
        mounts = {mount["mountPath"] for mount in container(one)["volumeMounts"]}
        paths = [
            Path(value)
            for value in (*environment(one).values(), *container(one)["args"])
            if value.startswith("/")
        ]

        assert [path for path in paths if not {str(path), str(path.parent)} & mounts] == []
        assert {mount["name"] for mount in container(one)["volumeMounts"]} == {
            volume["name"] for volume in one["spec"]["volumes"]
        }


def test_a_service_link_would_stop_the_start() -> None:
    """Why they are off: Kubernetes would set this for a Service called moodstream-trends."""
    with pytest.raises(ConfigurationError, match="MOODSTREAM_TRENDS_PORT: no such setting"):
        load(env={"MOODSTREAM_TRENDS_PORT": "tcp://10.0.0.1:8080"})


def test_no_object_holds_a_secret() -> None:
    for name in SETS:
        assert of_kind(render(name), "Secret") == {}


def test_the_production_set_uses_every_secret_that_a_pod_of_it_may_have() -> None:
    """So that none of them goes unchecked."""
    used = {
        variable["name"]
        for pod in pods(render("production")).values()
        for variable in container(pod)["env"]
        if "valueFrom" in variable
    }
    elsewhere = {  # keys without a password, roles whose HTTP changes nothing; registry, traces: see below
        "MOODSTREAM_KAFKA__SSL_KEY_PASSWORD",
        "MOODSTREAM_REDIS__SSL_KEY_PASSWORD",
        "MOODSTREAM_REGISTRY__PASSWORD",
        "MOODSTREAM_REGISTRY__SSL_KEY_PASSWORD",
        "MOODSTREAM_WORKER__HTTP__TOKEN",
        "MOODSTREAM_SOURCE__HTTP__TOKEN",
        "MOODSTREAM_TRACING__HEADERS",
    }
    assert SECRETS - used == elsewhere


def test_worker_and_trends_are_told_where_traces_go_and_nobody_else() -> None:
    more = {
        "settings": {"tracing": {"endpoint": "http://collector:4318", "sample": 0.1}},
        "secrets": {"tracing": {"headers": {"existingSecret": "collector", "key": "headers"}}},
    }
    found = {name: told(pod).tracing for name, pod in pods(render("small", more)).items()}
    traced = {name: one.header_map for name, one in found.items() if one.endpoint is not None}

    theirs = ("worker", "trends", "worker-doctor", "trends-doctor")  # the latter look at all that these have
    assert traced == {name: {"authorization": "Bearer s"} for name in theirs}
    assert {one.sample for one in found.values()} == {1.0, 0.1}


@pytest.mark.parametrize("name", SETS)
class TestPorts:
    def test_they_are_the_products(self, name: str) -> None:
        for pod in roles(name).values():
            section = SECTION[container(pod)["name"]]
            http = role(pod).http
            [port] = container(pod)["ports"]

            assert http.port == port["containerPort"] == getattr(Settings(), section).http.port
            assert http.host == "0.0.0.0"

    def test_each_role_has_a_service_that_finds_it_and_no_other(self, name: str) -> None:
        services = of_kind(render(name), "Service")
        assert services.keys() == roles(name).keys()
        for service, one in services.items():
            wanted = one["spec"]["selector"].items()
            found = {
                pod
                for pod, made in pods(render(name)).items()
                if wanted <= made["metadata"]["labels"].items()
            }
            [port] = one["spec"]["ports"]

            assert found == {service}
            assert port["port"] == role(roles(name)[service]).http.port
            assert port["targetPort"] == container(roles(name)[service])["ports"][0]["name"]

    def test_probes_ask_for_life_and_readiness(self, name: str) -> None:
        for pod in roles(name).values():
            asked = {
                kind: container(pod)[f"{kind}Probe"]["httpGet"]
                for kind in ("startup", "liveness", "readiness")
            }
            assert {kind: probe["path"] for kind, probe in asked.items()} == PROBES
            assert {probe["port"] for probe in asked.values()} == {"http"}


@pytest.mark.parametrize("pod", ["worker", "trends", "quality", "source-feedback"])
def test_probes_are_answered(pod: str) -> None:
    """As kubelet asks: by the pod's address, whatever names are allowed."""
    http = role(of_set("production", pod)).http.model_copy(update={"host": "127.0.0.1", "port": 0})
    with serve(http, Metrics(), Health(SystemClock(), 60, ()), on_death=lambda: None) as server:
        for path in PROBES.values():
            assert httpx.get(f"http://127.0.0.1:{server.port}{path}").status_code == 200


class TestTimeToFinish:
    @staticmethod
    def left(pod: Manifest) -> float:
        """Seconds between the role's own end, at the latest, and the kill."""
        stop = container(pod).get("lifecycle", {}).get("preStop", {"exec": {"command": ["sleep", "0"]}})
        lingers = float(stop["exec"]["command"][1])
        grace: int = pod["spec"]["terminationGracePeriodSeconds"]
        drain: float = role(pod).drain_s
        return grace - lingers - drain - _LAST_WORD_S

    @pytest.mark.parametrize("name", SETS)
    def test_it_is_longer_than_the_role_takes(self, name: str) -> None:
        assert [pod for pod, one in roles(name).items() if self.left(one) < 5] == []

    def test_it_follows_the_setting(self) -> None:
        made = pods(render("small", {"worker": {"settings": {"worker": {"drain_s": 119.5}}}}))

        assert role(made["worker"]).drain_s == 119.5
        assert made["worker"]["spec"]["terminationGracePeriodSeconds"] == 130
        assert self.left(made["worker"]) >= 5

    @pytest.mark.parametrize("pod", ["trends", "quality", "source-feedback"])
    def test_who_is_asked_by_others_still_answers_for_a_moment(self, pod: str) -> None:
        stop = container(of_set("production", pod))["lifecycle"]["preStop"]

        assert stop == {"exec": {"command": ["sleep", "5"]}}


class TestValues:
    def test_numbers_switches_and_lists_arrive_as_they_were_meant(self) -> None:
        """Helm holds numbers as floats, YAML takes on for true, and the product wants lists with commas."""
        values = {
            "settings": LEAST["settings"]
            | {
                "topics": {"max_message_bytes": 12_000_000, "inputs": ["a", "b.c"]},
                "batch": {"linger_ms": 2.5},
            },
            "worker": {"settings": {"worker": {"label_text": False}, "topics": {"partitions": 7}}},
            "trends": {"settings": {"trends": {"store_text": True}}},
        }
        made = pods(render(None, values))
        worker = told(made["worker"])

        assert worker.topics.max_message_bytes == 12_000_000
        assert worker.topics.inputs == ("a", "b.c")
        assert worker.topics.partitions == 7
        assert worker.batch.linger_ms == 2.5
        assert worker.worker.label_text == "off"
        assert told(made["trends"]).trends.store_text == "on"
        assert told(made["trends"]).topics.partitions == 12

    def test_what_a_role_says_is_stronger_even_if_it_is_nothing(self) -> None:
        values = {
            "settings": {**LEAST["settings"], "batch": {"linger_ms": 100}},
            "tls": {"kafka": {"existingSecret": "ca"}},
            "worker": {"settings": {"batch": {"linger_ms": 0}}, "tls": {"kafka": {"existingSecret": ""}}},
        }
        made = pods(render(None, values))

        assert told(made["worker"]).batch.linger_ms == 0
        assert told(made["worker"]).kafka.ssl_ca_location is None
        assert told(made["trends"]).kafka.ssl_ca_location == Path("/etc/moodstream/kafka/ca.crt")

    def test_the_defaults_are_the_products(self) -> None:
        """What values.yaml says of them is to show them, not to change them."""
        usual = Settings()
        for pod in roles("small").values():
            section = SECTION[container(pod)["name"]]

            assert role(pod).drain_s == getattr(usual, section).drain_s
            assert told(pod).topics.inputs == usual.topics.inputs
        assert told(pods(render(None, LEAST))["worker"]).topics.partitions == usual.topics.partitions

    def test_a_schema_registry_is_told_to_who_reads_or_writes_labels(self) -> None:
        values = {
            "settings": {
                "registry": {"url": "https://registry:8085"},
                "topics": {"label_format": "avro", "input_formats": ["tweets=avro"]},
            },
            "secrets": {
                "registry": {
                    name: {"existingSecret": "moodstream-registry", "key": name}
                    for name in ("username", "password")
                }
            },
            "tls": {"registry": {"existingSecret": "moodstream-registry-ca"}},
            "networkPolicy": {"enabled": True},
        }
        made = render("small", values)
        policies = of_kind(made, "NetworkPolicy")
        for name, pod in pods(made).items():
            asks = "REGISTRY" in {one.split("_")[1] for one in environment(pod)}
            assert asks == (container(pod)["name"] in {"worker", "trends", "quality", "doctor"}), name
            if asks:
                assert told(pod).registry.ssl_ca_location == Path("/etc/moodstream/registry/ca.crt")
                assert told(pod).registry.password is not None
        for name, policy in policies.items():
            ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
            assert (8085 in ports) == (name in {"worker", "trends", "quality", "doctor"}), name

    def test_certificates_are_where_the_settings_say(self) -> None:
        trends = of_set("production", "trends")
        secrets = {
            volume["name"]: volume["secret"]["secretName"]
            for volume in trends["spec"]["volumes"]
            if "secret" in volume
        }
        redis = told(trends).redis

        assert secrets == {"tls-kafka": "moodstream-kafka-ca", "tls-redis": "moodstream-redis-tls"}
        assert redis.ssl_certificate_location == Path("/etc/moodstream/redis/tls.crt")
        assert redis.ssl_key_location == Path("/etc/moodstream/redis/tls.key")

    @pytest.mark.parametrize(("cpu", "streams"), [("1500m", 2), ("2", 2), (0.5, 1), (3, 3)])
    def test_the_model_uses_the_cores_that_the_pod_asks_for(self, cpu: str | float, streams: int) -> None:
        """On its own it would use the whole node's: affinity says nothing of requests."""
        values = {"worker": {"resources": {"requests": {"cpu": cpu}}}}

        assert told(pods(render("small", values))["worker"]).model.streams == streams

    def test_streams_that_were_set_stay(self) -> None:
        values = {"worker": {"settings": {"model": {"streams": 5}}}}

        assert told(pods(render("small", values))["worker"]).model.streams == 5


class TestFiles:
    @staticmethod
    def content(pod: str, name: str, folder: Path) -> Path:
        path = folder / name
        path.write_text(of_kind(render("production"), "ConfigMap")[pod]["data"][name])
        return path

    def test_the_product_reads_them(self, tmp_path: Path) -> None:
        webhook = of_set("production", "source-feedback")
        hooks = read_hooks(
            self.content("source-feedback", "hooks.toml", tmp_path),
            environment(webhook),
            told(webhook).topics.inputs,
        )
        rules = read_rules(self.content("source-x", "rules.toml", tmp_path), "x")
        queries = read_queries(self.content("trends", "queries.toml", tmp_path), 10)

        assert hooks.keys() == {"zendesk"}
        assert len(rules) == len(queries) == 1

    def test_a_change_starts_the_pods_anew(self) -> None:
        def checksum(more: dict[str, Any]) -> str:
            made: str = pods(render("production", more))["trends"]["metadata"]["annotations"][
                "checksum/files"
            ]
            return made

        other = {"trends": {"files": {"queries.toml": "[queries]\nrain = 'rain'\n"}}}
        assert checksum({}) != checksum(other)

    def test_feeds_have_cursors_of_their_own(self) -> None:
        names = {
            pod: container(one)["args"][container(one)["args"].index("--name") + 1]
            for pod, one in roles("production").items()
            if "--name" in container(one)["args"]
        }
        assert names == {"source-bluesky": "bluesky", "source-mastodon": "mastodon", "source-x": "x"}


def test_nothing_is_taken_from_this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests would prove nothing if `load` saw the machine's own variables."""
    monkeypatch.setitem(os.environ, "MOODSTREAM_BATCH__LINGER_MS", "7")

    assert told(of_set("small", "worker")).batch.linger_ms == Settings().batch.linger_ms


def test_every_name_of_a_variable_is_upper_case() -> None:
    names = chain.from_iterable(environment(of_set(*one)) for one in ALL)

    assert all(re.fullmatch(r"[A-Z0-9_]+", name) for name in names)
