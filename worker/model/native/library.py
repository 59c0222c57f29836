"""The compiled forward pass that this processor can run, if there is one."""

from __future__ import annotations

import ctypes
import logging
import platform
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

log = logging.getLogger(__name__)

_HERE: Final = Path(__file__).parent
_CPUINFO: Final = Path("/proc/cpuinfo")


class Variant(NamedTuple):
    """One library: the same answers, to the bit, by other instructions."""

    name: str
    """Of its file, without `.so`."""
    needs: frozenset[str]
    """Flags of the processor, as Linux calls them."""


_V3: Final = frozenset({"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"})
"""Of the level x86-64-v3, for which all is compiled."""
_V4: Final = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}

_VNNI: Final = _V4 | {"avx512_vnni"}

VARIANTS: Final = (
    Variant("amx", _VNNI | {"amx_tile", "amx_int8"}),
    Variant("avx512", _VNNI),
    Variant("avx2", _V3),
)
"""The fastest first; hatch_build.py compiles each."""


def usable(flags: frozenset[str], folder: Path = _HERE) -> list[Variant]:
    """The libraries that are there and that a processor with these flags can run, the fastest first."""
    return [one for one in VARIANTS if one.needs <= flags and (folder / f"{one.name}.so").is_file()]


def processor_flags(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """What this processor can do; nothing where it is no x86-64 under Linux."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return frozenset()
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))


@cache
def library() -> ctypes.CDLL | None:
    """The fastest that this processor can run; None where there is none."""
    for variant in usable(processor_flags()):
        try:
            return load(variant)
        except OSError as error:  # made for another C library, or what the system does not let us run
            log.warning("%s.so cannot be loaded: %s", variant.name, error)
    return None


def load(variant: Variant) -> ctypes.CDLL:
    """One library, with the types of its functions.

    Raises:
        OSError: it is not there, not of this system, or the system keeps what it needs from this process.
    """
    loaded = ctypes.CDLL(str(_HERE / f"{variant.name}.so"))
    if not loaded.moodstream_allowed():
        raise OSError("the system does not let this process use its instructions")
    loaded.moodstream_open.argtypes = [ctypes.c_void_p]
    loaded.moodstream_open.restype = ctypes.c_void_p
    loaded.moodstream_close.argtypes = [ctypes.c_void_p]
    loaded.moodstream_close.restype = None
    loaded.moodstream_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    loaded.moodstream_run.restype = None
    return loaded
