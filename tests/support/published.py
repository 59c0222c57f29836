"""Small classifiers with random weights, saved as old versions of transformers saved them."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from tokenizers import ByteLevelBPETokenizer

from tests.unit.test_packed_parity import stir
from worker.types import EMOTIONS

Kind = Literal["bert", "bert-cased", "distilbert", "roberta"]
KINDS: tuple[Kind, ...] = ("bert", "bert-cased", "distilbert", "roberta")

NAMELESS = [f"LABEL_{index}" for index in range(6)]
PERMUTED = ["Joy", "anger", "SURPRISE", "love", "sadness", "fear"]
TEXTS = [
    "i feel furious today",
    "I am SO scared, again!!",
    "naïve café 😀 and 中文",
    "",
    "we were merry all day long " * 40,
    "@someone see https://example.com &amp; smile [SEP] </s>",
]
POSITIONS = 48

_HIDDEN = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": POSITIONS,
}
_DISTIL = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": POSITIONS}
_CLASSES = {"bert": "Bert", "bert-cased": "Bert", "distilbert": "DistilBert", "roberta": "Roberta"}


def publish(
    folder: Path, kind: Kind, names: Sequence[str] = EMOTIONS, *, outputs: int | None = None, **config: Any
) -> Path:
    """Write a checkpoint: `config.json`, `model.safetensors` and the vocabulary, but no `tokenizer.json`.

    Args:
        folder: To be made.
        kind: Of network and tokenizer.
        names: Of the classes, by logit.
        outputs: Logits, where they shall not be as many as the names.
        config: Replaces what `config.json` says; None takes it out.
    """
    folder.mkdir(parents=True)
    vocabulary = _write_tokenizer(folder, kind)
    shape = _shape(kind) | {"vocab_size": vocabulary}
    network = stir(_network(kind, shape, outputs or len(names)))
    stated = {
        "_name_or_path": "somebody/base",
        "architectures": [type(network).__name__],
        "model_type": kind.partition("-")[0],
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": "single_label_classification",
        "gradient_checkpointing": False,
        "torch_dtype": "float32",
        "transformers_version": "4.9.1",
        **shape,
    }
    kept = {key: value for key, value in (stated | config).items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))
    tensors = {name: part.contiguous() for name, part in network.state_dict().items()}
    if kind != "roberta":  # Old versions saved this buffer as well.
        buffer = f"{_CLASSES[kind].lower()}.embeddings.position_ids"
        tensors[buffer] = torch.arange(POSITIONS)[None]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _shape(kind: Kind) -> dict[str, Any]:
    if kind == "distilbert":
        return dict(_DISTIL)
    if kind == "roberta":
        more = {"type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1}
        return _HIDDEN | more | {"max_position_embeddings": POSITIONS + 2}
    return dict(_HIDDEN)


def _network(kind: Kind, shape: dict[str, Any], outputs: int) -> Any:
    import transformers

    config = getattr(transformers, f"{_CLASSES[kind]}Config")(**shape, num_labels=outputs)
    return getattr(transformers, f"{_CLASSES[kind]}ForSequenceClassification")(config)


def _write_tokenizer(folder: Path, kind: Kind) -> int:
    """Write a vocabulary and return its size."""
    if kind == "roberta":
        return _write_byte_level(folder)
    words = [
        "i",
        "feel",
        "furious",
        "am",
        "so",
        "scared",
        "again",
        "Scared",
        "naïve",
        "naive",
        "café",
        "cafe",
    ]
    letters = string.ascii_letters + string.digits
    pieces = [*("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), *words]
    pieces += [character for character in string.printable.strip() if character not in pieces]
    pieces += [f"##{letter}" for letter in letters]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    name = "DistilBertTokenizer" if kind == "distilbert" else "BertTokenizer"
    _write_json(
        folder / "tokenizer_config.json",
        do_lower_case=kind != "bert-cased",
        strip_accents=None,
        tokenize_chinese_chars=True,
        unk_token="[UNK]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        mask_token="[MASK]",
        model_max_length=512,
        special_tokens_map_file=None,
        tokenizer_class=name,
    )
    return len(pieces)


def _write_byte_level(folder: Path) -> int:
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(TEXTS * 3, vocab_size=420, special_tokens=specials)
    trained.save_model(str(folder))  # vocab.json and merges.txt
    _write_json(
        folder / "tokenizer_config.json",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        cls_token="<s>",
        pad_token="<pad>",
        mask_token="<mask>",
        add_prefix_space=False,
        errors="replace",
        model_max_length=512,
        special_tokens_map_file=None,
        tokenizer_class="RobertaTokenizer",
    )
    return int(trained.get_vocab_size())


def _write_json(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps(fields), encoding="utf-8")
