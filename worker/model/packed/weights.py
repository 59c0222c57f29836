"""`model.safetensors` as transformers writes it, in the shapes that the packed forward multiplies by.

Query, key and value become one matrix (one product instead of three), and the embedding of token type 0,
which every token of a classifier has, is added to each position.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import deserialize, safe_open

from worker.model.packed.config import EncoderConfig, Family, UnsupportedModelError

if TYPE_CHECKING:
    import torch

Tensor: TypeAlias = Any
"""numpy's, in float32, as read; PyTorch's once it was moved to a device (`Weights.to`)."""


class Linear(NamedTuple):
    """y = x @ weight.T + bias."""

    weight: Tensor
    """(out, in)"""
    bias: Tensor
    """(out,)"""


class Norm(NamedTuple):
    """Scale and shift of a LayerNorm, both (H,)."""

    weight: Tensor
    bias: Tensor


class Embedding(NamedTuple):
    """Tables of words (vocabulary, H) and positions (max_length, H), and the norm of their sum."""

    words: Tensor
    positions: Tensor
    norm: Norm


class Layer(NamedTuple):
    """One layer: x = norm(x + attention(x)), then norm(x + down(activation(up(x))))."""

    qkv: Linear
    """(3H, H): query above key above value."""
    out: Linear
    """(H, H)"""
    attention_norm: Norm
    up: Linear
    """(I, H)"""
    down: Linear
    """(H, I)"""
    output_norm: Norm


class Head(NamedTuple):
    """The classifier over the first token: final(squash(dense(x)))."""

    dense: Linear
    """(H, H)"""
    final: Linear
    """(outputs, H)"""


@dataclass(frozen=True)
class Weights:
    """Everything learned."""

    embedding: Embedding
    layers: tuple[Layer, ...]
    head: Head

    @property
    def outputs(self) -> int:
        """How many logits a row has."""
        return int(self.head.final.weight.shape[0])

    def to(self, device: torch.device, dtype: torch.dtype) -> Weights:
        """The same as PyTorch's, on a device in a precision."""
        import torch

        def moved(tensor: Tensor) -> torch.Tensor:
            return torch.as_tensor(tensor).to(device=device, dtype=dtype).contiguous()

        return Weights(*(map_tensors(part, moved) for part in (self.embedding, self.layers, self.head)))


def map_tensors(node: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nest of tuples with every tensor changed, and all else as it is."""
    if hasattr(node, "shape"):
        return change(node)
    if not isinstance(node, tuple):
        return node
    changed = (map_tensors(part, change) for part in node)
    return type(node)(*changed) if hasattr(node, "_fields") else tuple(changed)


class _Names(NamedTuple):
    """How a family's checkpoint calls its parts; `{}` is the layer's number."""

    base: str
    layer: str
    query: str
    key: str
    value: str
    out: str
    attention_norm: str
    up: str
    down: str
    output_norm: str
    dense: str
    final: str


def _bert_names(base: str, dense: str, final: str) -> _Names:
    return _Names(
        base=base,
        layer=f"{base}.encoder.layer.{{}}",
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        out="attention.output.dense",
        attention_norm="attention.output.LayerNorm",
        up="intermediate.dense",
        down="output.dense",
        output_norm="output.LayerNorm",
        dense=dense,
        final=final,
    )


_NAMES: Final[dict[Family, _Names]] = {
    "bert": _bert_names("bert", "bert.pooler.dense", "classifier"),
    "roberta": _bert_names("roberta", "classifier.dense", "classifier.out_proj"),
    "distilbert": _Names(
        base="distilbert",
        layer="distilbert.transformer.layer.{}",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        out="attention.out_lin",
        attention_norm="sa_layer_norm",
        up="ffn.lin1",
        down="ffn.lin2",
        output_norm="output_layer_norm",
        dense="pre_classifier",
        final="classifier",
    ),
}


class _Checkpoint:
    """Reads tensors by name, checks their shapes, and remembers what has been read."""

    def __init__(self, path: Path) -> None:
        self._tensors = _read(path)

    def take(self, name: str, *shape: int | None) -> NDArray[np.float32]:
        """The tensor as float32; None in `shape` is any length."""
        tensor = self._tensors.pop(name, None)
        if tensor is None:
            raise UnsupportedModelError(f"the weights lack {name}")
        if len(shape) != tensor.ndim or any(
            want not in (None, have) for want, have in zip(shape, tensor.shape, strict=True)
        ):
            raise UnsupportedModelError(f"{name} has shape {tensor.shape}, not {shape}")
        return tensor.astype(np.float32, copy=False)

    def linear(self, name: str, out: int | None, width: int) -> Linear:
        weight = self.take(f"{name}.weight", out, width)
        return Linear(weight, self.take(f"{name}.bias", len(weight)))

    def norm(self, name: str, width: int) -> Norm:
        return Norm(self.take(f"{name}.weight", width), self.take(f"{name}.bias", width))

    def finish(self) -> None:
        """What has not been read would be left out of the computation: adapters, further layers."""
        left = sorted(name for name in self._tensors if not name.endswith(".position_ids"))
        if left:
            raise UnsupportedModelError(
                f"the weights also hold {', '.join(left[:3])}{', ...' * (len(left) > 3)}"
            )


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor of a safetensors file."""
    with safe_open(path, framework="np") as file:
        names = list(file.keys())
        if not any(file.get_slice(name).get_dtype() == "BF16" for name in names):
            return {name: file.get_tensor(name) for name in names}
    return {name: _array(**told) for name, told in deserialize(path.read_bytes())}  # type: ignore[no-untyped-call]


def _array(dtype: str, shape: Sequence[int], data: bytes) -> NDArray[Any]:
    """As numpy, which has no bfloat16: that is the upper half of a float32."""
    if dtype == "BF16":
        wide = np.frombuffer(data, dtype=np.uint16).astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    kinds = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32}
    if dtype not in kinds:
        raise UnsupportedModelError(f"its weights hold {dtype}")
    return np.frombuffer(data, dtype=kinds[dtype]).reshape(shape)


def read_weights(path: Path, config: EncoderConfig) -> Weights:
    """The weights of a sequence classifier, as numpy's in float32.

    Raises:
        UnsupportedModelError: A tensor is missing, has another shape, or is not known to this forward.
    """
    file, names = _Checkpoint(path), _NAMES[config.family]
    weights = Weights(
        _read_embedding(file, names, config),
        tuple(_read_layer(file, names, config, number) for number in range(config.layers)),
        Head(
            file.linear(names.dense, config.width, config.width), file.linear(names.final, None, config.width)
        ),
    )
    file.finish()
    return weights


def _read_embedding(file: _Checkpoint, names: _Names, config: EncoderConfig) -> Embedding:
    base, width = f"{names.base}.embeddings", config.width
    words = file.take(f"{base}.word_embeddings.weight", config.vocabulary, width)
    positions = file.take(f"{base}.position_embeddings.weight", config.positions, width)
    positions = positions[config.first_position :]
    if config.family != "distilbert":
        positions = positions + file.take(f"{base}.token_type_embeddings.weight", None, width)[0]
    return Embedding(words, positions, file.norm(f"{base}.LayerNorm", width))


def _read_layer(file: _Checkpoint, names: _Names, config: EncoderConfig, number: int) -> Layer:
    prefix, width, inner = names.layer.format(number), config.width, config.inner
    parts = [file.linear(f"{prefix}.{name}", width, width) for name in (names.query, names.key, names.value)]
    return Layer(
        qkv=Linear(
            np.concatenate([part.weight for part in parts]), np.concatenate([part.bias for part in parts])
        ),
        out=file.linear(f"{prefix}.{names.out}", width, width),
        attention_norm=file.norm(f"{prefix}.{names.attention_norm}", width),
        up=file.linear(f"{prefix}.{names.up}", inner, width),
        down=file.linear(f"{prefix}.{names.down}", width, inner),
        output_norm=file.norm(f"{prefix}.{names.output_norm}", width),
    )
