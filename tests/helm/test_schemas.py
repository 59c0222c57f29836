"""What the chart makes is taken by Kubernetes, KEDA and the Prometheus operator, and the chart is whole."""

from __future__ import annotations

import copy
import json
import runpy
import tomllib
from typing import Any

import pytest
import yaml

from tests.support.helm import CHART, PODS, ROOT, SETS, VALUES, of_kind, pods, render, run
from tests.support.kubernetes import CRDS, faults

VERSIONS = ("1.29", "1.37")
"""The oldest that Chart.yaml allows, and the newest that we have schemas of."""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", SETS)
def test_every_object_is_valid(name: str, version: str) -> None:
    wrong = {
        f"{one['kind']} {one['metadata']['name']}": found
        for one in render(name)
        if (found := faults(one, version))
    }
    assert wrong == {}


@pytest.mark.parametrize("name", SETS)
def test_the_pods_of_a_set_are_these(name: str) -> None:
    """Those that other tests go through."""
    assert sorted(pods(render(name))) == list(PODS[name])


def test_roles_can_be_left_out() -> None:
    """Even all of them."""
    off = {role: {"enabled": False} for role in ("worker", "trends", "quality")}
    more = {**off, "sources": {"bluesky": {"enabled": False}}, "topics": {"create": False}}

    assert render("small", more) == []
    assert sorted(pods(render("small", {"trends": {"enabled": False}}))) == [
        pod for pod in PODS["small"] if not pod.startswith("trends")
    ]


def test_the_sets_make_every_kind_of_object() -> None:
    """So that no template goes unchecked."""
    kinds = {one["kind"] for name in SETS for one in render(name)}
    assert kinds == {
        "ConfigMap", "Deployment", "Job", "NetworkPolicy", "Pod", "PodDisruptionBudget", "ScaledObject",
        "Service", "ServiceMonitor", "StatefulSet", "TriggerAuthentication",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "path", "value", "told"),
    [
        ("StatefulSet", "spec.template.spec.containers.0.enviroment", [], "enviroment"),
        ("StatefulSet", "spec.template.spec.terminationGracePeriodSeconds", "30", "'30' is not of type"),
        ("NetworkPolicy", "spec.egres", [], "egres"),
        ("ScaledObject", "spec.maxReplicas", 3, "maxReplicas"),
        ("ScaledObject", "spec.maxReplicaCount", "3", "'3' is not of type"),
        ("ScaledObject", "spec.triggers.0.metadata.lagTreshold", "5", "no parameter lagTreshold"),
        ("ScaledObject", "spec.triggers.0.metadata.lagThreshold", 5, "5 is not of type"),
        ("ScaledObject", "spec.triggers.0.metadata.tls", "on", "tls is none of enable, disable"),
        ("TriggerAuthentication", "spec.secretTargetRef.0.secret", "x", "secret"),
        ("ServiceMonitor", "spec.endpoints.0.intervall", "5s", "intervall"),
        ("ServiceMonitor", "apiVersion", "monitoring.coreos.com/v2", "v1"),
    ],
)
def test_what_is_not_valid_is_found(kind: str, path: str, value: Any, told: str) -> None:
    broken = copy.deepcopy(next(one for one in render("production") if one["kind"] == kind))
    assert faults(broken, VERSIONS[-1]) == []
    *above, last = path.split(".")
    node: Any = broken
    for step in above:
        node = node[int(step)] if isinstance(node, list) else node[step]
    node[last] = value

    found = faults(broken, VERSIONS[-1])

    assert found
    assert told in " ".join(found)


@pytest.mark.parametrize("name", SETS)
def test_lint_has_nothing_to_say(name: str) -> None:
    assert "0 chart(s) failed" in run(
        "lint", "--strict", str(CHART), "--values", str(VALUES / f"{name}.yaml")
    )


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert chart["appVersion"] == chart["version"] == project["version"]
    assert chart["kubeVersion"] == f">={VERSIONS[0]}.0-0"


def test_the_schema_of_values_is_what_the_script_makes() -> None:
    made = runpy.run_path(str(CHART.parent / "make_schema.py"))["made"]()

    assert (CHART / "values.schema.json").read_text() == made, "run python deploy/helm/make_schema.py"


def test_every_value_of_the_sets_has_a_use() -> None:
    """A value that changes nothing is a misunderstanding: without `more`, each set differs from the least."""
    least = {"settings": {"kafka": {"bootstrap_servers": "k:1"}, "redis": {"url": "redis://r:1/0"}}}
    for name in SETS:
        assert render(name) != render(None, least)


def test_vendored_schemas_say_where_they_are_from() -> None:
    for path in CRDS.glob("*.json"):
        origin = json.loads(path.read_text())["from"]
        assert origin.keys() == {"module", "version", "sum", "licence"}


def test_names_stay_within_their_length() -> None:
    """A release may have 53 characters, a Service's name 63, and a StatefulSet's pods get a number."""
    long = {"fullnameOverride": "m" * 53, "sources": {"a" * 20: {"kind": "bluesky"}}}
    made = render("small", long)

    assert all(len(one["metadata"]["name"]) <= 63 for one in made)
    assert len(of_kind(made, "Deployment", "StatefulSet")) == 5
    assert all(not found for one in made if (found := faults(one, VERSIONS[-1])))
