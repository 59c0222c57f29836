"""Compiles what is written in C into the wheel: `worker/model/native/*.so` and `worker/trends/native/*.so`.

The model's forward pass for CPUs, and the cutting of texts into tokens. With the machine's own compiler (CC,
cc, gcc or clang), and with Zig's where none will do. On other systems than Linux on x86-64 nothing is
compiled: OpenVINO serves there, and Python cuts.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_SOURCE = Path("worker/model/native/encoder.c")
_ALWAYS = (
    *("-O3", "-std=c11", "-shared", "-fPIC", "-fno-math-errno", "-s"),
    "-ffp-contract=off",  # else each compiler fuses what it likes, and answers differ in their last bits
)
_VARIANTS = {
    "avx2": ("-march=x86-64-v3",),
    "avx512": ("-march=x86-64-v4", "-mavx512vnni"),
    "amx": ("-march=x86-64-v4", "-mavx512vnni", "-mamx-tile", "-mamx-int8"),
}
"""As `worker.model.native.library` knows them."""
_WORDS = Path("worker/trends/native/words.c")
_ZIG = {
    "avx2": ("-march=x86_64_v3", "-fno-sanitize=undefined"),
    "avx512": ("-march=x86_64_v4+avx512vnni", "-fno-sanitize=undefined"),
    "amx": ("-march=x86_64_v4+avx512vnni+amx_tile+amx_int8", "-fno-sanitize=undefined"),
}
"""The same, in its words."""
_ZIG_PLAIN = ("-march=x86_64", "-fno-sanitize=undefined")
"""For any processor, as other compilers do unasked."""


class NativeHook(BuildHookInterface):
    """Called by hatchling for wheels, editable ones too."""

    def dependencies(self) -> list[str]:
        if not _wanted() or _own_compiler(Path(self.root) / _SOURCE):
            return []
        return ["ziglang>=0.14"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if not _wanted():
            return
        source = Path(self.root) / _SOURCE
        own = _own_compiler(source)
        compiler = own or [sys.executable, "-m", "ziglang", "cc"]
        for name, flags in (_VARIANTS if own else _ZIG).items():
            self._compile([*compiler, *flags], source, source.with_name(f"{name}.so"))
        words = Path(self.root) / _WORDS
        self._compile([*compiler, *(() if own else _ZIG_PLAIN)], words, words.with_suffix(".so"))
        build_data["artifacts"] += [f"/{made.parent}/*.so" for made in (_SOURCE, _WORDS)]
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def _compile(self, compiler: list[str], source: Path, made: Path) -> None:
        unfinished = made.with_name(f".{made.stem}.{os.getpid()}.so")
        try:
            subprocess.run(  # noqa: S603
                [*compiler, *_ALWAYS, "-o", str(unfinished), str(source)],
                check=True,
                capture_output=True,
                text=True,
            )
            unfinished.replace(made)  # at once: a process that runs keeps the old one
        except subprocess.CalledProcessError as failed:
            unfinished.unlink(missing_ok=True)
            made.unlink(missing_ok=True)
            self.app.display_warning(f"{made.name} is left out: {failed.stderr}")


def _wanted() -> bool:
    return sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64")


def _own_compiler(source: Path) -> list[str] | None:
    """The first that understands the source: one may lack headers, or be older than the instructions."""
    named = os.environ.get("CC", "").split()
    found = [[path] for path in map(shutil.which, ("cc", "gcc", "clang")) if path]
    check = ("-fsyntax-only", *_ALWAYS, *_VARIANTS["avx512"], str(source))
    for compiler in [named, *found] if named else found:
        try:
            subprocess.run([*compiler, *check], check=True, capture_output=True)  # noqa: S603
        except (OSError, subprocess.CalledProcessError):
            continue
        return compiler
    return None
