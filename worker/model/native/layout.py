"""An artefact's weights in 8 bits, where `encoder.c` looks for them: its structures, field by field."""

from __future__ import annotations

import ctypes
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.model.packed import weights as read
from worker.model.packed.config import EncoderConfig, UnsupportedModelError

LANES: Final = 16
PANEL: Final = 64
_LARGEST: Final = 127
"""Of an 8-bit weight; -128 is left out, so that weights are as exact on either side of 0."""
_CACHE_LINE: Final = 64
_ACTIVATIONS: Final = {"gelu": 0, "gelu_new": 1, "gelu_pytorch_tanh": 1, "relu": 2, "tanh": 3}


class Linear(ctypes.Structure):
    """`struct linear`."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("panels", "scale", "least", "bias")),
        ("depth", ctypes.c_int64),
        ("width", ctypes.c_int64),
    )


class Norm(ctypes.Structure):
    """`struct norm`."""

    _fields_ = (("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p))


class Layer(ctypes.Structure):
    """`struct layer`."""

    _fields_ = (
        ("qkv", Linear),
        ("out", Linear),
        ("attention_norm", Norm),
        ("up", Linear),
        ("down", Linear),
        ("output_norm", Norm),
    )


class Model(ctypes.Structure):
    """`struct model`."""

    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in ("width", "inner", "heads", "layers", "outputs", "most", "activation", "squash")
        ),
        ("eps", ctypes.c_float),
        ("words", ctypes.c_void_p),
        ("positions", ctypes.c_void_p),
        ("embedding_norm", Norm),
        ("layer", ctypes.POINTER(Layer)),
        *((name, ctypes.c_void_p) for name in ("dense", "dense_bias", "final", "final_bias")),
    )


class Job(ctypes.Structure):
    """`struct job`."""

    arrays: tuple[NDArray[Any], ...]
    """What it points to, alive as long as it: a thread may compute on when its asker was interrupted."""

    _fields_ = (
        ("ids", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("tiles", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("logits", ctypes.c_void_p),
        ("next", ctypes.c_int64),
    )


class EightBits(NamedTuple):
    """A matrix as whole numbers of 8 bits: weight[i] is nearly `scale[i] * whole[i]`."""

    whole: NDArray[np.int8]
    """(out, in)"""
    scale: NDArray[np.float32]
    """(out,)"""


def in_eight_bits(weight: NDArray[np.float32]) -> EightBits:
    """Round each row to whole numbers up to 127, with a scale of its own."""
    largest = np.abs(weight).max(axis=1)
    scale = np.where(largest > 0, largest / _LARGEST, 1).astype(np.float32)
    return EightBits(np.rint(weight / scale[:, None]).astype(np.int8), scale)


def panels(whole: NDArray[np.int8]) -> NDArray[np.int8]:
    """(out, in) as panels of 64 outputs, four neighbouring inputs of each together: (out/64, in/4, 64, 4)."""
    out, width = whole.shape
    return np.ascontiguousarray(whole.reshape(out // PANEL, PANEL, width // 4, 4).transpose(0, 2, 1, 3))


def aligned(array: NDArray[Any]) -> NDArray[Any]:
    """A copy that begins where a line of the cache does: a register's load then touches one, never two."""
    room = np.empty(array.nbytes + _CACHE_LINE, dtype=np.uint8)
    start = -room.ctypes.data % _CACHE_LINE
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class Memory:
    """A model in memory: its structure, and the arrays that this points to."""

    def __init__(self, config: EncoderConfig, weights: read.Weights, most: int) -> None:
        """`most`: tokens of a tile, no fewer than of the longest row.

        Raises:
            UnsupportedModelError: the network's shape fills no registers; the message says what of it.
        """
        _check(config, weights.outputs)
        self._kept: list[NDArray[Any]] = []
        self._layers = (Layer * config.layers)(*map(self._layer, weights.layers))
        head = weights.head
        self.model = Model(
            width=config.width,
            inner=config.inner,
            heads=config.heads,
            layers=config.layers,
            outputs=weights.outputs,
            most=most,
            activation=_ACTIVATIONS[config.activation],
            # DistilBERT's classifier has a ReLU where the others have tanh.
            squash=_ACTIVATIONS["relu" if config.family == "distilbert" else "tanh"],
            eps=config.eps,
            words=self._at(weights.embedding.words.astype(np.float16)),
            positions=self._at(weights.embedding.positions),
            embedding_norm=self._norm(weights.embedding.norm),
            layer=self._layers,
            dense=self._at(head.dense.weight.T),
            dense_bias=self._at(head.dense.bias),
            final=self._at(_filled_up(head.final.weight).T),
            final_bias=self._at(_filled_up(head.final.bias)),
        )

    def _at(self, array: NDArray[Any]) -> int:
        kept = aligned(array)
        self._kept.append(kept)
        return kept.ctypes.data

    def _norm(self, norm: read.Norm) -> Norm:
        return Norm(self._at(norm.weight), self._at(norm.bias))

    def _linear(self, linear: read.Linear) -> Linear:
        whole, scale = in_eight_bits(linear.weight)
        least = scale * whole.sum(axis=1, dtype=np.int64).astype(np.float32)
        width, depth = whole.shape
        arrays = (panels(whole), scale, least, linear.bias)
        return Linear(*map(self._at, arrays), depth, width)

    def _layer(self, layer: read.Layer) -> Layer:
        return Layer(
            self._linear(layer.qkv),
            self._linear(layer.out),
            self._norm(layer.attention_norm),
            self._linear(layer.up),
            self._linear(layer.down),
            self._norm(layer.output_norm),
        )


def _check(config: EncoderConfig, outputs: int) -> None:
    for what, size, multiple in (
        ("hidden_size", config.width, PANEL),
        ("intermediate_size", config.inner, PANEL),
        ("the width of an attention head", config.head_width, LANES),
    ):
        if size % multiple:
            raise UnsupportedModelError(f"{what} is {size}, no multiple of {multiple}")
    if outputs > LANES:
        raise UnsupportedModelError(f"{outputs} logits are more than {LANES}")


def _filled_up(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """With rows of zeros up to 16."""
    return np.concatenate([array, np.zeros((LANES - len(array), *array.shape[1:]), np.float32)])
