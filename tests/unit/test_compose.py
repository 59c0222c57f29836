"""What is deployed agrees with what the program is: settings, ports, metrics, files."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar

import click
import jsonschema
import pytest
import yaml

from tests.support.grafana import Board
from worker.cli import cli
from worker.configuration import load
from worker.local import prometheus as local_prometheus
from worker.metrics import CATALOGUE
from worker.settings import QualitySettings, Settings, SourceSettings, TrendsSettings, WorkerSettings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"].startswith("moodstream:"))
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
GPU = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text())
OTHERS = ["grafana", "kafka", "prometheus"]
"""Images of others that begin as a user of their own."""


def settings_of(service: str) -> Settings:
    """What the service's program would see."""
    return load(env={name: str(value) for name, value in SERVICES[service]["environment"].items()})


def role(service: str) -> WorkerSettings | TrendsSettings | QualitySettings | SourceSettings:
    settings = settings_of(service)
    sections: dict[str, WorkerSettings | TrendsSettings | QualitySettings | SourceSettings] = {
        "worker": settings.worker,
        "trends": settings.trends,
        "quality": settings.quality,
        "bluesky": settings.source,
    }
    return sections[service]


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


class TestServices:
    def test_ours_are_these(self) -> None:
        assert OURS == ["bluesky", "quality", "topics", "trends", "worker"]

    @pytest.mark.parametrize("service", OURS)
    def test_environment_is_settings(self, service: str) -> None:
        """An unknown name or a value out of range would be a ConfigurationError."""
        assert all(name.startswith("MOODSTREAM_") for name in SERVICES[service]["environment"])
        assert settings_of(service).kafka.bootstrap_servers == "kafka:19092"

    @pytest.mark.parametrize("service", OURS)
    def test_command_exists(self, service: str) -> None:
        command: click.Command | None = cli
        for word in takewhile(lambda word: not word.startswith("-"), SERVICES[service]["command"]):
            assert isinstance(command, click.Group)
            command = command.get_command(click.Context(command), word)

        assert isinstance(command, click.Command)
        assert not isinstance(command, click.Group) or command.invoke_without_command

    def test_the_bootstrap_server_is_kafkas_inner_listener(self) -> None:
        kafka = SERVICES["kafka"]["environment"]

        assert "INSIDE://kafka:19092" in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
        assert "INSIDE://:19092" in kafka["KAFKA_LISTENERS"].split(",")

    def test_kafka_is_published_where_it_says_it_is(self) -> None:
        kafka = SERVICES["kafka"]

        assert "OUTSIDE://127.0.0.1:9092" in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
        assert kafka["ports"] == ["127.0.0.1:9092:9092"]

    def test_redis_is_the_service_and_keeps_what_it_confirms(self) -> None:
        assert settings_of("trends").redis.url == "redis://redis:6379/0"
        assert SERVICES["redis"]["command"] == [
            *("redis-server", "--appendonly", "yes", "--appendfsync", "everysec"),
            *("--maxmemory-policy", "noeviction"),
        ]
        assert "redis:/data" in SERVICES["redis"]["volumes"]

    @pytest.mark.parametrize("service", ["worker", "trends", "quality", "bluesky"])
    def test_http_is_reachable_from_prometheus_and_asked_by_the_health_check(self, service: str) -> None:
        http = role(service).http

        assert http.host == "0.0.0.0"
        assert f"http://127.0.0.1:{http.port}/readyz" in SERVICES[service]["healthcheck"]["test"][-1]

    @pytest.mark.parametrize("service", ["trends", "quality"])
    def test_apis_are_published(self, service: str) -> None:
        port = role(service).http.port

        assert SERVICES[service]["ports"] == [f"127.0.0.1:{port}:{port}"]

    @pytest.mark.parametrize("service", ["worker", "trends", "quality", "bluesky"])
    def test_there_is_more_time_to_stop_than_the_role_takes(self, service: str) -> None:
        assert seconds(SERVICES[service]["stop_grace_period"]) > role(service).drain_s + 5

    @pytest.mark.parametrize("service", SERVICES)
    def test_ports_are_published_on_the_loopback_interface_only(self, service: str) -> None:
        assert all(port.startswith("127.0.0.1:") for port in SERVICES[service].get("ports", []))

    @pytest.mark.parametrize("service", OURS)
    def test_ours_can_write_nowhere_but_in_tmp_and_can_become_nobody_else(self, service: str) -> None:
        locked = SERVICES[service]

        assert (locked["read_only"], locked["tmpfs"], locked["cap_drop"]) == (True, ["/tmp"], ["ALL"])
        assert "privileged" not in locked
        assert "user" not in locked  # the image's own, which is not root
        assert locked["init"] is True

    @pytest.mark.parametrize("service", SERVICES)
    def test_none_can_gain_privileges(self, service: str) -> None:
        assert SERVICES[service]["security_opt"] == ["no-new-privileges:true"]
        assert SERVICES[service].get("cap_drop") == (["ALL"] if service in [*OURS, *OTHERS] else None)

    @pytest.mark.parametrize("service", sorted(SERVICES.keys() - {"topics"}))
    def test_all_that_stay_are_asked_how_they_are(self, service: str) -> None:
        check = SERVICES[service]["healthcheck"]

        assert check["test"][0] in ("CMD", "CMD-SHELL")
        assert seconds(check["timeout"]) <= seconds(check["interval"])

    @pytest.mark.parametrize("service", ["worker", "trends", "quality", "bluesky"])
    def test_a_health_check_needs_only_what_the_image_has(self, service: str) -> None:
        command = SERVICES[service]["healthcheck"]["test"]

        assert command[:3] == ["CMD", "python", "-c"]
        compile(command[3], "health check", "exec")

    def test_only_what_the_internet_or_people_are_needed_for_waits_to_be_asked_for(self) -> None:
        asked = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}

        assert asked == {"quality": ["quality"], "bluesky": ["bluesky"]}

    @pytest.mark.parametrize("service", SERVICES)
    def test_images_are_pinned(self, service: str) -> None:
        image = SERVICES[service]["image"]

        assert re.fullmatch(r"[a-z/]+:(v?\d+\.\d+\.\d+(-alpine)?|local)", image), image
        assert image.endswith(":local") == ("build" in SERVICES[service])

    @pytest.mark.parametrize("service", SERVICES)
    def test_all_restart_but_what_runs_once(self, service: str) -> None:
        assert SERVICES[service]["restart"] == ("no" if service == "topics" else "unless-stopped")

    @pytest.mark.parametrize("service", SERVICES)
    def test_what_is_waited_for_can_be_waited_for(self, service: str) -> None:
        waits = SERVICES[service].get("depends_on", {})
        for other, wait in waits.items() if isinstance(waits, dict) else ():
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert SERVICES[other]["restart"] == "no"

    @pytest.mark.parametrize("service", ["worker", "trends", "quality", "bluesky"])
    def test_roles_start_when_their_topics_are_there(self, service: str) -> None:
        waits = SERVICES[service]["depends_on"]

        assert waits["topics"]["condition"] == "service_completed_successfully"

    @pytest.mark.parametrize("service", SERVICES)
    def test_mounts_are_there(self, service: str) -> None:
        for mount in SERVICES[service].get("volumes", []):
            source = mount.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


class TestSpecification:
    """The files are what the Compose Specification says, which knows every key."""

    SCHEMA = json.loads((ROOT / "tests" / "support" / "compose-spec.json").read_text())["schema"]
    VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

    @pytest.mark.parametrize("content", [COMPOSE, GPU], ids=["docker-compose.yml", "docker-compose.gpu.yml"])
    def test_they_are_valid(self, content: dict[str, Any]) -> None:
        assert [error.message for error in self.VALIDATOR.iter_errors(content)] == []

    @pytest.mark.parametrize("wrong", [{"helthcheck": {}}, {"read_only": "perhaps", "tmpfs": 3}])
    def test_a_misspelt_key_and_a_wrong_type_are_seen(self, wrong: dict[str, Any]) -> None:
        content = {**COMPOSE, "services": {**SERVICES, "worker": {**SERVICES["worker"], **wrong}}}

        assert list(self.VALIDATOR.iter_errors(content))


class TestOnAGpu:
    WORKER = GPU["services"]["worker"]

    def test_only_the_worker_is_another(self) -> None:
        assert list(GPU["services"]) == ["worker"]
        assert self.WORKER["build"] == {"target": "gpu"}
        assert self.WORKER["image"] != SERVICES["worker"]["image"]

    def test_it_has_a_gpu_and_labels_on_nothing_else(self) -> None:
        [device] = self.WORKER["deploy"]["resources"]["reservations"]["devices"]

        assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
        assert self.WORKER["environment"]["MOODSTREAM_MODEL__BACKEND"] == "torch"

    def test_its_environment_is_settings(self) -> None:
        environment = {**SERVICES["worker"]["environment"], **self.WORKER["environment"]}

        assert load(env={name: str(value) for name, value in environment.items()}).model.backend == "torch"

    def test_it_sets_what_the_charts_gpu_values_set(self) -> None:
        values = yaml.safe_load((ROOT / "deploy" / "helm" / "values" / "gpu.yaml").read_text())
        settings = {
            f"MOODSTREAM_{section}__{name}".upper(): value
            for section, names in values["worker"]["settings"].items()
            for name, value in names.items()
        }

        assert self.WORKER["environment"] == {"MOODSTREAM_MODEL__BACKEND": "torch", **settings}

    def test_a_start_may_take_as_long_as_until_it_is_taken_for_hung(self) -> None:
        stall_s = self.WORKER["environment"]["MOODSTREAM_WORKER__STALL_S"]

        assert seconds(self.WORKER["healthcheck"]["start_period"]) >= stall_s


class TestPrometheus:
    CONFIG = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())

    def test_it_scrapes_every_container_of_every_role_at_its_port(self) -> None:
        scraped = {
            job["job_name"]: (found["names"], found["type"], found["port"])
            for job in self.CONFIG["scrape_configs"]
            for found in job["dns_sd_configs"]
        }

        assert scraped == {
            "worker": (["worker"], "A", role("worker").http.port),
            "trends": (["trends"], "A", role("trends").http.port),
            "quality": (["quality"], "A", role("quality").http.port),
            "source": (["bluesky"], "A", role("bluesky").http.port),
        }

    def test_every_alert_is_tested_both_ways(self) -> None:
        rules = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())
        alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
        tests = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
        cases = [case for test in tests for case in test["alert_rule_test"]]

        assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts
        assert {case["alertname"] for case in cases if not case["exp_alerts"]} == alerts

    def test_every_alert_has_its_section_of_the_runbook_and_every_section_its_alert(self) -> None:
        rules = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())
        alerts = [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
        runbook = (ROOT / "docs" / "runbook.md").read_text()
        sections = dict(
            re.findall(r"^## (Moodstream\w+)\n\n(.+?)(?=^## |\Z)", runbook, re.MULTILINE | re.DOTALL)
        )

        assert sections.keys() == {rule["alert"] for rule in alerts}
        for rule in alerts:
            assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
            assert rule["labels"]["severity"] in {"page", "ticket", "info"}
            for part in ("What it means.", "Look at.", "Do."):
                assert f"**{part}**" in sections[rule["alert"]], rule["alert"]

    @pytest.mark.parametrize(
        "arguments",
        ["check config prometheus.yml", "check rules rules.yml", "test rules rules_test.yml"],
    )
    def test_promtool_agrees(self, arguments: str) -> None:
        missing = local_prometheus.available()
        if missing is not None:
            pytest.skip(missing)

        done = subprocess.run(
            ["promtool", *arguments.split()], cwd=PROMETHEUS, capture_output=True, text=True, check=False
        )

        assert done.returncode == 0, done.stdout + done.stderr


class TestGrafana:
    SOURCE = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())
    API = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "api.yml").read_text())
    PROVIDER = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "moodstream.yml").read_text())

    def test_the_data_source_is_the_prometheus_service(self) -> None:
        [source] = self.SOURCE["datasources"]

        assert source["url"] == "http://prometheus:9090"
        assert source["uid"] == "moodstream-prometheus"
        assert source["jsonData"]["timeInterval"] == TestPrometheus.CONFIG["global"]["scrape_interval"]

    def test_the_api_is_the_trends_service_and_nothing_else(self) -> None:
        [source] = self.API["datasources"]

        assert source["url"] == f"http://trends:{role('trends').http.port}"
        assert source["jsonData"]["allowedHosts"] == [source["url"]]
        assert SERVICES["grafana"]["environment"]["GF_PLUGINS_PREINSTALL"] == source["type"]

    def test_dashboards_are_mounted_where_they_are_looked_for(self) -> None:
        [provider] = self.PROVIDER["providers"]
        mounts = dict(mount.split(":")[:2] for mount in SERVICES["grafana"]["volumes"])
        home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]

        assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
        assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
        assert Path(home).name in {dashboard.name for dashboard in DASHBOARDS}

    @pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
    def test_dashboards_are_whole(self, path: Path) -> None:
        board = Board.read(path)
        known = {
            source["uid"]: source["type"]
            for made in (self.SOURCE, self.API)
            for source in made["datasources"]
        }

        assert board.json["uid"] == f"moodstream-{path.stem}"
        assert len({panel["id"] for panel in board.json["panels"]}) == len(board.json["panels"])
        for panel in board.panels:
            assert panel["title"]
            assert panel["description"]
            for target in panel["targets"]:
                assert known[target["datasource"]["uid"]] == target["datasource"]["type"]
        [marks] = board.json["annotations"]["list"]
        assert marks["name"] == "Spikes"
        assert {column["text"] for column in marks["target"]["columns"]} >= {"time", "timeEnd", "text"}

    def test_panels_do_not_lie_on_each_other(self) -> None:
        for path in DASHBOARDS:
            taken: set[tuple[int, int]] = set()
            for panel in Board.read(path).json["panels"]:
                at = panel["gridPos"]
                cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
                assert not cells & taken, panel["title"]
                assert at["x"] + at["w"] <= 24
                taken |= cells

    def test_they_are_what_the_script_makes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(GRAFANA)
        made = runpy.run_path(str(GRAFANA / "make_dashboards.py"))["made"]()

        assert made == {path.name: path.read_text() for path in DASHBOARDS}, (
            "run python deploy/grafana/make_dashboards.py"
        )

    @pytest.mark.parametrize(
        ("name", "titles"),
        [
            ("worker", {"Throughput", "Lag", "Latency", "Latency, all posts", "Batch fill", "Word pieces",
                        "Time of each step", "Dead letters"}),
            ("emotions", {"Emotions", "Shares", "Spikes and drift", "Top terms", "Share of voice",
                          "Counted now"}),
            ("model", {"Label mix", "Drift", "Confidence", "Shadow", "Not judged", "Accuracy, by chance",
                       "Accuracy, close calls", "Labels judged"}),
        ],
    )  # fmt: skip
    def test_they_show_what_is_asked_first(self, name: str, titles: set[str]) -> None:
        board = Board.read(GRAFANA / "dashboards" / f"{name}.json")

        assert {panel["title"] for panel in board.panels} >= titles


class TestMetricNames:
    EXPOSED: ClassVar[dict[str, tuple[str, ...]]] = {
        definition.exposed + suffix: definition.labels
        for definition in CATALOGUE
        for suffix in (("_bucket", "_sum", "_count") if definition.kind == "histogram" else ("",))
    }
    FILES = (*DASHBOARDS, PROMETHEUS / "rules.yml", PROMETHEUS / "rules_test.yml")
    FROM_PROMETHEUS = frozenset({"job", "instance", "le"})

    @staticmethod
    def expressions(path: Path) -> str:
        """The parts of the file that are PromQL."""
        if path.suffix == ".json":
            return "\n".join(expression for _, expression in Board.read(path).promql())
        content = yaml.safe_load(path.read_text())
        rules = [rule["expr"] for group in content.get("groups", ()) for rule in group["rules"]]
        series = [line["series"] for test in content.get("tests", ()) for line in test["input_series"]]
        return "\n".join(rules + series)

    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
    def test_every_metric_is_in_the_catalogue(self, path: Path) -> None:
        named = set(re.findall(r"\bmoodstream_\w+", self.expressions(path)))

        assert named
        assert named <= self.EXPOSED.keys()

    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
    def test_every_label_that_is_asked_for_is_the_metrics_own(self, path: Path) -> None:
        for metric, matchers in re.findall(r"\b(moodstream_\w+)\{([^}]*)\}", self.expressions(path)):
            asked = set(re.findall(r"(\w+)\s*=", matchers))
            assert asked <= {*self.EXPOSED[metric], *self.FROM_PROMETHEUS}, metric

    @pytest.mark.parametrize("path", FILES[:-1], ids=lambda path: path.name)
    def test_every_label_that_is_grouped_by_exists(self, path: Path) -> None:
        expressions = self.expressions(path)
        used = {
            label for metric in re.findall(r"\bmoodstream_\w+", expressions) for label in self.EXPOSED[metric]
        }
        grouped = {
            label.strip()
            for labels in re.findall(r"\bby \(([^)]*)\)", expressions)
            for label in labels.split(",")
        }

        assert grouped
        assert grouped <= used | self.FROM_PROMETHEUS


@pytest.mark.parametrize(
    "name", ["Makefile", ".ci/run", "docker-compose.yml", "docker-compose.gpu.yml", "deploy/Dockerfile"]
)
def test_no_registry_is_named(name: str) -> None:
    """Which mirror to use is the machine's business."""
    addresses = re.findall(r"https?://[^\s\"')]+", (ROOT / name).read_text())

    assert [address for address in addresses if "127.0.0.1" not in address] == []
