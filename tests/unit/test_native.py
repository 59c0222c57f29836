"""Our own forward pass on the CPU: against the arithmetic that it stands for, written out in numpy."""

from __future__ import annotations

import ctypes
import hashlib
import math
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.unit.test_packed_parity import OUTPUTS, made, padded, some_rows, stir
from worker.model.artifact import Artifact, Manifest, load, write_manifest
from worker.model.bundled import bundled_model
from worker.model.native import library as libraries
from worker.model.native.backend import NativeBackend, cut
from worker.model.native.layout import Memory, aligned, in_eight_bits, panels
from worker.model.packed.config import EncoderConfig, UnsupportedModelError, read_config
from worker.model.packed.weights import Linear, Norm, Weights, read_weights

pytestmark = pytest.mark.usefixtures("one_thread")

LONGEST = 96
GOLDEN = {"default@2026.11.24": "bdd28ba4ebe9205dd427a4048f92461e1278d18efbfd84f4f472c0620268ca48"}
"""SHA-256 of the bundled model's logits for some rows."""
Array = NDArray[np.float64]

_SHAPE = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 192,
    "max_position_embeddings": LONGEST + 2,
}
NETWORKS: dict[str, Callable[[], Any]] = {
    "bert": lambda: made("Bert", **_SHAPE),
    "bert, tanh": lambda: made("Bert", **(_SHAPE | {"hidden_act": "gelu_new", "num_attention_heads": 8})),
    "roberta": lambda: made("Roberta", **(_SHAPE | {"type_vocab_size": 1, "layer_norm_eps": 1e-5})),
    "distilbert": lambda: made(
        "DistilBert", dim=64, n_layers=2, n_heads=2, hidden_dim=256, max_position_embeddings=LONGEST
    ),
    "distilbert, relu": lambda: made(
        "DistilBert", dim=64, n_layers=1, n_heads=1, hidden_dim=64, max_position_embeddings=LONGEST,
        activation="relu",
    ),
}  # fmt: skip


def variants() -> list[libraries.Variant]:
    """Those that this machine can run. hatch_build.py compiles them when the project is installed."""
    return libraries.usable(libraries.processor_flags())


@pytest.fixture(params=[one.name for one in variants()] or [""])
def compiled(request: pytest.FixtureRequest) -> ctypes.CDLL:
    """Each that this machine can run: of two machines with other ones, `GOLDEN` says that they agree."""
    if not request.param:
        pytest.skip(
            "our forward pass is not compiled here: it takes Linux on x86-64 with AVX2, and `make install`"
        )
    return libraries.load(next(one for one in libraries.VARIANTS if one.name == request.param))


@pytest.fixture(scope="module", params=list(NETWORKS))
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Artifact]:
    """A network with random weights, and its artefact."""
    network = stir(NETWORKS[request.param]())
    return network, artefact(network, tmp_path_factory.mktemp("network"))


def artefact(network: Any, folder: Path) -> Artifact:
    network.save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    given = load(bundled_model()).manifest
    values = {name: getattr(given, name) for name in given.__struct_fields__}
    return write_manifest(folder, Manifest(**(values | {"max_length": LONGEST, "files": {}})))


def eight_bit_logits(config: EncoderConfig, weights: Weights, row: list[int]) -> Array:
    """What `encoder.c` computes of one row, in double precision between its products."""
    activate, squash = _functions(config)
    table = weights.embedding
    x = table.words.astype(np.float16)[row].astype(np.float64) + table.positions[: len(row)]
    x = _norm(x, table.norm, config.eps)
    for layer in weights.layers:
        qkv = _product(x, layer.qkv).reshape(len(row), 3, config.heads, -1)
        query, key, value = qkv.transpose(1, 2, 0, 3)
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(config.head_width)
        shares = np.exp(scores - scores.max(axis=2, keepdims=True))
        shares /= shares.sum(axis=2, keepdims=True)
        context = (shares @ value).transpose(1, 0, 2).reshape(len(row), -1)
        x = _norm(x + _product(context, layer.out), layer.attention_norm, config.eps)
        x = _norm(x + _product(activate(_product(x, layer.up)), layer.down), layer.output_norm, config.eps)
    dense, final = weights.head.dense, weights.head.final
    answer: Array = squash(dense.weight @ x[0] + dense.bias) @ final.weight.T + final.bias
    return answer


def _functions(config: EncoderConfig) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    def relu(x: Array) -> Array:
        return np.maximum(x, 0)

    def gelu(x: Array) -> Array:
        found: Array = x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2
        return found

    def gelu_tanh(x: Array) -> Array:
        found: Array = x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
        return found

    activate = {"gelu": gelu, "gelu_new": gelu_tanh, "relu": relu}[config.activation]
    return activate, relu if config.family == "distilbert" else np.tanh


def _norm(x: Array, norm: Norm, eps: float) -> Array:
    away = x - x.mean(axis=1, keepdims=True)
    found: Array = away / np.sqrt((away**2).mean(axis=1, keepdims=True) + eps) * norm.weight + norm.bias
    return found


def _product(x: Array, by: Linear) -> Array:
    low, high = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
    step = np.where(high > low, (high - low) / 255, 1)
    weight = in_eight_bits(by.weight)
    found: Array = (low + step * np.rint((x - low) / step)) @ (
        weight.whole * weight.scale[:, None]
    ).T + by.bias
    return found


def test_the_logits_are_those_of_the_arithmetic_written_out(
    saved: tuple[Any, Artifact], compiled: ctypes.CDLL
) -> None:
    """Where a number lies midway between two steps, single and double precision go to different sides.

    With erf, of which we take a polynomial, that is so in most rows, and else in few: these are exact.
    """
    network, artifact = saved
    rows = some_rows([1, 2, 15, 16, 17, 31, 33, 48, 64, 95, 96])
    config = read_config(artifact.config_path)
    weights = read_weights(artifact.safetensors_path, config)
    expected = np.stack([eight_bit_logits(config, weights, row) for row in rows])

    found = NativeBackend(artifact, compiled, streams=1).logits(rows)

    assert expected.std(axis=0).min() > 0.1
    off, lost_to_eight_bits = np.abs(found - expected), np.abs(padded(network, rows) - expected)
    assert off.mean() < 0.5 * lost_to_eight_bits.mean()
    assert off.max() < lost_to_eight_bits.max()
    if config.activation != "gelu":
        assert np.median(off) < 1e-5


def test_they_are_near_those_of_transformers(saved: tuple[Any, Artifact], compiled: ctypes.CDLL) -> None:
    network, artifact = saved
    rows = some_rows(np.random.default_rng(1).integers(3, LONGEST + 1, 60).tolist())
    expected = padded(network, rows)

    found = NativeBackend(artifact, compiled, streams=2).logits(rows)

    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.995
    assert np.abs(found - expected).mean() < 0.05 * np.abs(expected).mean()


def test_an_answer_is_the_same_to_the_bit_whatever_else_is_asked(
    saved: tuple[Any, Artifact], compiled: ctypes.CDLL
) -> None:
    _, artifact = saved
    rows = some_rows(np.random.default_rng(2).integers(1, LONGEST + 1, 70).tolist())
    together = NativeBackend(artifact, compiled, streams=1).logits(rows)
    for streams, size in ((1, 1), (2, 3), (3, 16), (5, 70)):
        backend = NativeBackend(artifact, compiled, streams=streams)
        parts = [backend.logits(rows[start : start + size]) for start in range(0, len(rows), size)]
        np.testing.assert_array_equal(np.concatenate(parts), together)
        backend.close()


def test_what_an_earlier_call_left_in_memory_changes_nothing(
    saved: tuple[Any, Artifact], compiled: ctypes.CDLL
) -> None:
    """Rows and keys are read up to whole registers and tiles: what stands there (NaN) comes to nothing."""
    _, artifact = saved
    backend = NativeBackend(artifact, compiled, streams=1)
    size_of = ctypes.CDLL(None).malloc_usable_size
    size_of.argtypes, size_of.restype = [ctypes.c_void_p], ctypes.c_size_t
    [space] = backend._spaces
    memory = ctypes.cast(space, ctypes.POINTER(ctypes.c_void_p))[0]
    assert memory is not None
    for length in (1, 2, 15, 16, 17, 40, LONGEST):
        rows = some_rows([length, 3, length])
        expected = backend.logits(rows)
        ctypes.memset(memory, 0xFF, size_of(memory))
        np.testing.assert_array_equal(backend.logits(rows), expected)


@pytest.fixture
def bundled(compiled: ctypes.CDLL) -> Iterator[NativeBackend]:
    backend = NativeBackend(load(bundled_model()), compiled, streams=2)
    yield backend
    backend.close()


def test_it_is_the_same_to_the_bit_on_every_machine(bundled: NativeBackend) -> None:
    """By whichever instructions and compiler. A new bundled model gets a hash of its own."""
    rng = np.random.default_rng(5)
    rows = [rng.integers(0, 30_522, length).tolist() for length in range(1, 129)]
    assert (
        hashlib.sha256(bundled.logits(rows).tobytes()).hexdigest() == GOLDEN[load(bundled_model()).full_name]
    )


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([[101, 102], []], "row 1 has 0 tokens: the model takes 1 to 128"),
        ([[101] * 129], "row 0 has 129 tokens"),
        ([[101, 30_522]], "a token id is not in 0 to 30521"),
        ([[101, -1]], "a token id is not in 0 to 30521"),
    ],
)
def test_what_would_read_other_memory_is_refused(
    bundled: NativeBackend, rows: list[list[int]], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        bundled.logits(rows)
    assert bundled.logits([[101, 102]]).shape == (1, OUTPUTS)


def test_no_rows_and_no_model(bundled: NativeBackend) -> None:
    assert bundled.logits([]).shape == (0, OUTPUTS)
    bundled.close()
    with pytest.raises(ValueError, match="the model is closed"):
        bundled.logits([[101, 102]])


@given(st.lists(st.integers(1, 128), min_size=1, max_size=400), st.integers(1, 9))
def test_tiles_are_whole_rows_and_never_too_large(lengths: list[int], cores: int) -> None:
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    tiles = cut(starts, cores)

    assert tiles[0] == 0
    assert tiles[-1] == len(lengths)
    assert (np.diff(tiles) > 0).all()
    assert np.diff(starts[tiles]).max() <= 256 + 128


def test_little_work_for_two_is_cut_into_halves() -> None:
    starts = np.arange(8, dtype=np.int64) * 25
    assert cut(starts, 2).tolist() == [0, 4, 7]


def test_the_last_tiles_are_small_so_that_a_core_that_is_late_holds_up_nobody() -> None:
    starts = np.arange(401, dtype=np.int64) * 25

    tokens = np.diff(starts[cut(starts, 2)])

    assert tokens[:-10].min() > 200
    assert tokens[-10:].max() < 103 + 25
    assert len(tokens) % 2 == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden_size": 96}, "hidden_size is 96, no multiple of 64"),
        ({"intermediate_size": 100}, "intermediate_size is 100, no multiple of 64"),
        ({"num_attention_heads": 16}, "the width of an attention head is 8, no multiple of 16"),
        ({"num_labels": 17}, "17 logits are more than 16"),
    ],
)
def test_a_shape_that_fills_no_registers_is_refused(
    tmp_path: Path, changes: dict[str, int], reason: str
) -> None:
    shape = _SHAPE | changes
    labels = shape.pop("num_labels", OUTPUTS)
    network = made("Bert", **shape)
    if labels != OUTPUTS:
        network.classifier.weight.data = network.classifier.weight.data.repeat(3, 1)[:labels]
        network.classifier.bias.data = network.classifier.bias.data.repeat(3)[:labels]
    network.save_pretrained(tmp_path)
    config = read_config(tmp_path / "config.json")
    with pytest.raises(UnsupportedModelError, match=reason):
        Memory(config, read_weights(tmp_path / "model.safetensors", config), most=256)


def test_eight_bits_are_within_half_a_step_and_rows_of_zeros_stay() -> None:
    weight = np.random.default_rng(4).normal(size=(64, 32)).astype(np.float32)
    weight[3] = 0
    whole, scale = in_eight_bits(weight)
    assert np.abs(whole).max() == 127
    assert (np.abs(whole * scale[:, None] - weight) <= 0.5001 * scale[:, None]).all()
    assert not whole[3].any()


def test_a_panel_holds_four_inputs_of_each_output_side_by_side() -> None:
    whole = np.arange(128 * 8, dtype=np.int16).reshape(128, 8).astype(np.int8)
    packed = panels(whole)
    assert packed.shape == (2, 2, 64, 4)
    np.testing.assert_array_equal(packed[1, 0, 5], whole[64 + 5, :4])
    np.testing.assert_array_equal(packed[0, 1, 63], whole[63, 4:])


@pytest.mark.parametrize("shape", [(3,), (7, 5), (2, 5, 64, 4)])
def test_arrays_begin_where_a_cache_line_does(shape: tuple[int, ...]) -> None:
    for size in (np.int8, np.float32):
        array = np.arange(math.prod(shape)).astype(size).reshape(shape)
        found = aligned(array.T).T
        assert found.T.ctypes.data % 64 == 0
        assert found.dtype == size
        np.testing.assert_array_equal(found, array)


def test_the_fastest_that_the_processor_can_run(tmp_path: Path) -> None:
    amx, avx512, avx2 = libraries.VARIANTS
    for one in libraries.VARIANTS:
        (tmp_path / f"{one.name}.so").touch()
    assert libraries.usable(amx.needs, tmp_path) == [amx, avx512, avx2]
    assert libraries.usable(avx512.needs, tmp_path) == [avx512, avx2]
    assert libraries.usable(avx512.needs - {"avx512_vnni"}, tmp_path) == [avx2]
    assert libraries.usable(frozenset({"sse2"}), tmp_path) == []
    (tmp_path / "avx512.so").unlink()
    assert libraries.usable(avx512.needs, tmp_path) == [avx2]


def test_a_library_that_cannot_be_loaded_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def load(variant: libraries.Variant) -> ctypes.CDLL:
        if variant == libraries.VARIANTS[0]:
            raise OSError("not for this C library")
        return ctypes.CDLL(None)

    monkeypatch.setattr(libraries, "usable", lambda _: list(libraries.VARIANTS))
    monkeypatch.setattr(libraries, "load", load)
    assert libraries.library.__wrapped__() is not None
    assert "amx.so cannot be loaded: not for this C library" in caplog.text
    monkeypatch.setattr(libraries, "usable", lambda _: [libraries.VARIANTS[0]])
    assert libraries.library.__wrapped__() is None


def test_a_library_that_the_system_does_not_allow_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an old kernel, or a sandbox, does with the registers of AMX."""

    class Refused:
        def __init__(self, path: str) -> None:
            self.moodstream_allowed = lambda: 0

    monkeypatch.setattr(ctypes, "CDLL", Refused)
    with pytest.raises(OSError, match="does not let this process use its instructions"):
        libraries.load(libraries.VARIANTS[0])


def test_what_linux_says_of_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(
        "processor\t: 0\nflags\t\t: fpu avx2 fma\n\nprocessor\t: 1\nflags\t\t: fpu\n", encoding="ascii"
    )
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert libraries.processor_flags(told) == {"fpu", "avx2", "fma"}
    assert libraries.processor_flags(tmp_path / "none") == frozenset()
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert libraries.processor_flags(told) == frozenset()


def test_what_is_compiled_is_what_is_looked_for() -> None:
    """hatch_build.py cannot import what it builds."""
    text = (Path(__file__).parents[2] / "hatch_build.py").read_text(encoding="utf-8")
    for one in libraries.VARIANTS:
        assert f'"{one.name}": (' in text


def test_serving_on_a_cpu_loads_neither_torch_nor_openvino() -> None:
    """They are 500 and 100 MB of memory."""
    program = (
        "import sys; from worker.model.artifact import load; from worker.model.backend import make;"
        "from worker.model.bundled import bundled_model; from worker.model.native.library import library;"
        "name = make(load(bundled_model())).name; print(name, {'torch', 'openvino'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    if libraries.library() is None:
        pytest.skip("our forward pass is not compiled here: Linux on x86-64, `make install`")
    assert done.stdout.split() == ["native", "set()"]
