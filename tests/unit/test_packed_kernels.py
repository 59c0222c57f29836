"""The Triton kernels against plain PyTorch: run by Triton's interpreter, and compiled for an H200.

Neither needs a GPU. Triton decides at import whether it interprets, so each runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="no Triton: PyTorch brings it on Linux only; run it there")

HALF = 4e-3
"""Values up to 4 in float16, rounded once."""


def run(case: str, tmp_path: Path, **environment: str) -> str:
    """Standard output of one of the functions below."""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"from tests.unit import test_packed_kernels as t; t.{case}()"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "TRITON_CACHE_DIR": str(tmp_path), **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.mark.slow
def test_interpreted_kernels_agree_with_plain_pytorch(tmp_path: Path) -> None:
    assert run("interpret", tmp_path, TRITON_INTERPRET="1").count("agrees") == 16


@pytest.mark.slow
def test_kernels_compile_for_an_h200(tmp_path: Path) -> None:
    assert run("compile_for_hopper", tmp_path, TRITON_INTERPRET="0").count("sm_90a") == 8


def interpret() -> None:
    """Every kernel in float32 and float16, with heads of usual and odd widths, padding and empty rows."""
    import torch

    for heads, head_width in ((2, 32), (3, 24)):
        for dtype, tolerance in ((torch.float32, 1e-5), (torch.float16, HALF)):
            _compare(heads, head_width, dtype, tolerance)


def _compare(heads: int, head_width: int, dtype: Any, tolerance: float) -> None:
    import numpy as np
    import torch

    from worker.model.packed import kernels, plain
    from worker.model.packed.layout import Layout, Size
    from worker.model.packed.weights import Embedding, Norm, map_tensors

    torch.manual_seed(1)
    lengths = np.array([1, 90, 3, 40, 64, 7], dtype=np.int32)
    layout = Layout(Size(int(lengths.sum()) + 30, 8), max_length=96)
    buffer = np.empty(layout.total, dtype=np.int32)
    layout.fill(buffer, np.arange(lengths.sum(), dtype=np.int32) % 50, lengths)
    packed, width = layout.views(torch.from_numpy(buffer)), heads * head_width
    norm = Norm(torch.randn(width), torch.randn(width))
    table = Embedding(torch.randn(50, width), torch.randn(96, width), norm)
    tokens = layout.size.tokens
    inputs = {
        "embed": (packed, table, 1e-5),
        "add_norm": (torch.randn(tokens, width), torch.randn(tokens, width), norm, 1e-5),
        "attention": (torch.randn(tokens, 3 * width), packed, heads),
        "first_attention": (torch.randn(8, width), torch.randn(tokens, 2 * width), packed, heads),
    }
    for name, exact in inputs.items():
        rough = map_tensors(exact, lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)
        exact_again = map_tensors(
            rough, lambda tensor: tensor.float() if tensor.is_floating_point() else tensor
        )
        found = getattr(kernels, name)(*rough)
        assert found.dtype == dtype
        expected = getattr(plain, name)(*exact_again)
        torch.testing.assert_close(found.float(), expected, rtol=tolerance, atol=tolerance)
        print(name, heads, head_width, dtype, "agrees")  # noqa: T201


def compile_for_hopper() -> None:
    """Each kernel in MiniLM's and BERT-base's shape."""
    from triton.backends.compiler import GPUTarget  # type: ignore[import-untyped]
    from triton.compiler import ASTSource  # type: ignore[import-untyped]
    from triton.compiler import compile as compile_kernel

    from worker.model.packed import kernels

    pointers = {
        "tokens": "i32",
        "scale": "fp32",
        **dict.fromkeys(("ids", "begins", "ends", "firsts"), "*i32"),
    }
    for heads, head_width in ((12, 32), (12, 64)):
        constants = {
            "width": heads * head_width,
            "eps": 1e-12,
            "rows": 4,
            "heads": heads,
            "head_width": head_width,
            "tile": 64,
            "step": 32,
        }
        for name in ("embed", "add_norm", "attention", "first_attention"):
            kernel = getattr(kernels, f"_{name}_kernel")
            block = head_width if "attention" in name else 1 << (heads * head_width - 1).bit_length()
            fixed = {
                key: value for key, value in (constants | {"block": block}).items() if key in kernel.arg_names
            }
            kinds = {
                key: "constexpr" if key in fixed else pointers.get(key, "*fp16") for key in kernel.arg_names
            }
            built = compile_kernel(
                ASTSource(fn=kernel, signature=kinds, constexprs=fixed),
                target=GPUTarget("cuda", 90, 32),
                options={"num_warps": 1 if name == "first_attention" else 4, "enable_fp_fusion": True},
            )
            assert ".local" not in built.asm["ptx"], f"{name} spills"
            print(name, "sm_90a" if "sm_90a" in built.asm["ptx"] else "?", len(built.asm["cubin"]))  # noqa: T201
