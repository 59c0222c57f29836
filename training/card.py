"""The model card, in the form of the Hugging Face hub: front matter for machines, prose for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from string import Template

from training.data import Source
from training.model import Base
from training.recipe import Recipe
from training.request import Request
from worker.model import artifact
from worker.model.artifact import Manifest

_FRONT = Template("""\
---
language: en
license: other
license_name: see-licences-below
library_name: transformers
pipeline_tag: text-classification
base_model: $base
datasets: $datasets
tags: [emotion, text-classification, openvino, int8, moodstream]
metrics: [accuracy, f1, roc_auc]
model-index:
- name: $name
  results:
$results---
""")

_RESULT = Template("""\
  - task: {type: text-classification, name: Emotion classification}
    dataset: {name: $dataset, type: $dataset, split: $split}
    metrics:
    - {type: accuracy, value: $accuracy, name: Accuracy}
    - {type: f1, value: $macro_f1, name: Macro F1}
""")

_BODY = Template("""\
# $title

$description

The model reads a post and answers with a probability for each of six emotions: $labels.
$neutral It is a fine-tuned `$base` ($architecture) and comes in two forms: half-precision
weights for a GPU (`model.safetensors`, `config.json`) and an 8-bit OpenVINO graph for a CPU
(`openvino.xml`, `openvino.bin`), both with `tokenizer.json`. `manifest.json` pins every file by
SHA-256 and says what the logits mean.

## Use

It is meant for streams of short posts: what a topic makes people feel, how feedback changes after a
release, which reviews to read first.

    echo "i feel so much better today" | moodstream classify --set model.path=FOLDER

The weights load with transformers as well. A text must first go through
`worker.model.text.normalise`, version $text_version: links become `http`, mentions `@user`. Divide
the logits of the six by $temperature$softening before the softmax; $gate

## Data

| data set | training rows | licence |
|---|---|---|
$data_table

Texts that stand in any validation or test split were removed from the training rows, and a
repeated text stayed once, with the mean of its labels as a soft target. $mapping

## Training

Recipe `$recipe`: $recipe_line. The loss is cross-entropy with soft targets over the six, on the rows
that express one of them$neutral_loss. $teachers
Test data were read once, after every choice had been made.

$epoch_table

$versions.

## Results

Measured on rows that express exactly one of the six. `int8` is the 8-bit graph, the rest full
precision. ECE is the expected calibration error in 15 bins.

$score_table

$confusions

## Behaviour

Measured through the serving path (8 bits), on cases that no training saw. MFT: plain cases get the
label they state. INV: a disturbed text keeps its label. DIR: an added sentence raises its emotion.

$behaviour

## Licences

$licences

## Limits

- **Language.** English. Other languages get an answer too, and it means little.
- **Domain.** dair-ai/emotion is made of lower-case sentences of which 99% contain "feel", labelled by
  the hashtags that their authors set. A score on its test split says how well that style is read, not
  how well posts in general are. GoEmotions, where it was used, is Reddit English of 2005 to 2019.
- **Labels.** Of the 31 texts that dair-ai/emotion's training split holds twice, 30 carry two different
  labels, and 16 of its held-out texts stand in the training split with another one. Much more than
  97% on it cannot be honest.
- **Six words.** Disgust is read as anger, and gratitude, pride and relief as joy. Several emotions at
  once become one answer; their probabilities show the others.
- **One post at a time.** No conversation, no pictures, no sarcasm that needs to know the writer.
- **People.** A label is a statistic about words, not a finding about a person. Dialects and groups
  that the training data hold little of are read less well. Look at trends over many posts, and do not
  decide about one person by it: not for hiring, credit, policing or health.

## Citation

$citations
""")

_SCORED = ("/test", "/validation")
"""Ends of the keys of labelled splits among a manifest's scores."""

_LICENCES = {
    "dair-ai/emotion": (
        "dair-ai/emotion is published for research and education. Whether a model trained on it may"
        " be used for more is for whoever deploys it to settle; train on your own data where it matters."
    ),
    "GoEmotions": "GoEmotions is published by Google under CC BY 4.0: name its authors (below).",
}


def render(
    manifest: Manifest,
    request: Request,
    *,
    base: Base,
    sources: Sequence[Source],
    epochs: Sequence[Mapping[str, float]],
    confusions: Mapping[str, Sequence[Sequence[int]]],
    behaviour: str,
) -> str:
    """The card of a model, as Markdown.

    Args:
        manifest: What it is and how it scored.
        request: How it was trained.
        base: What was fine-tuned.
        sources: What it was trained on.
        epochs: Figures after each epoch.
        confusions: By `source/split`, (6, 6) counts as `training.scores.confusion` gives them.
        behaviour: Tables of what `training.conduct` measured.
    """
    recipe = request.recipe
    name = f"{manifest.name}@{manifest.version}"
    keys = {source.key: source.name for source in sources}
    front = _FRONT.substitute(
        base=json.dumps(manifest.base),
        datasets=json.dumps([source.name for source in sources]),
        name=json.dumps(name),
        results="".join(_results(manifest, keys)),
    )
    body = _BODY.substitute(
        title=name,
        description=recipe.description,
        labels=", ".join(manifest.labels),
        base=manifest.base,
        architecture=manifest.architecture,
        text_version=manifest.text_version,
        temperature=manifest.temperature,
        recipe=request.recipe_name,
        recipe_line=_recipe_line(recipe),
        data_table="\n".join(f"| {d.name} | {d.rows} | {d.licence} |" for d in manifest.data),
        epoch_table=_table(epochs),
        teachers=_teachers(request),
        versions=_versions(),
        behaviour=behaviour,
        score_table=_score_table(
            {key: v for key, v in manifest.scores.items() if "rows" in v and "ece" in v}
        ),
        confusions="\n\n".join(
            f"{_confusion(key, counts, manifest.labels)}\n\n{_pictures(key)}"
            for key, counts in confusions.items()
        ),
        licences="\n".join(f"- {line}" for line in _licences(manifest, base.licence)),
        citations="\n".join(f"- {source.citation}" for source in sources if source.citation)
        or "The data sets name none.",
        **_gate_texts(manifest, keys),
    )
    return f"{front}\n{body}"


def _teachers(request: Request) -> str:
    """What was learnt from other models."""
    if not request.teachers:
        return ""
    names = ", ".join(f"`{artifact.load(folder).full_name}`" for folder in request.teachers)
    weight = request.recipe.teacher_weight
    posts = " Texts without labels were taught by them alone." if request.unlabelled else ""
    return f"Targets are {weight:.0%} the mean answer of teachers ({names}), the rest is the label.{posts}"


def _versions() -> str:
    names = ("transformers", "torch", "tokenizers", "openvino", "nncf")
    return "Made with " + ", ".join(f"{name} {metadata.version(name)}" for name in names)


def _gate_texts(manifest: Manifest, keys: Mapping[str, str]) -> dict[str, str]:
    """What only a model with a neutral gate, or one that saw GoEmotions, has to say."""
    gate = manifest.neutral
    mapping = (
        "GoEmotions' 27 emotions were grouped into the six as its authors grouped them into Ekman's,"
        " except that love, caring and desire make up love, and disgust joins anger."
        if "GoEmotions" in keys.values()
        else ""
    )
    if gate is None:
        return {
            "mapping": mapping,
            "softening": "",
            "neutral": "It has no gate for texts that express none of them.",
            "gate": "there is no seventh logit.",
            "neutral_loss": "",
        }
    return {
        "mapping": mapping,
        "softening": f" * exp({gate.softening} * logit {gate.index})" if gate.softening else "",
        "neutral": "A seventh logit is a gate: whether any of them is expressed at all.",
        "gate": (
            f"the answer is `neutral` where sigmoid(logit {gate.index} / {gate.temperature})"
            f" is at least {gate.threshold}."
        ),
        "neutral_loss": (", plus binary cross-entropy for the neutral logit where neutrality is known"),
    }


def _results(manifest: Manifest, keys: Mapping[str, str]) -> list[str]:
    return [
        _RESULT.substitute(
            dataset=json.dumps(keys.get(key.split("/")[0], key)),
            split=key.split("/")[1],
            accuracy=figures["accuracy"],
            macro_f1=figures["macro_f1"],
        )
        for key, figures in manifest.scores.items()
        if key.endswith("/test") and "accuracy" in figures
    ]


def _recipe_line(recipe: Recipe) -> str:
    parts = [
        f"AdamW (betas 0.9 and 0.999, epsilon 1e-8, weight decay {recipe.weight_decay:g})",
        f"{recipe.schedule} schedule from a learning rate of {recipe.learning_rate:g}",
        f"warm-up {recipe.warmup:.0%}" if recipe.warmup else "",
        f"{recipe.epochs:g} epochs in batches of {recipe.batch_size * recipe.accumulation}",
        f"texts cut at {recipe.max_length} tokens",
        f"label smoothing {recipe.label_smoothing:g}" if recipe.label_smoothing else "",
        "classes weighed by the inverse of their share" if recipe.class_weights == "balanced" else "",
        f"dropout {recipe.dropout:g}" if recipe.dropout is not None else "",
        "word embeddings frozen" if recipe.frozen_embeddings else "",
        f"{recipe.augmentation:.0%} of the texts changed in each epoch" if recipe.augmentation else "",
        f"stopped after {recipe.early_stopping} epochs without gain" if recipe.early_stopping else "",
        recipe.precision,
        f"seed {recipe.seed}",
    ]
    return ", ".join(part for part in parts if part)


def _licences(manifest: Manifest, base_licence: str) -> list[str]:
    lines = [f"The base `{manifest.base}`: {base_licence}."]
    lines += [_LICENCES.get(d.name, f"{d.name}: {d.licence}.") for d in manifest.data]
    return lines


def _score_table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """A row for each figure, a column for each split."""
    figures = list(dict.fromkeys(figure for split in scores.values() for figure in split))
    head = f"| figure | {' | '.join(scores)} |\n|---|{'---:|' * len(scores)}"
    rows = [
        f"| {figure} | {' | '.join(_cell(figure, split.get(figure)) for split in scores.values())} |"
        for figure in figures
    ]
    return "\n".join([head, *rows])


def _table(rows: Sequence[Mapping[str, float]]) -> str:
    """A row for each mapping, a column for each of the first one's keys."""
    if not rows:
        return ""
    names = list(rows[0])
    head = f"| {' | '.join(names)} |\n|{'---:|' * len(names)}"
    return "\n".join(
        [head, *(f"| {' | '.join(_cell(name, row.get(name)) for name in names)} |" for row in rows)]
    )


def _confusion(key: str, counts: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    head = f"| {key}: true \\ answer | {' | '.join(labels)} |\n|---|{'---:|' * len(labels)}"
    rows = [f"| {label} | {' | '.join(map(str, row))} |" for label, row in zip(labels, counts, strict=True)]
    return "\n".join([head, *rows])


def _pictures(key: str) -> str:
    name = key.replace("/", "-")
    return f"![Confusion, {key}](confusion-{name}.svg) ![Reliability, {key}](reliability-{name}.svg)"


def _cell(name: str, value: float | None) -> str:
    """Counts and epochs as they are, shares with four digits."""
    if value is None:
        return ""
    return f"{value:g}" if name == "epoch" or name.endswith("rows") else f"{value:.4f}"
