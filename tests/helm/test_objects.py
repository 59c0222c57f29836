"""What the chart makes does what it should: membership, safety, disruptions, networks, hooks."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.helm.test_settings import roles, told
from tests.support.helm import (
    NAMESPACE,
    PODS,
    RELEASE,
    ROOT,
    SETS,
    Manifest,
    container,
    of_kind,
    pods,
    render,
)

PRODUCTION = "production"
ALL = [(name, pod) for name in SETS for pod in PODS[name]]


def worker(name: str | None, more: dict[str, Any] | None = None) -> Manifest:
    return of_kind(render(name, more), "Deployment", "StatefulSet")["worker"]


class TestMembership:
    def test_a_member_is_called_as_its_pod_and_as_no_other(self) -> None:
        pod = roles(PRODUCTION)["worker"]
        names = {told(pod, number).worker.instance_id for number in range(3)}

        assert names == {f"{NAMESPACE}.pod-{number}" for number in range(3)}

    def test_it_is_a_stateful_set_whose_pods_wait_for_nobody(self) -> None:
        made = worker(PRODUCTION)

        assert made["kind"] == "StatefulSet"
        assert made["spec"]["podManagementPolicy"] == "Parallel"
        assert made["spec"]["serviceName"] == made["metadata"]["name"]
        service = of_kind(render(PRODUCTION), "Service")["worker"]["spec"]
        assert service["clusterIP"] == "None"
        assert service["publishNotReadyAddresses"] is True

    def test_without_it_members_have_no_names(self) -> None:
        assert worker("small")["kind"] == "Deployment"
        assert told(roles("small")["worker"]).worker.instance_id is None

    def test_an_update_never_needs_one_worker_more(self) -> None:
        """With as many workers as partitions it would not be ready, and the update would wait for ever."""
        for name in ("small", "gpu"):
            rolling = worker(name)["spec"]["strategy"]["rollingUpdate"]
            assert rolling == {"maxSurge": 0, "maxUnavailable": 1}

    def test_what_fences_or_replaces_another_never_runs_beside_it(self) -> None:
        made = of_kind(render(PRODUCTION), "Deployment")
        strategies = {name: one["spec"]["strategy"]["type"] for name, one in made.items()}

        assert strategies == {
            "trends": "Recreate",
            "quality": "Recreate",
            "source-bluesky": "Recreate",
            "source-mastodon": "Recreate",
            "source-x": "Recreate",
            "source-feedback": "RollingUpdate",
        }


@pytest.mark.parametrize(("name", "pod"), ALL)
class TestSafety:
    def test_it_keeps_to_the_restricted_standard(self, name: str, pod: str) -> None:
        spec = pods(render(name))[pod]["spec"]
        context = container({"spec": spec})["securityContext"]

        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context == {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers", "initContainers"} & spec.keys()
        kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"emptyDir", "secret", "configMap", "persistentVolumeClaim"}
        assert all(volume.get("secret", {}).get("defaultMode", 0o440) == 0o440 for volume in spec["volumes"])

    def test_it_runs_as_the_images_user(self, name: str, pod: str) -> None:
        spec = pods(render(name))[pod]["spec"]
        [user, group] = re.findall(
            r"^USER (\d+):(\d+)$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE
        )[0]

        assert spec["securityContext"]["runAsUser"] == int(user)
        assert spec["securityContext"]["runAsGroup"] == spec["securityContext"]["fsGroup"] == int(group)

    def test_it_has_no_key_to_kubernetes(self, name: str, pod: str) -> None:
        assert pods(render(name))[pod]["spec"]["automountServiceAccountToken"] is False

    def test_it_asks_for_what_it_needs_and_has_an_end_of_memory(self, name: str, pod: str) -> None:
        resources = container(pods(render(name))[pod])["resources"]

        assert resources["requests"].keys() >= {"cpu", "memory"}
        assert "memory" in resources["limits"]
        assert "cpu" not in resources["limits"]  # would only make it wait

    def test_all_that_it_writes_to_is_bounded(self, name: str, pod: str) -> None:
        one = pods(render(name))[pod]
        writable = {
            mount["mountPath"] for mount in container(one)["volumeMounts"] if not mount.get("readOnly")
        }
        sizes = [volume["emptyDir"]["sizeLimit"] for volume in one["spec"]["volumes"] if "emptyDir" in volume]

        assert writable == {"/tmp"}
        assert len(sizes) == 1


def test_a_platform_may_choose_the_user() -> None:
    more = {"security": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}
    contexts = [one["spec"]["securityContext"] for one in pods(render("small", more)).values()]

    assert all(
        one == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}} for one in contexts
    )


class TestGpu:
    def test_each_worker_has_one(self) -> None:
        pod = roles("gpu")["worker"]
        resources = container(pod)["resources"]

        assert resources["limits"]["nvidia.com/gpu"] == 1
        assert resources["limits"]["memory"] == "8Gi"
        assert container(pod)["image"] == "moodstream:0.1.0-gpu"
        assert pod["spec"]["runtimeClassName"] == "nvidia"
        assert told(pod).model.backend == "torch"  # an image without it is refused

    def test_nobody_else_has(self) -> None:
        others = {name: one for name, one in pods(render("gpu")).items() if not name.startswith("worker")}

        assert len(others) == 3
        for pod in others.values():
            assert "nvidia" not in yaml.safe_dump(pod)
            assert container(pod)["image"] == "moodstream:0.1.0"
        assert "nvidia" not in yaml.safe_dump(render("small"))

    def test_models_are_where_they_are_looked_for(self) -> None:
        for name in ("worker", "trends"):
            pod = roles("gpu")[name]
            [claim] = [one for one in pod["spec"]["volumes"] if "persistentVolumeClaim" in one]
            mounts = {mount["name"]: mount for mount in container(pod)["volumeMounts"]}

            assert claim["persistentVolumeClaim"] == {"claimName": "moodstream-models", "readOnly": True}
            assert mounts[claim["name"]]["mountPath"] == str(told(pod).model.store)

    def test_an_image_may_be_named_by_its_digest(self) -> None:
        made = pods(
            render("small", {"image": {"repository": "mine/moodstream", "tag": "sha256:" + "0" * 64}})
        )

        assert {container(one)["image"] for one in made.values()} == {f"mine/moodstream@sha256:{'0' * 64}"}


class TestDisruption:
    def test_who_has_more_than_one_instance_loses_one_at_a_time(self) -> None:
        budgets = of_kind(render(PRODUCTION), "PodDisruptionBudget")

        assert budgets.keys() == {"worker", "trends", "source-feedback"}
        for name, budget in budgets.items():
            wanted = budget["spec"]["selector"]["matchLabels"].items()
            found = [
                pod
                for pod, one in pods(render(PRODUCTION)).items()
                if wanted <= one["metadata"]["labels"].items()
            ]
            assert found == [name]
            assert budget["spec"]["maxUnavailable"] == 1
            assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"

    def test_pods_are_spread_over_zones_and_nodes(self) -> None:
        for name, pod in roles(PRODUCTION).items():
            spread = pod["spec"]["topologySpreadConstraints"]
            assert [one["topologyKey"] for one in spread] == [
                "topology.kubernetes.io/zone", "kubernetes.io/hostname",
            ]  # fmt: skip
            for one in spread:
                assert one["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
                assert one["matchLabelKeys"] == [
                    "controller-revision-hash" if name == "worker" else "pod-template-hash"
                ]

    def test_selectors_are_those_of_the_pods(self) -> None:
        for name in SETS:
            for made in of_kind(render(name), "Deployment", "StatefulSet").values():
                labels = made["spec"]["template"]["metadata"]["labels"]
                assert made["spec"]["selector"]["matchLabels"].items() <= labels.items()


class TestNetwork:
    def policy(self, pod: str) -> Manifest:
        labels = pods(render(PRODUCTION))[pod]["metadata"]["labels"].items()
        [found] = [
            one["spec"]
            for one in of_kind(render(PRODUCTION), "NetworkPolicy").values()
            if one["spec"]["podSelector"]["matchLabels"].items() <= labels
        ]
        spec: Manifest = found
        return spec

    def ports(self, pod: str) -> set[int]:
        return {port["port"] for rule in self.policy(pod)["egress"] for port in rule["ports"]}

    @pytest.mark.parametrize("pod", PODS[PRODUCTION])
    def test_each_pod_has_exactly_one_and_may_do_nothing_else(self, pod: str) -> None:
        assert self.policy(pod)["policyTypes"] == ["Ingress", "Egress"]

    @pytest.mark.parametrize(
        ("pod", "ports"),
        [
            ("worker", {53, 9093}),
            ("trends", {53, 9093, 6380, 443}),  # 443: webhooks of alerts
            ("quality", {53, 9093}),
            ("source-bluesky", {53, 9093, 443}),
            ("source-feedback", {53, 9093}),
            ("topics", {53, 9093}),
            ("worker-doctor", {53, 9093, 6380}),
        ],
    )
    def test_it_reaches_its_servers(self, pod: str, ports: set[int]) -> None:
        assert self.ports(pod) == ports

    @pytest.mark.parametrize(
        ("pod", "namespaces"),
        [
            ("worker", ["monitoring"]),
            ("trends", ["monitoring", "ingress"]),
            ("quality", ["monitoring", "ingress"]),
            ("source-bluesky", ["monitoring"]),
            ("source-feedback", ["monitoring", "ingress"]),
            ("topics", []),
        ],
    )
    def test_it_is_reached_by_who_asks_it(self, pod: str, namespaces: list[str]) -> None:
        rules = self.policy(pod)["ingress"]
        peers = [peer for rule in rules for peer in rule["from"]]

        assert [next(iter(peer["namespaceSelector"]["matchLabels"].values())) for peer in peers] == namespaces
        assert all(rule["ports"] == [{"protocol": "TCP", "port": "http"}] for rule in rules)

    def test_where_nobody_is_named_nobody_reaches_them(self) -> None:
        made = of_kind(render("small", {"networkPolicy": {"enabled": True}}), "NetworkPolicy")

        assert len(made) == 6
        assert all(one["spec"]["ingress"] == [] for one in made.values())

    def test_ports_that_brokers_advertise_besides_can_be_named(self) -> None:
        more = {"networkPolicy": {"enabled": True, "kafka": {"ports": [9094]}}}
        rules = of_kind(render("small", more), "NetworkPolicy")["worker"]["spec"]["egress"]

        assert {port["port"] for rule in rules for port in rule["ports"]} == {53, 9092, 9094}

    @pytest.mark.parametrize(
        ("endpoint", "port"), [("http://collector:4318", 4318), ("https://collector/otlp", 443)]
    )
    def test_traces_reach_the_collector_and_from_no_other_role(self, endpoint: str, port: int) -> None:
        more = {
            "networkPolicy": {"enabled": True, "tracing": {"to": [{"podSelector": {}}]}},
            "settings": {"tracing": {"endpoint": endpoint}},
        }
        made = of_kind(render("small", more), "NetworkPolicy")
        reach = {
            name: [rule["ports"] for rule in one["spec"]["egress"] if rule.get("to") == [{"podSelector": {}}]]
            for name, one in made.items()
        }

        assert {name: ports for name, ports in reach.items() if ports} == {
            name: [[{"protocol": "TCP", "port": port}]] for name in ("worker", "trends")
        }


class TestHooks:
    def test_topics_are_there_before_any_role(self) -> None:
        job = of_kind(render("small"), "Job")["topics"]
        hooks = job["metadata"]["annotations"]

        assert hooks["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert container(job["spec"]["template"])["args"][:2] == ["topics", "create"]
        assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
        assert "--allow-deletion" not in container(job["spec"]["template"])["args"]

    def test_it_needs_nothing_that_is_not_there_yet(self) -> None:
        """Before an installation there are Secrets, and what other hooks have made."""
        spec = pods(render(PRODUCTION))["topics"]["spec"]

        assert {kind for volume in spec["volumes"] for kind in volume} == {"name", "emptyDir", "secret"}
        assert "serviceAccountName" not in spec

    def test_its_network_policy_comes_first(self) -> None:
        made = render(PRODUCTION)
        policy = of_kind(made, "NetworkPolicy")["topics"]["metadata"]["annotations"]
        job = of_kind(made, "Job")["topics"]["metadata"]["annotations"]

        assert policy["helm.sh/hook"] == job["helm.sh/hook"]
        assert int(policy["helm.sh/hook-weight"]) < int(job["helm.sh/hook-weight"])

    def test_a_wrong_setting_is_not_tried_again(self) -> None:
        rules = of_kind(render("small"), "Job")["topics"]["spec"]["podFailurePolicy"]["rules"]

        assert rules[0]["action"] == "FailJob"
        assert rules[0]["onExitCodes"]["values"] == [2]  # worker.errors: bad usage or configuration

    def test_it_can_be_left_out(self) -> None:
        made = render("small", {"topics": {"create": False}})

        assert of_kind(made, "Job") == {}

    def test_doctor_looks_at_each_role_with_its_own_settings(self) -> None:
        doctors = of_kind(render(PRODUCTION), "Pod")

        assert doctors.keys() == {"worker-doctor", "trends-doctor", "quality-doctor"}
        for name, pod in doctors.items():
            asked = name.removesuffix("-doctor")
            assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
            assert container(pod)["args"][:3] == ["doctor", "--role", asked]
            assert told(pod).kafka.sasl_username == f"moodstream-{asked}"


class TestMonitoring:
    def test_it_finds_every_service_and_calls_it_as_the_rules_do(self) -> None:
        spec = of_kind(render(PRODUCTION), "ServiceMonitor")[f"{RELEASE}-moodstream"]["spec"]
        services = of_kind(render(PRODUCTION), "Service")
        config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
        wanted = spec["selector"]["matchLabels"].items()
        jobs = {
            name: service["metadata"]["labels"][spec["jobLabel"]]
            for name, service in services.items()
            if wanted <= service["metadata"]["labels"].items()
        }

        assert jobs.keys() == services.keys() == roles(PRODUCTION).keys()
        assert set(jobs.values()) == {job["job_name"] for job in config["scrape_configs"]}
        [endpoint] = spec["endpoints"]
        assert endpoint["path"] == "/metrics"
        assert all(
            endpoint["port"] in {port["name"] for port in one["spec"]["ports"]} for one in services.values()
        )

    def test_prometheus_selects_it_by_its_own_labels(self) -> None:
        monitor = of_kind(render(PRODUCTION), "ServiceMonitor")[f"{RELEASE}-moodstream"]

        assert monitor["metadata"]["labels"]["release"] == "prometheus"
