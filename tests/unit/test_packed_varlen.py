"""How PyTorch's own kernel is called: shapes by PyTorch's word, the answer by a stand-in in plain PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch._subclasses.fake_tensor import FakeTensorMode

from worker.model.packed import plain
from worker.model.packed.layout import Layout, Packed, Size

varlen = pytest.importorskip(
    "worker.model.packed.varlen",
    reason="PyTorch before 2.10: pip install 'torch>=2.10'",
    exc_type=ImportError,
)

HEADS, WIDTH = 2, 32
LENGTHS = np.array([3, 1, 20, 7], dtype=np.int32)
LAYOUT = Layout(Size(tokens=64, rows=8), max_length=20)


@pytest.fixture
def packed() -> Packed:
    buffer = np.empty(LAYOUT.total, dtype=np.int32)
    LAYOUT.fill(buffer, np.ones(LENGTHS.sum(), dtype=np.int32), LENGTHS)
    return LAYOUT.views(torch.from_numpy(buffer))


def row_by_row(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_bounds: torch.Tensor,
    key_bounds: torch.Tensor,
    *longest: int,
) -> torch.Tensor:
    """What varlen_attn is documented to do; it has no implementation on the CPU."""
    assert query_bounds.dtype == key_bounds.dtype == torch.int32
    assert longest == (int(query_bounds.diff().max()), LAYOUT.max_length)
    assert int(key_bounds.diff().max()) <= LAYOUT.max_length
    found = torch.zeros_like(query)
    for row in range(len(query_bounds) - 1):
        mine, seen = (slice(*bounds[row : row + 2].tolist()) for bounds in (query_bounds, key_bounds))
        if seen.start < seen.stop:
            q, k, v = (part.transpose(0, 1) for part in (query[mine], key[seen], value[seen]))
            found[mine] = F.scaled_dot_product_attention(q, k, v).transpose(0, 1)
    return found


def test_every_token(packed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", row_by_row)
    qkv, live = torch.randn(64, 3 * WIDTH), int(LENGTHS.sum())

    found = varlen.attention(qkv, packed, HEADS)

    torch.testing.assert_close(found[:live], plain.attention(qkv, packed, HEADS)[:live])
    assert found.isfinite().all()


def test_first_tokens(packed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", row_by_row)
    query, kv, live = torch.randn(8, WIDTH), torch.randn(64, 2 * WIDTH), len(LENGTHS)

    found = varlen.first_attention(query, kv, packed, HEADS)

    torch.testing.assert_close(found[:live], plain.first_attention(query, kv, packed, HEADS)[:live])
    assert found.isfinite().all()


def test_pytorch_takes_the_call() -> None:
    with FakeTensorMode():
        half = torch.float16
        packed = LAYOUT.views(torch.zeros(LAYOUT.total, dtype=torch.int32))
        every = varlen.attention(torch.zeros(64, 3 * WIDTH, dtype=half), packed, HEADS)
        kv = torch.zeros(64, 2 * WIDTH, dtype=half)
        first = varlen.first_attention(torch.zeros(8, WIDTH, dtype=half), kv, packed, HEADS)

    assert (every.shape, first.shape) == ((64, WIDTH), (8, WIDTH))
