"""`python -m tests.registry_proof`: the registry's contract tests against a real Apicurio Registry.

Fetched with Maven (158 MB) and run in memory; it takes Java 21, which `make registry-proof` brings. With
MOODSTREAM_TEST_REGISTRY set to the address of a registry of yours, such as Confluent's, that one is asked.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import click
import urllib3
from urllib3.exceptions import HTTPError

from tests.support.archives import extract
from worker.local.kafka import cache
from worker.local.processes import HOST, ChildProcess, free_port

VERSION = "3.3.3"
ADDRESS = "MOODSTREAM_TEST_REGISTRY"
_ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
_READY_S = 120.0
_TESTS = Path(__file__).parents[1] / "contract" / "test_registry.py"


@click.command()
@click.option("--java", default="java", show_default=True, help="Java 21 or later.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def main(*, java: str, arguments: tuple[str, ...]) -> None:
    """Run the contract tests; ARGUMENTS go to pytest, behind `--`."""
    if os.environ.get(ADDRESS):
        sys.exit(_tests(os.environ[ADDRESS], arguments))
    port, management = free_port(), free_port()
    url = f"http://{HOST}:{port}/apis/ccompat/v7"
    with tempfile.TemporaryDirectory(prefix="moodstream-apicurio-") as folder:
        server = ChildProcess(
            "apicurio",
            [java, "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-jar", str(_jar())],
            log=Path(folder) / "apicurio.log",
            env={
                "QUARKUS_HTTP_HOST": HOST,
                "QUARKUS_HTTP_PORT": str(port),
                "QUARKUS_MANAGEMENT_HOST": HOST,
                "QUARKUS_MANAGEMENT_PORT": str(management),
            },
        )
        try:
            server.start(lambda: _answers(f"{url}/schemas/types"), within_s=_READY_S)
            code = _tests(url, arguments)
        finally:
            server.kill()
    sys.exit(code)


def _jar() -> Path:
    """Where Apicurio lies; fetched the first time."""
    target = cache().with_name(f"apicurio-{VERSION}")
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="apicurio.partial-") as scratch:
            copy = ["dependency:copy", f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={scratch}"]
            subprocess.run(["mvn", "--quiet", "--batch-mode", *copy], check=True, cwd=scratch)
            [archive] = Path(scratch).glob("*.tar.gz")
            with tarfile.open(archive) as packed:
                extract(packed, Path(scratch) / "app")
            (Path(scratch) / "app").rename(target)
    return target / "quarkus-run.jar"


def _answers(url: str) -> bool:
    try:
        return urllib3.request("GET", url, retries=False, timeout=2).status == 200
    except (HTTPError, OSError):
        return False


def _tests(url: str, arguments: tuple[str, ...]) -> int:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(_TESTS), *arguments]
    return subprocess.run(command, env={**os.environ, ADDRESS: url}, check=False).returncode


if __name__ == "__main__":
    main()
