"""What a folder of transformers' files holds, read without loading it, and all that is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from training.importing import labels
from training.importing.labels import Classes
from training.importing.place import Place
from worker.errors import ConfigurationError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
MAX_LENGTH = 512
"""Tokens, special ones included: what all of these networks were pre-trained with."""

_HEADS = {
    "bert": "classifier.weight",
    "distilbert": "classifier.weight",
    "roberta": "classifier.out_proj.weight",
}
"""By architecture: the tensor with a row for each logit."""

_VOCABULARIES = {
    "bert": ("vocab.txt",),
    "distilbert": ("vocab.txt",),
    "roberta": ("vocab.json", "merges.txt"),
}
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_OTHERS = ("tf_model.h5", "flax_model.msgpack")


@dataclass(frozen=True)
class Checkpoint:
    """A published classifier that can be imported: everything here has been checked."""

    place: Place
    architecture: str
    """transformers' `model_type`."""
    classes: Classes
    outputs: int
    """Logits of the published network."""
    max_length: int
    """Tokens that the network has positions for, at most `MAX_LENGTH`."""

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.place.folder


@dataclass(frozen=True)
class Wish:
    """What the user says about a checkpoint."""

    labels: str | None = None
    """Names of the logits between commas; None leaves it to the checkpoint."""
    max_length: int | None = None
    """Tokens to cut at; None for as many as it takes."""
    drop_neutral: bool = False
    """Leave a class called neutral out."""
    has_data: bool = False
    """Whether a neutral gate can be fitted."""


def read(place: Place, wish: Wish) -> Checkpoint:
    """Look at the files of a checkpoint.

    Raises:
        ConfigurationError: It cannot be imported; lists every reason, each with what to do.
    """
    config, problems = _read_config(place.folder / CONFIG)
    architecture = config.get("model_type")
    if config:
        problems += _architecture_problems(config)
    outputs, weight_problems = _outputs(place, _HEADS.get(str(architecture)))
    problems += weight_problems + _tokenizer_problems(place, str(architecture))
    given = None if wish.labels is None else labels.split_names(wish.labels)
    published = labels.published_names(config)
    if config:
        fits = wish.drop_neutral or wish.has_data
        problems += labels.find_problems(published, given, outputs, neutral_fits=fits)
    most = _most_tokens(config)
    if wish.max_length is not None and wish.max_length > most:
        problems.append(f"--max-length {wish.max_length} is more than the {most} tokens that the model takes")
    if problems or outputs is None:
        raise ConfigurationError([f"{place.name}: {problem}" for problem in problems])
    return Checkpoint(
        place=place,
        architecture=str(architecture),
        classes=labels.classes(given or published or [], drop_neutral=wish.drop_neutral),
        outputs=outputs,
        max_length=wish.max_length or most,
    )


def head_rows(architecture: str) -> str:
    """The module whose weights have a row for each logit."""
    return _HEADS[architecture].removesuffix(".weight")


def _read_config(file: Path) -> tuple[Mapping[str, Any], list[str]]:
    if not file.is_file():
        return {}, [f"{CONFIG} is missing: it says what the network is; take it from the model's page"]
    try:
        raw = json.loads(file.read_bytes())
    except (ValueError, UnicodeDecodeError) as error:
        return {}, [f"{CONFIG} is not JSON ({error}): take it from the model's page again"]
    if not isinstance(raw, dict) or not raw:
        return {}, [f"{CONFIG} is no JSON object with anything in it: take it from the model's page again"]
    return raw, []


def _architecture_problems(config: Mapping[str, Any]) -> list[str]:
    problems = []
    kind = config.get("model_type")
    if kind not in _HEADS:
        problems.append(
            f"the architecture (model_type of {CONFIG}) is {kind!r}; {', '.join(_HEADS)} can be imported."
            " Choose a checkpoint of one of them, or train one: `moodstream train default --base MODEL`"
        )
    stated = config.get("architectures") or []
    if stated and not any(str(name).endswith("ForSequenceClassification") for name in stated):
        problems.append(
            f"{CONFIG} says it is a {', '.join(map(str, stated))}, which classifies no texts: fine-tune it"
            " with `moodstream train default --base MODEL`"
        )
    if config.get("problem_type") not in (None, "single_label_classification"):
        problems.append(
            f"problem_type is {config['problem_type']}: its logits are no choice of one class among several,"
            " and probabilities would mean nothing; choose a single-label checkpoint"
        )
    if config.get("is_decoder"):
        problems.append("it is a decoder (is_decoder): only encoders can be imported")
    return problems


def _outputs(place: Place, head: str | None) -> tuple[int | None, list[str]]:
    """How many logits the weights give, read from the header of the file alone."""
    file = place.folder / WEIGHTS
    if not file.is_file():
        return None, [_no_weights(place)]
    try:
        with safe_open(file, framework="numpy") as tensors:
            if head is None:
                return None, []
            if head not in tensors.keys():  # noqa: SIM118 # No mapping.
                return None, [
                    f"{WEIGHTS} has no {head}, so it was never fine-tuned to classify: choose a fine-tuned"
                    " checkpoint, or use it with `moodstream train default --base MODEL`"
                ]
            return int(tensors.get_slice(head).get_shape()[0]), []
    except (SafetensorError, OSError) as error:
        return None, [f"{WEIGHTS} cannot be read ({error}): fetch it again"]


def _no_weights(place: Place) -> str:
    pickles = [name for name in _PICKLES if name in place.names]
    if pickles:
        return (
            f"{pickles[0]} is a pickle, which runs code when it is loaded, and is never read; there is no"
            f" {WEIGHTS}. Look for a revision that has one, or convert it where you trust its author:"
            " AutoModelForSequenceClassification.from_pretrained(MODEL).save_pretrained(FOLDER) of"
            " transformers writes one; copy the tokenizer's files beside it"
        )
    if f"{WEIGHTS}.index.json" in place.names:
        return f"the weights lie in several files: save them as one {WEIGHTS} (max_shard_size='10GB')"
    others = [name for name in _OTHERS if name in place.names]
    if others:
        return f"{others[0]} is of another framework: convert it with transformers to {WEIGHTS}"
    return f"{WEIGHTS} is missing: fetch it from the model's page"


def _tokenizer_problems(place: Place, architecture: str) -> list[str]:
    """What lacks for a tokenizer; an unknown architecture asks for none."""
    here = {path.name for path in place.folder.iterdir()}
    if "tokenizer.json" in here or architecture not in _VOCABULARIES:
        return []
    wanted = (*_VOCABULARIES[architecture], "tokenizer_config.json")
    reason = {"tokenizer_config.json": " (it says whether text is lower-cased)"}
    return [
        f"{name}{reason.get(name, '')} is missing, and there is no tokenizer.json: fetch one of them from the"
        " model's page"
        for name in wanted
        if name not in here
    ]


def _most_tokens(config: Mapping[str, Any]) -> int:
    """How many tokens have a position, at most `MAX_LENGTH`."""
    positions = _whole_number(config.get("max_position_embeddings"), MAX_LENGTH)
    if config.get("model_type") == "roberta":  # It counts from pad_token_id + 1 on.
        positions -= _whole_number(config.get("pad_token_id"), 1) + 1
    return min(MAX_LENGTH, positions)


def _whole_number(value: object, default: int) -> int:
    return value if isinstance(value, int) else default
