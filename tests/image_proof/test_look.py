"""What is looked for in an image is found, and what a container is given is what compose asks for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.image_proof import look
from tests.image_proof.builder import ROOT, stands_in_for
from tests.image_proof.container import bundle

LABELS = {f"org.opencontainers.image.{name}": "" for name in ("title", "description", "version", "licenses")}
IMAGE: dict[str, Any] = {
    "User": "10001:10001",
    "Entrypoint": ["moodstream"],
    "Cmd": ["worker"],
    "Env": ["PATH=/opt/moodstream/bin:/usr/bin"],
    "Labels": LABELS,
}
PACKAGES = Path("opt/moodstream/lib/python3.13/site-packages")
CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The file system of an image that is as it should be."""
    made = tmp_path / "root"
    file(made / PACKAGES / "worker/cli.py")
    file(made / PACKAGES / "worker/__pycache__/cli.cpython-313.pyc")
    file(made / PACKAGES / "moodstream-0.1.0.dist-info/METADATA")
    file(made / CERTIFICATES)
    file(made / "usr/bin/env")
    (made / "tmp").mkdir()
    return made


@pytest.fixture
def base(tmp_path: Path) -> Path:
    file(tmp_path / "base" / CERTIFICATES)
    return tmp_path / "base"


def found(root: Path, base: Path, configuration: dict[str, Any]) -> list[str]:
    return look.faults(root, base, configuration, owner=os.getuid())


def file(path: Path, content: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_an_image_as_it_should_be_has_no_faults(root: Path, base: Path) -> None:
    assert found(root, base, {"config": IMAGE, "history": []}) == []


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (PACKAGES / "torch-2.10.0.dist-info/METADATA", "torch-2.10.0.dist-info is installed"),
        (PACKAGES / "nvidia_cublas-13.dist-info/METADATA", "nvidia_cublas-13.dist-info is installed"),
        (PACKAGES / "uv-0.13.8.dist-info/METADATA", "uv-0.13.8.dist-info is installed"),
        (Path("usr/bin/gcc"), "gcc is there"),
        (Path("opt/moodstream/bin/uv"), "uv is there"),
        (Path("root/.cache/uv/archive"), "/root/.cache is not empty"),
        (Path("src/pyproject.toml"), "/src is not empty"),
        (PACKAGES / "numpy/linalg.py", "1 of 2 modules are not compiled"),
    ],
)
def test_what_should_not_be_there_is_found(what: Path, said: str, root: Path, base: Path) -> None:
    file(root / what)

    assert found(root, base, {"config": IMAGE}) == [said]


def test_uvicorn_is_not_uv(root: Path, base: Path) -> None:
    file(root / PACKAGES / "uvicorn-0.40.0.dist-info/METADATA")
    file(root / PACKAGES / "uvloop-0.22.0.dist-info/METADATA")

    assert found(root, base, {"config": IMAGE}) == []


def test_certificates_that_stayed_are_found(root: Path, base: Path) -> None:
    file(root / CERTIFICATES, "of the proxy")

    assert found(root, base, {"config": IMAGE}) == [f"/{CERTIFICATES} is not the base's"]


def test_a_mirror_in_the_history_is_found(root: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    history = [{"created_by": "/bin/sh -c pip install --index-url http://127.0.0.1:1/simple"}]

    assert found(root, base, {"config": IMAGE, "history": history}) == [
        "the value of PIP_INDEX_URL is in its history"
    ]


def test_a_product_that_others_can_change_is_found(root: Path, base: Path) -> None:
    (root / PACKAGES / "worker/cli.py").chmod(0o666)

    assert found(root, base, {"config": IMAGE}) == [
        f"/{PACKAGES}/worker/cli.py can be changed by others than root"
    ]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"User": "root"}, "it runs as root, not as 10001:10001"),
        ({"User": None}, "it runs as root, not as 10001:10001"),
        ({"Entrypoint": ["/bin/sh", "-c"]}, "it starts ['/bin/sh', '-c'] ['worker']"),
        ({"Labels": None}, "labels are missing: ['description', 'licenses', 'title', 'version']"),
    ],
)
def test_a_wrong_configuration_is_found(wrong: dict[str, Any], said: str, root: Path, base: Path) -> None:
    assert found(root, base, {"config": {**IMAGE, **wrong}}) == [said]


def test_a_container_is_locked_as_composes_is() -> None:
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["worker"]
    made = bundle(Path("/root-of-it"), IMAGE, service["command"], {"A": "1"})
    [scratch] = [mount for mount in made["mounts"] if mount["destination"] in service["tmpfs"]]

    assert made["root"] == {"path": "/root-of-it", "readonly": service["read_only"]}
    assert made["process"]["args"] == ["moodstream", "worker"]
    assert made["process"]["user"] == {"uid": 10001, "gid": 10001}
    assert made["process"]["env"] == [*IMAGE["Env"], "A=1"]
    assert made["process"]["capabilities"] == {}  # cap_drop: [ALL]
    assert made["process"]["noNewPrivileges"] is True
    assert scratch["type"] == "tmpfs"
    assert "noexec" in scratch["options"]


def test_the_base_stands_in_for_a_debian() -> None:
    assert stands_in_for().rpartition("-")[2] == "trixie"
