"""What is deployed agrees with what the program is: settings, ports, metrics, files."""

from __future__ import annotations

import re
import runpy
import subprocess
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar

import click
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
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()


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
        assert " ".join(SERVICES["redis"]["command"]).startswith("redis-server --appendonly yes")
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


class TestDockerfile:
    def test_it_does_not_run_as_root(self) -> None:
        final = DOCKERFILE.rpartition("\nFROM ")[2]

        assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)

    def test_its_ports_are_the_settings_defaults(self) -> None:
        ports = (getattr(Settings(), name).http.port for name in ("worker", "trends", "quality", "source"))

        assert f"EXPOSE {' '.join(map(str, ports))}\n" in DOCKERFILE

    def test_its_uv_is_the_makefiles(self) -> None:
        [ours] = re.findall(r"^ARG UV_VERSION=(\S+)$", DOCKERFILE, re.MULTILINE)
        [makefiles] = re.findall(r"^UV_VERSION *:?= *(\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

        assert ours == makefiles

    def test_what_it_copies_exists_and_reaches_the_builder(self) -> None:
        ignore = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
        copied = [
            source
            for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
            for source in line.split()[:-1]
        ]

        assert copied
        assert all((ROOT / source).exists() for source in copied)
        assert {line[1:] for line in ignore if line.startswith("!")} == set(copied)


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


@pytest.mark.parametrize("name", ["Makefile", ".ci/run", "docker-compose.yml", "deploy/Dockerfile"])
def test_no_registry_is_named(name: str) -> None:
    """Which mirror to use is the machine's business."""
    addresses = re.findall(r"https?://[^\s\"')]+", (ROOT / name).read_text())

    assert [address for address in addresses if "127.0.0.1" not in address] == []
