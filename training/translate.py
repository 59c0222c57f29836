"""Machine translation with MarianMT models (Junczys-Dowmunt et al. 2018, https://arxiv.org/abs/1804.00344)."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from worker.errors import ConfigurationError, DependencyError

if TYPE_CHECKING:
    from transformers import MarianMTModel, MarianTokenizer

_BEAMS = 4


class Translator(Protocol):
    """Texts of one language to texts of another."""

    def __call__(self, texts: Sequence[str], /) -> list[str]:
        """One translation for each text, in their order; the same texts give the same translations."""
        ...


class MarianTranslator:
    """A MarianMT model; loaded when it is first asked.

    Args:
        name: A folder, or an id on the Hugging Face hub.
        temperature: Of sampling from the whole vocabulary; 0 is beam search.
        seed: Of the sampling. What is drawn depends on it and on the texts alone, and leaves torch's own
            random numbers where they were.
    """

    def __init__(self, name: str, *, temperature: float, seed: int) -> None:
        self._name = name
        self._temperature = temperature
        self._seed = seed

    def __call__(self, texts: Sequence[str], /) -> list[str]:
        """Translate in one batch; a text is cut at the model's number of positions.

        Raises:
            ConfigurationError: The folder holds no usable model.
            DependencyError: The model is not on this machine and the hub does not give it.
        """
        import torch

        if not texts:
            return []
        with torch.inference_mode(), torch.random.fork_rng():  # Loading draws numbers, too.
            model, tokenizer = self._loaded
            positions = int(model.config.max_position_embeddings)
            inputs = tokenizer(
                list(texts), return_tensors="pt", padding=True, truncation=True, max_length=positions
            ).to(model.device)
            # No translation of a post is twice as long as the post; a model that goes on is in a loop.
            most = min(positions - 1, 2 * inputs["input_ids"].shape[1] + 16)
            torch.manual_seed(_seed(self._seed, texts))
            ids = model.generate(**inputs, **self._search(), max_new_tokens=most)  # type: ignore[misc] # transformers' own
        translated: list[str] = tokenizer.batch_decode(  # type: ignore[no-untyped-call] # as above
            ids, skip_special_tokens=True
        )
        return translated

    def _search(self) -> dict[str, Any]:
        if not self._temperature:
            return {"do_sample": False, "num_beams": _BEAMS}
        return {
            "do_sample": True,
            "num_beams": 1,
            "temperature": self._temperature,
            "top_k": 0,
            "top_p": 1.0,
        }

    @cached_property
    def _loaded(self) -> tuple[MarianMTModel, MarianTokenizer]:
        """The network, on the GPU where there is one, and its tokenizer."""
        import torch
        from transformers import AutoConfig, MarianMTModel, MarianTokenizer

        safe: dict[str, Any] = {"trust_remote_code": False}
        try:
            if AutoConfig.from_pretrained(self._name, **safe).model_type != "marian":
                raise ValueError("no Marian model")
            tokenizer = _load_tokenizer(MarianTokenizer, self._name)
            model = MarianMTModel.from_pretrained(self._name, use_safetensors=True, dtype="float32", **safe)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _cannot_load(self._name) from error
        model.generation_config.max_length = None  # `__call__` says it for each batch.
        model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type] # transformers' own
        return model, tokenizer


def _seed(seed: int, texts: Sequence[str]) -> int:
    digest = hashlib.sha256(msgspec.json.encode([seed, *texts])).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _load_tokenizer(kind: type[MarianTokenizer], name: str) -> MarianTokenizer:
    """Without its advice to install a library that it then makes no use of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Recommended: pip install sacremoses")
        tokenizer: MarianTokenizer = kind.from_pretrained(name, trust_remote_code=False)
    return tokenizer


def _cannot_load(name: str) -> Exception:
    """What to do about a translation model that does not load; why is in the cause."""
    if Path(name).is_dir():
        return ConfigurationError(
            [
                f"translation model {name}: no MarianMT model can be loaded from this folder; it needs"
                " config.json, model.safetensors, vocab.json, source.spm and target.spm"
            ]
        )
    return DependencyError(
        "Hugging Face hub",
        f"the translation model {name} is neither a folder here nor to be had from the hub. On a machine"
        " that reaches it, load it with transformers' MarianMTModel and MarianTokenizer, call"
        " save_pretrained(FOLDER) on both, copy the folder here and name it in the recipe (there, back)",
    )
