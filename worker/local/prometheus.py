"""A real Prometheus, for tests of metrics, alerts and dashboards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from worker.errors import DependencyError
from worker.local.processes import HOST, ChildProcess
from worker.local.server import LocalServer


def available() -> str | None:
    """What is missing for a real Prometheus and how to get it; `None` where nothing is."""
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        return "no prometheus or promtool: apt-get install prometheus"
    return None


def scraping(targets: Mapping[str, str], *, every: str = "200ms") -> dict[str, Any]:
    """A configuration that scrapes `{job: "host:port"}`."""
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()
        ],
    }


class RealPrometheus(LocalServer):
    """One Prometheus with the given configuration (its own format, as data)."""

    name: ClassVar[str] = "prometheus"

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = config

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector that a PromQL expression has now: `[{"metric": {...}, "value": [...]}]`."""
        answer = self._get("/api/v1/query?" + urlencode({"query": expression}))
        return list(answer["data"]["result"])

    def targets(self) -> dict[str, str]:
        """Each job's health: `up`, `down` or `unknown`."""
        answer = self._get("/api/v1/targets")
        return {target["labels"]["job"]: target["health"] for target in answer["data"]["activeTargets"]}

    def _get(self, path: str) -> dict[str, Any]:
        with urlopen(self.url + path, timeout=10) as answer:  # noqa: S310 - our own server
            found: dict[str, Any] = json.load(answer)
        return found

    def _prepare(self) -> Sequence[str]:
        missing = available()
        if missing is not None:
            raise DependencyError("Prometheus", missing)
        configuration = self.folder / "prometheus.yml"
        configuration.write_text(json.dumps(self.config))  # JSON is YAML
        return [
            "prometheus",
            f"--config.file={configuration}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={HOST}:{self.port}",
            "--log.level=warn",
        ]

    def _ready(self, process: ChildProcess) -> bool:
        try:
            with urlopen(self.url + "/-/ready", timeout=1):  # noqa: S310 - our own server
                return True
        except (URLError, OSError):
            return False
