"""deploy/Dockerfile built by buildah, on a base made here: no daemon, no registry of images.

The base stands in for the image that the Dockerfile names: the same Debian, with Debian's own Python. All
images lie below one folder, in nobody's way.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from worker.errors import DependencyError

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
IMAGE = "localhost/moodstream:proof"

_NEEDED = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "crun": "crun"}
_LIKE_SLIM = ("man", "doc", "locale", "info", "lintian")
"""What Debian's slim images leave out of /usr/share."""
_BASE_PACKAGES = "ca-certificates,netbase,tzdata,python3,python3-venv"
_BLOCK = 1 << 20


class Layer(NamedTuple):
    """Of an image, in bytes."""

    unpacked: int
    """The tar file."""
    compressed: int
    """With gzip, as a registry would hold it."""


def available() -> str | None:
    """What is missing to build, and how to get it; `None` where nothing is."""
    missing = [package for command, package in _NEEDED.items() if shutil.which(command) is None]
    if missing:
        return f"building without Docker needs {', '.join(missing)}: apt-get install {' '.join(missing)}"
    return None if os.geteuid() == 0 else "building with chroot needs root"


def stands_in_for() -> str:
    """The image that the Dockerfile begins with."""
    [image] = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    return str(image)


class Builder:
    """buildah with a storage of its own.

    Args:
        folder: Where all of it lies; the base stays there for the next time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._folder.mkdir(parents=True, exist_ok=True)

    def base(self) -> str:
        """The name of the base; made where there is none yet: a minute."""
        suite = stands_in_for().rpartition("-")[2]
        name = f"localhost/moodstream-base:{suite}"
        if self._ask("images", "--quiet", "--filter", f"reference={name}").strip():
            return name
        packed = self._folder / f"{suite}.tar"
        leave_out = (f"--dpkgopt=path-exclude=/usr/share/{one}/*" for one in _LIKE_SLIM)
        _run(
            ["mmdebstrap", "--variant=minbase", f"--include={_BASE_PACKAGES}", *leave_out, suite, str(packed)]
        )
        container = self._ask("from", "scratch").strip()
        self._ask("add", container, str(packed), "/")
        self._ask("commit", "--quiet", "--rm", container, name)
        packed.unlink()
        return name

    def build(self, target: str = "cpu", image: str = IMAGE, **arguments: str) -> None:
        """Run the Dockerfile up to a stage.

        A mirror (PIP_INDEX_URL) and the certificates of a proxy (SSL_CERT_FILE) come from the environment,
        one as an argument of the stage that builds, one as a secret: the image has neither.
        """
        given = {"PYTHON_IMAGE": self.base(), **arguments}
        if "PIP_INDEX_URL" in os.environ:
            given["PIP_INDEX_URL"] = os.environ["PIP_INDEX_URL"]
        certificates = os.environ.get("SSL_CERT_FILE")
        self._show(
            "bud",
            *("--isolation", "chroot", "--pull-never", "--target", target, "--tag", image),
            *("--file", str(DOCKERFILE), "--ignorefile", str(ROOT / ".dockerignore")),
            *(word for name, value in given.items() for word in ("--build-arg", f"{name}={value}")),
            *(("--secret", f"id=ca,src={certificates}") if certificates else ()),
            str(ROOT),
        )

    def configuration(self, image: str = IMAGE) -> dict[str, Any]:
        """What the image says of itself: the OCI image configuration, history included."""
        found: dict[str, Any] = json.loads(self._ask("inspect", "--type", "image", image))["OCIv1"]
        return found

    def layers(self, image: str = IMAGE) -> list[Layer]:
        """The sizes of its layers, the base's first."""
        packed = self._folder / "packed"
        shutil.rmtree(packed, ignore_errors=True)
        self._ask("push", "--quiet", "--format", "oci", image, f"dir:{packed}")
        try:
            manifest = json.loads((packed / "manifest.json").read_bytes())
            files = [packed / layer["digest"].partition(":")[2] for layer in manifest["layers"]]
            return [Layer(_unpacked(file), file.stat().st_size) for file in files]
        finally:
            shutil.rmtree(packed)

    @contextmanager
    def unpacked(self, image: str = IMAGE) -> Iterator[Path]:
        """The root file system that a container of the image begins with."""
        container = self._ask("from", "--pull-never", image).strip()
        try:
            yield Path(self._ask("mount", container).strip())
        finally:
            self._ask("rm", container)

    def tidy(self, image: str = IMAGE) -> None:
        """Remove what was built; the base stays."""
        self._ask("rm", "--all")
        self._ask("rmi", "--force", image)
        self._ask("rmi", "--prune", "--force")

    def _command(self, words: Sequence[str]) -> list[str]:
        storage = ["--root", str(self._folder / "storage"), "--runroot", str(self._folder / "run")]
        return ["buildah", *storage, "--storage-driver", "vfs", *words]

    def _ask(self, *words: str) -> str:
        return _run(self._command(words))

    def _show(self, *words: str) -> None:
        """Run it where people can watch: standard error, because standard output is the result's."""
        done = subprocess.run(self._command(words), stdout=2, check=False)
        if done.returncode != 0:
            raise DependencyError("buildah", f"exit code {done.returncode}: what it said stands above")


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise DependencyError(command[0], (done.stdout + done.stderr).strip()[-1500:])
    return done.stdout


def _unpacked(layer: Path) -> int:
    size = 0
    with gzip.open(layer) as content:
        while block := content.read(_BLOCK):
            size += len(block)
    return size
