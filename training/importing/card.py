"""The card of an imported model: what it is, how it was checked, and whom to ask about it."""

from __future__ import annotations

from training.importing.parity import TOLERANCE, Parity
from worker.model.artifact import Manifest

_TEXT = """---
language: en
base_model: {base}
---

# {name} {version}

`{base}`, imported by `moodstream model import`. Its authors trained it; what it was trained on, its licence
and its limits are theirs to tell: read the model's own page before you serve it.

| | |
|---|---|
| architecture | {architecture} |
| labels, by logit | {labels} |
| tokens read of a text | {max_length} |
| temperature | {temperature} |
| neutral gate | {gate} |
| graph for a CPU | {graph} |

Weights are kept in single precision, texts reach the tokenizer as they come. On {texts} texts the logits were
held to those of transformers within {tolerance}: largest difference {openvino:.1g} through OpenVINO (single
precision) and {torch:.1g} through PyTorch.

{scores}
"""


def render(manifest: Manifest, parity: Parity, *, int8_agreement: float | None) -> str:
    """The card's text.

    Args:
        manifest: Of the artefact.
        parity: What the check found.
        int8_agreement: Share of sample texts that 8 bits label as single precision does; None for a graph in
            single precision.
    """
    neutral = manifest.neutral
    return _TEXT.format(
        base=manifest.base,
        name=manifest.name,
        version=manifest.version,
        architecture=manifest.architecture,
        labels=", ".join(manifest.labels),
        max_length=manifest.max_length,
        temperature=_temperature(manifest),
        gate="none" if neutral is None else f"from a probability of {neutral.threshold} on",
        graph=(
            "single precision"
            if int8_agreement is None
            else f"8 bits; {int8_agreement:.1%} of the sample texts get the label of single precision"
        ),
        texts=parity.texts,
        tolerance=TOLERANCE,
        openvino=parity.openvino,
        torch=parity.torch,
        scores=_scores(manifest),
    )


def _temperature(manifest: Manifest) -> str:
    gate = manifest.neutral
    if gate is None or not gate.softening:
        return str(manifest.temperature)
    return f"{manifest.temperature} * exp({gate.softening} * logit {gate.index})"


def _scores(manifest: Manifest) -> str:
    if not manifest.scores:
        return "It was neither calibrated nor scored here: `moodstream evaluate --data DIR` does the latter."
    lines = ["## Scores", "", "The temperature was fitted on these texts.", "", "| split | figure | value |"]
    lines.append("|---|---|---|")
    lines += [
        f"| {split} | {figure} | {value:g} |"
        for split, figures in manifest.scores.items()
        for figure, value in figures.items()
    ]
    return "\n".join(lines)
