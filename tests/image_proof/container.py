"""A container of an image's root file system, run by crun as Docker would run it for docker-compose.yml.

The image's own user, environment and entry point; a root that cannot be written to, /tmp in memory, no
capabilities, no way to new privileges, process ids of its own. Only the network is this machine's.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from worker.local.processes import ChildProcess

_WAIT_S = 120.0
_NO_CGROUPS = 'mount -t tmpfs tmpfs /sys/fs/cgroup && exec "$@"'
"""crun refuses machines that have both kinds of control groups; where it sees none it does without."""
_CRUN = [*("unshare", "--mount", "sh", "-c", _NO_CGROUPS, "sh"), "crun", "--cgroup-manager=disabled"]
_HARMLESS = ["nosuid", "nodev", "noexec"]
_MOUNTS = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {
        "destination": "/dev",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
        "destination": "/dev/shm",
        "type": "tmpfs",
        "source": "shm",
        "options": [*_HARMLESS, "mode=1777", "size=65536k"],
    },
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*_HARMLESS, "ro"]},
    {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": [*_HARMLESS, "mode=1777"]},
]


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


def bundle(
    root: Path, image: Mapping[str, Any], command: Sequence[str], environment: Mapping[str, str]
) -> dict[str, Any]:
    """What an OCI runtime is asked to do.

    Args:
        root: The file system.
        image: `config` of the image's configuration.
        command: In the place of the image's own; the entry point stays.
        environment: Beside the image's.
    """
    user, _, group = image["User"].partition(":")
    return {
        "ociVersion": "1.0.0",
        "root": {"path": str(root), "readonly": True},
        "hostname": "moodstream",
        "process": {
            "user": {"uid": int(user), "gid": int(group)},
            "args": [*image["Entrypoint"], *(command or image["Cmd"])],
            "env": [*image["Env"], *(f"{name}={value}" for name, value in environment.items())],
            "cwd": image.get("WorkingDir") or "/",
            "noNewPrivileges": True,
            "capabilities": {},
        },
        "mounts": _MOUNTS,
        "linux": {"namespaces": [{"type": one} for one in ("pid", "mount", "ipc", "uts")]},
    }


class Container:
    """One that runs until it is stopped; `with` removes it."""

    def __init__(
        self,
        root: Path,
        image: Mapping[str, Any],
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
    ) -> None:
        self._id = f"moodstream-{uuid.uuid4().hex[:12]}"
        self._folder = Path(tempfile.mkdtemp(prefix="moodstream-container-"))
        content = bundle(root, image, command, environment)
        (self._folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
        run = [*_CRUN, "run", "--bundle", str(self._folder), self._id]
        self._child = ChildProcess("container", run, log=log)

    def __enter__(self) -> Self:
        self._child.start(self._runs)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run([*_CRUN, "delete", "--force", self._id], capture_output=True, check=False)
        self._child.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def execute(self, command: Sequence[str]) -> Ended:
        """Run a command beside its process, as a health check is run."""
        return _run([*_CRUN, "exec", self._id, *command])

    def ask_to_end(self) -> None:
        """SIGTERM to its first process, as `docker stop` does."""
        _run([*_CRUN, "kill", self._id, "SIGTERM"])

    @property
    def exit_code(self) -> int | None:
        """Of its first process; None while it runs."""
        return self._child.exit_code

    @property
    def log(self) -> str:
        """What it has written."""
        return self._child.output()

    def _runs(self) -> bool:
        return '"status": "running"' in _run([*_CRUN, "state", self._id]).stdout


def run_once(
    root: Path, image: Mapping[str, Any], command: Sequence[str], environment: Mapping[str, str]
) -> Ended:
    """Run a container to its end."""
    content = bundle(root, image, command, environment)
    with tempfile.TemporaryDirectory(prefix="moodstream-container-") as folder:
        Path(folder, "config.json").write_text(json.dumps(content), encoding="utf-8")
        return _run([*_CRUN, "run", "--bundle", folder, f"moodstream-{uuid.uuid4().hex[:12]}"])


def _run(command: Sequence[str]) -> Ended:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=_WAIT_S
    )
    return Ended(done.returncode, done.stdout, done.stderr)
