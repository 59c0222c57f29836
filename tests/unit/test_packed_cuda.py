"""Graphs and slots: on a GPU where there is one, else over a pretended one that records nothing."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.test_packed_parity import LONGEST, OUTPUTS, VOCABULARY, bert, packed, some_rows, stir
from worker.model.packed import cuda
from worker.model.packed import load as loader
from worker.model.packed.config import EncoderConfig, UnsupportedModelError, read_config
from worker.model.packed.cuda import CudaSlot, record
from worker.model.packed.encoder import Encoder
from worker.model.packed.flow import PackedModel
from worker.model.packed.layout import Size, bucket_sizes
from worker.model.packed.load import Options, load
from worker.model.packed.weights import Weights, read_weights

REAL = torch.cuda.is_available()
DEVICE = torch.device("cuda" if REAL else "cpu")
BUCKETS = (128, 256, 512)


class Pretended:
    """A stream and an event at once: everything is done when it is asked for."""

    def __init__(self, *_: object, **__: object) -> None:
        self.recorded = 0

    def record(self) -> None:
        self.recorded += 1

    def wait_event(self, event: Pretended) -> None:
        assert event.recorded

    def synchronize(self) -> None: ...

    def elapsed_time(self, _: object) -> float:
        return 1.0


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    if REAL:
        return
    for name in ("Stream", "Event"):
        monkeypatch.setattr(torch.cuda, name, Pretended)
    for name in ("stream", "device"):
        monkeypatch.setattr(torch.cuda, name, lambda _: nullcontext())
    for name in ("synchronize", "graph_pool_handle", "get_device_name"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    monkeypatch.setattr(cuda, "capture", pretended_capture)
    monkeypatch.setattr(cuda, "_pinned", lambda shape, dtype: torch.empty(shape, dtype=dtype))


def pretended_capture(work: Any, _: object, __: object = None) -> Any:
    work()
    return work


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, EncoderConfig, Weights]:
    folder = tmp_path_factory.mktemp("bert")
    stir(bert()).save_pretrained(folder)
    config = read_config(folder / "config.json")
    return folder, config, read_weights(folder / "model.safetensors", config)


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("slots", [1, 3])
def test_many_chunks_through_few_slots(
    network: tuple[Path, EncoderConfig, Weights], slots: int, graphs: bool
) -> None:
    folder, config, weights = network
    encoder = Encoder(config, weights.to(DEVICE, torch.float32))
    recorded = record(encoder, bucket_sizes(BUCKETS), LONGEST, DEVICE, graphs=graphs)
    model = PackedModel(
        [CudaSlot(recorded) for _ in range(slots)],
        limit=recorded.largest,
        outputs=OUTPUTS,
        vocabulary=VOCABULARY,
        max_length=LONGEST,
    )
    for seed in range(3):  # Static memory holds what the call before left in it.
        rows = some_rows(np.random.default_rng(seed).integers(1, LONGEST + 1, 90).tolist(), seed)

        found = model.logits(rows)

        np.testing.assert_allclose(found, packed(folder).logits(rows), rtol=0, atol=1e-4)
    model.close()


def test_the_smallest_bucket_of_nearly_the_best_speed(
    network: tuple[Path, EncoderConfig, Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, config, weights = network
    rates = {4096: 50.0, 6144: 98.0, 8192: 100.0, 12288: 80.0}
    monkeypatch.setattr(cuda.Graphs, "tokens_per_second", lambda _, size: rates[size.tokens])
    encoder = Encoder(config, weights.to(DEVICE, torch.float32))

    recorded = record(encoder, bucket_sizes([512, *rates]), LONGEST, DEVICE)

    assert recorded.largest == Size(6144, 768)
    assert [size.tokens for size in recorded.sizes] == [512, 4096, 6144]


def test_without_graphs_it_goes_on_more_slowly(
    network: tuple[Path, EncoderConfig, Weights],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(cuda, "capture", refused)
    encoder = Encoder(network[1], network[2].to(DEVICE, torch.float32))

    recorded = record(encoder, bucket_sizes(BUCKETS), LONGEST, DEVICE)

    assert recorded.largest.tokens == BUCKETS[-1]
    assert "no CUDA graphs here" in caplog.text


class Shifted:
    """A model whose logits are off."""

    def __init__(self, exact: PackedModel, shift: float) -> None:
        self.logits = lambda rows: exact.logits(rows) + np.float32(shift)

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("half", "bfloat", "expected"), [(0.01, 9.0, "float16"), (np.nan, 0.01, "bfloat16"), (9.0, np.nan, None)]
)
def test_half_precision_must_agree_with_float32(
    network: tuple[Path, EncoderConfig, Weights],
    monkeypatch: pytest.MonkeyPatch,
    half: float,
    bfloat: float,
    expected: str | None,
) -> None:
    folder, exact = network[0], packed(network[0])
    models = {torch.float16: Shifted(exact, half), torch.bfloat16: Shifted(exact, bfloat)}
    monkeypatch.setattr(loader, "_on_cuda", lambda _, dtype, *__: models[dtype])

    def loaded() -> Any:
        device = torch.device("cuda")
        return load(folder / "config.json", folder / "model.safetensors", max_length=LONGEST, device=device)

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    if expected is None:
        with pytest.raises(UnsupportedModelError, match="far from those in float32"):
            loaded()
    else:
        assert loaded() is models[getattr(torch, expected)]


def test_rows_longer_than_every_bucket(network: tuple[Path, EncoderConfig, Weights]) -> None:
    folder = network[0]

    with pytest.raises(UnsupportedModelError, match="rows of 128 tokens fit no bucket: the largest has 64"):
        load(
            folder / "config.json",
            folder / "model.safetensors",
            max_length=LONGEST,
            device=torch.device("cuda"),
            options=Options(buckets=(32, 64)),
        )
