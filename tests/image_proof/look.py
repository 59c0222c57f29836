"""What must not be in the image, looked for in its file system and in what it says of itself."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PRODUCT = Path("opt", "moodstream")
_USER = "10001:10001"
_UNWANTED = re.compile(r"(torch|triton|nvidia_.*|transformers|pip|uv|pytest|mypy|ruff|mkdocs|pyarrow)-")
"""Distributions: training, tests and tools."""
_PROGRAMS = frozenset({"gcc", "g++", "cc", "c++", "clang", "make", "ld", "uv", "uvx", "git", "curl", "wget"})
_PLACES = ("src", "opt/uv", "root/.cache", "root/.local", "tmp", "run/secrets", "var/lib/apt/lists/partial")
"""Folders that must be empty or not there."""
_FROM_OUTSIDE = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
"""Variables whose values belong to the machine that builds."""
_CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")


def faults(root: Path, base: Path, configuration: Mapping[str, Any], *, owner: int = 0) -> list[str]:
    """Everything that is wrong with an image, a line each.

    Args:
        root: Its file system.
        base: That of the image it was built on.
        configuration: Its OCI configuration.
        owner: Whose the product must be.
    """
    return [
        *_says(configuration),
        *_secrets(root, base, configuration),
        *_packages(root),
        *_programs(root),
        *(f"/{place} is not empty" for place in _PLACES if _filled(root / place)),
        *_writable(root, owner),
        *_uncompiled(root),
    ]


def _says(configuration: Mapping[str, Any]) -> Iterator[str]:
    image = configuration["config"]
    if image.get("User") != _USER:
        yield f"it runs as {image.get('User') or 'root'}, not as {_USER}"
    if image.get("Entrypoint") != ["moodstream"] or image.get("Cmd") != ["worker"]:
        yield f"it starts {image.get('Entrypoint')} {image.get('Cmd')}"
    labels = image.get("Labels") or {}
    missing = {"title", "description", "version", "licenses"} - {
        name.removeprefix("org.opencontainers.image.") for name in labels
    }
    if missing:
        yield f"labels are missing: {sorted(missing)}"


def _secrets(root: Path, base: Path, configuration: Mapping[str, Any]) -> Iterator[str]:
    said = json.dumps(configuration)
    for name in _FROM_OUTSIDE:
        if (value := os.environ.get(name)) and value in said:
            yield f"the value of {name} is in its history"
    if _sha256(root / _CERTIFICATES) != _sha256(base / _CERTIFICATES):
        yield f"/{_CERTIFICATES} is not the base's"


def _packages(root: Path) -> Iterator[str]:
    installed = sorted(path.name for path in (root / PRODUCT).glob("lib/python3*/site-packages/*.dist-info"))
    if not any(name.startswith("moodstream-") for name in installed):
        yield f"no moodstream in /{PRODUCT}"
    yield from (f"{name} is installed" for name in installed if _UNWANTED.match(name.lower()))


def _programs(root: Path) -> Iterator[str]:
    folders = ("bin", "usr/bin", "usr/local/bin", "sbin", "usr/sbin", str(PRODUCT / "bin"))
    found = {path.name for folder in folders for path in (root / folder).glob("*")}
    yield from (f"{name} is there" for name in sorted(found & _PROGRAMS))


def _filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _writable(root: Path, owner: int) -> Iterator[str]:
    """The product's user can change nothing of it, even where the file system can be written to."""
    for folder, _, names in os.walk(root / PRODUCT):
        for path in (Path(folder), *(Path(folder, name) for name in names)):
            found = path.lstat()
            others = stat.S_IMODE(found.st_mode) & 0o022 and not stat.S_ISLNK(found.st_mode)
            if found.st_uid != owner or others:
                yield f"/{path.relative_to(root)} can be changed by others than root"


def _uncompiled(root: Path) -> Iterator[str]:
    """Nothing can be compiled where nothing can be written."""
    [packages] = (root / PRODUCT).glob("lib/python3*/site-packages")
    sources = [path for name in ("worker", "numpy") for path in (packages / name).rglob("*.py")]
    bare = [path for path in sources if not any((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))]
    if not sources or bare:
        yield f"{len(bare)} of {len(sources)} modules are not compiled"


def _sha256(file: Path) -> str | None:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
