"""Low-rank adapters: a large base that learns with under a hundredth of its parameters.

LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685) leaves a weight W as it is and learns B A beside it,
of rank r: the layer computes (W + alpha / r B A) x. QLoRA (Dettmers et al. 2023,
https://arxiv.org/abs/2305.14314) keeps W in 4 bits meanwhile. After training the two become one weight, so
that whoever measures, exports or serves the network sees a plain one.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

_Count = Annotated[int, Meta(ge=1)]

TARGETS: dict[str, tuple[str, ...]] = {
    "bert": ("query", "value"),
    "distilbert": ("q_lin", "v_lin"),
    "gpt_neox": ("query_key_value",),
    "roberta": ("query", "value"),
}
"""By transformers' name of an architecture: the layers that get adapters where a recipe names none. Queries
and values, as section 4.2 of Hu et al. has it; GPT-NeoX keeps them and the keys in one."""

_HEADS = ("classifier", "pre_classifier", "score", "pre_head", "head")
"""What transformers calls the layers of a classification head: they learn, which 4 bits cannot."""

_PADDING = ("<|padding|>", "[PAD]", "<pad>", "<|pad|>", "<|endoftext|>", "</s>")
"""Names of the padding token; an end of text does where a tokenizer has none."""


class Lora(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a base is adapted. The names are those of the paper."""

    rank: _Count = 8
    """Of B A: an adapter of a layer with n inputs and m outputs has rank (n + m) parameters."""
    alpha: _Count = 16
    """B A is multiplied by alpha / rank, so that another rank needs no other learning rate."""
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.05
    """Of what goes into an adapter, in training."""
    targets: Annotated[list[str], Meta(min_length=1)] | None = None
    """Names of the layers to adapt, as the network calls them; without, what `TARGETS` has for it."""
    quantised: bool = False
    """Keep the base in 4 bits while it is trained (QLoRA): an NVIDIA GPU is needed."""


def loading_options(lora: Lora) -> dict[str, Any]:
    """What `from_pretrained` is to be told so that the base comes as the adapters want it.

    In 4 bits that is NF4 with double quantisation, computed in bfloat16 (Dettmers et al. 2023, section 3),
    all on the first GPU; a classification head stays as it is.

    Returns:
        Arguments, none where the base is not quantised. They take the place of those with the same name.

    Raises:
        ConfigurationError: Quantised, and there is no CUDA or no bitsandbytes.
    """
    if not lora.quantised:
        return {}
    import torch
    from transformers import BitsAndBytesConfig

    missing = []
    if not torch.cuda.is_available():
        missing.append("an NVIDIA GPU that torch can use")
    if importlib.util.find_spec("bitsandbytes") is None:
        missing.append("the package bitsandbytes (pip install 'moodstream[qlora]')")
    if missing:
        reason = f"a base in 4 bits (QLoRA) needs {' and '.join(missing)}; or set quantised = false"
        raise ConfigurationError([f"lora.quantised: {reason}"])
    four_bits = BitsAndBytesConfig(  # type: ignore[no-untyped-call] # transformers' own, untyped
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=list(_HEADS),  # It counts for 4 bits too.
    )
    return {"quantization_config": four_bits, "device_map": {"": 0}}


def ensure_padding(model: PreTrainedModel, tokenizer: Tokenizer) -> int:
    """The id that fills up texts; a network that has none is told.

    GPT-NeoX reads a text's answer at its last token that is no padding. Its published configurations
    (Pythia's among them) name no such token, and without one it takes a single text at a time.

    Args:
        model: Changed in place: `config.pad_token_id`.
        tokenizer: Of the same base.

    Raises:
        ConfigurationError: Neither knows a token for it.
    """
    known: int | None = model.config.pad_token_id
    if known is None:
        ids = (tokenizer.token_to_id(name) for name in _PADDING)
        known = next((token for token in ids if token is not None), None)
    if known is None:
        raise ConfigurationError(
            [
                f"base {model.config.name_or_path}: its tokenizer has no token for padding, none of"
                f" {', '.join(_PADDING)}; set pad_token_id in the base's config.json"
            ]
        )
    model.config.pad_token_id = known
    return known


def with_adapters(model: PreTrainedModel, lora: Lora) -> PeftModel:
    """The network with adapters, which alone learn, together with the whole classification head.

    B starts at 0: before training, the answers are those of the network as it was.

    Args:
        model: Changed in place; use what is returned from here on.
        lora: Quantised only where the network was loaded with its `loading_options`.

    Raises:
        ConfigurationError: The layers to adapt are not known, or the network has none of that name; says
            which it has.
        ValueError: The network was loaded without the `loading_options` of these adapters.
    """
    from peft import get_peft_model, prepare_model_for_kbit_training

    if lora.quantised != _in_four_bits(model):
        raise ValueError(
            "a base is in 4 bits where, and only where, it was loaded with loading_options(lora)"
        )
    config = _configuration(model, lora)
    if lora.quantised:
        # Norms and embeddings to float32. Activations are kept: those of posts are small.
        prepare_model_for_kbit_training(  # type: ignore[no-untyped-call] # peft's own, untyped
            model, use_gradient_checkpointing=False
        )
    adapted: PeftModel = get_peft_model(model, config)
    return adapted


def merged(model: PeftModel) -> PreTrainedModel:
    """The plain network in which each adapted weight is W + alpha / rank B A.

    A base in 4 bits is first brought to single precision: adding to the 4-bit weight would round away part of
    what was learnt.

    Args:
        model: Of `with_adapters`; of no use afterwards.

    Returns:
        In single precision, on the same device.

    Raises:
        ValueError: An adapter holds numbers that are none: the training diverged.
    """
    if _in_four_bits(model.get_base_model()):
        model = _in_single_precision(model)
    plain: PreTrainedModel = model.merge_and_unload(safe_merge=True)
    return plain


def _configuration(model: PreTrainedModel, lora: Lora) -> LoraConfig:
    from peft import LoraConfig, TaskType

    return LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=_layers_to_adapt(model, lora.targets),
        modules_to_save=_head(model),
    )


def _in_single_precision(model: PeftModel) -> PeftModel:
    """The same adapters, beside the weights that the 4 bits stand for."""
    import torch
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    config, learnt = model.peft_config["default"], get_peft_model_state_dict(model)
    base = model.unload().dequantize(dtype=torch.float32).float()  # bitsandbytes halves the biases.
    again: PeftModel = get_peft_model(base, config)
    set_peft_model_state_dict(again, learnt)
    return again


def _in_four_bits(model: Any) -> bool:
    return bool(getattr(model, "is_loaded_in_4bit", False))


def _head(model: PreTrainedModel) -> list[str]:
    """Names of the layers beside the pre-trained body."""
    return [
        name
        for name, child in model.named_children()
        if name != model.base_model_prefix and any(True for _ in child.parameters())
    ]


def _layers_to_adapt(model: PreTrainedModel, targets: Sequence[str] | None) -> list[str]:
    """Full names of the body's linear layers that the targets name, or ConfigurationError."""
    import torch

    body = f"{model.base_model_prefix}."
    linear = [
        name
        for name, module in model.named_modules()
        if name.startswith(body) and isinstance(module, torch.nn.Linear)
    ]
    there_are = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
    architecture = str(model.config.model_type)
    if targets is None:
        targets = TARGETS.get(architecture)
    if targets is None:
        reason = f"which layers of {architecture} to adapt is not known here; give some of {there_are}"
        raise ConfigurationError([f"lora.targets: {reason}"])
    unknown = [target for target in targets if not any(_is_called(name, target) for name in linear)]
    if unknown:
        reason = f"has no linear layer {' or '.join(unknown)}; give some of {there_are}"
        raise ConfigurationError([f"lora.targets: {architecture} {reason}"])
    return [name for name in linear if any(_is_called(name, target) for target in targets)]


def _is_called(name: str, target: str) -> bool:
    """Whether a layer's full name is, or ends with, a target."""
    return name == target or name.endswith(f".{target}")
