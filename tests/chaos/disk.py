"""A disk that can be made full: a small file system in memory, for one broker's log directory."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

_LIMIT = "size=4g"
"""Only what is written takes memory."""
_ROOM_KB = 64
_TRIES = 20
_GUARD = 'read -r _; umount -l "$0"'


class SmallDisk:
    """A tmpfs; needs the right to mount. Unmounted when this process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        _mount("-t", "tmpfs", "-o", _LIMIT, "moodstream-chaos", str(folder))
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, str(folder)], stdin=subprocess.PIPE, start_new_session=True
        )

    def fill(self) -> None:
        """No room for more than some kilobytes."""
        for _ in range(_TRIES):
            found = os.statvfs(self.folder)
            used_kb = (found.f_blocks - found.f_bfree) * found.f_frsize // 1024
            with suppress(subprocess.CalledProcessError):  # more was written meanwhile
                _mount("-o", f"remount,size={used_kb + _ROOM_KB}k", str(self.folder))
                return
        raise OSError(f"{self.folder} grows faster than it can be measured")

    def relieve(self) -> None:
        """There is room again."""
        _mount("-o", f"remount,{_LIMIT}", str(self.folder))

    def close(self) -> None:
        """Unmount."""
        self._guard.communicate()  # closes its pipe


def cannot_mount() -> str | None:
    """Why no file system can be mounted here; None where one can."""
    if os.geteuid() != 0:
        return "mounting a file system needs root"
    probe = Path(f"/tmp/moodstream-chaos-probe-{os.getpid()}")
    try:
        probe.mkdir()
        _mount("-t", "tmpfs", "-o", "size=64k", "moodstream-chaos", str(probe))
        subprocess.run(["umount", str(probe)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no file system can be mounted: {error}"
    finally:
        probe.rmdir()
    return None


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True, text=True)
