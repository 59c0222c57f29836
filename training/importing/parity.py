"""The artefact's answers beside those of transformers, through the code that serves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from worker.bench.texts import read_texts
from worker.errors import ArtifactError
from worker.model.artifact import Artifact
from worker.model.openvino_backend import OpenVinoBackend
from worker.model.text import normalise
from worker.model.tokenise import open_tokeniser
from worker.model.torch_backend import open_network

TOLERANCE = 1e-4
"""How far any logit may be from transformers', both in single precision."""

Logits = NDArray[np.float32]
Ids = Sequence[Sequence[int]]

_POSTS = 96
_ODD = (
    "",
    "  two  spaces \t and a tab",
    "CAPITALS and Ünïcödé, naïve café",
    "emoji 😂❤️\u200d🔥 and 中文 and \u0007 a bell",
    "@someone see https://example.com/a?b=1&amp;c=2 #soHappy!!!",
    "[SEP] </s> [MASK] ##ing",
    "sooooo looooong " * 400,
)
"""What tokenizers disagree about, and one text that every model must cut."""


@dataclass(frozen=True)
class Parity:
    """How far the artefact's logits are from transformers', at most."""

    texts: int
    openvino: float
    torch: float

    def as_json(self) -> dict[str, float]:
        """For the last line of `moodstream model import --json`."""
        return {"texts": self.texts, "openvino": self.openvino, "torch": self.torch}


class Model(Protocol):
    """Anything that gives logits (n, outputs) for rows of ids."""

    def logits(self, rows: Sequence[Sequence[int]]) -> Logits: ...

    def close(self) -> None: ...


def sample_texts() -> list[str]:
    """Posts from everywhere in the demo's, and texts on which tokenizers differ."""
    posts = read_texts(None)
    return [*posts[:: max(1, len(posts) // _POSTS)], *_ODD]


def check(
    artifact: Artifact, texts: Sequence[str], expected_ids: Ids, expected: Logits, *, output: Path
) -> Parity:
    """Hold a written folder to what transformers says about the published checkpoint.

    Args:
        artifact: Its graph is in single precision; its files need not be pinned yet.
        texts: Samples.
        expected_ids: transformers' own token ids of each.
        expected: (n, logits) of the published network, in the artefact's order.
        output: What the folder was to become, for messages.

    Raises:
        ArtifactError: Token ids differ, or any logit by more than `TOLERANCE`.
    """
    ids = _served_ids(artifact, texts)
    different = sum(ours != list(theirs) for ours, theirs in zip(ids, expected_ids, strict=True))
    if different:
        raise ArtifactError(
            output,
            [
                f"the tokenizer gives other token ids than transformers for {different} of {len(texts)}"
                " texts: this checkpoint cannot be served as it was published"
            ],
        )
    parity = Parity(
        texts=len(texts),
        openvino=_distance(OpenVinoBackend(artifact), ids, expected),
        torch=_distance(open_network(artifact, torch.device("cpu")), ids, expected),
    )
    problems = [
        f"{name} is up to {off:.2g} off transformers' logits, {TOLERANCE} is allowed: this checkpoint cannot"
        " be served as it was published"
        for name, off in (("OpenVINO", parity.openvino), ("PyTorch", parity.torch))
        if not off <= TOLERANCE  # Never true of NaN.
    ]
    if problems:
        raise ArtifactError(output, problems)
    return parity


def _served_ids(artifact: Artifact, texts: Sequence[str]) -> list[list[int]]:
    manifest = artifact.manifest
    tokeniser = open_tokeniser(artifact.tokenizer_path, manifest.max_length)
    return tokeniser.encode([normalise(text, manifest.text_version) for text in texts])


def _distance(model: Model, ids: Ids, expected: Logits) -> float:
    try:
        return float(np.abs(model.logits(ids) - expected).max())
    finally:
        model.close()
