"""What each logit of a published classifier means. Pure.

The artefact's labels are the six emotions in whatever order the network has them. `neutral` is no label but
a gate, whose logit follows those of the labels; so a network that knows it as a class has its rows put in
that order, or that row left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.types import EMOTIONS, LABELS, NEUTRAL

_NAMELESS = re.compile(r"LABEL_\d+")
_ACCEPTED = ", ".join(EMOTIONS)


@dataclass(frozen=True)
class Classes:
    """The artefact's logits."""

    labels: tuple[str, ...]
    """The emotion of each of the first, as in the manifest."""
    neutral: bool
    """Whether one for `neutral` follows."""
    rows: tuple[int, ...]
    """Which logit of the published network each of them is."""


def published_names(config: Mapping[str, object]) -> list[str] | None:
    """The names in a `config.json`, by logit; None where it has none or only `LABEL_0`, `LABEL_1`, ..."""
    raw = config.get("id2label")
    if not isinstance(raw, dict):
        return None
    try:
        names = [str(raw[key]).strip().lower() for key in sorted(raw, key=int)]
    except (TypeError, ValueError):
        return None
    return None if all(_NAMELESS.fullmatch(name.upper()) for name in names) else names


def split_names(given: str) -> list[str]:
    """What `--labels` says: names between commas."""
    return [name.strip().lower() for name in given.split(",")]


def find_problems(
    published: Sequence[str] | None,
    given: Sequence[str] | None,
    outputs: int | None,
    *,
    neutral_fits: bool,
) -> list[str]:
    """Why the logits cannot be given a meaning, a line each; none where `classes` will.

    Args:
        published: The checkpoint's own names, as `published_names` gives them.
        given: The user's.
        outputs: Logits of the network, by its weights; None where they cannot be read.
        neutral_fits: Whether a neutral class will be left out, or gets a gate fitted.
    """
    names = given or published
    if names is None:
        count = "" if outputs is None else f" {outputs}"
        return [
            f"config.json does not say what the{count} classes mean (id2label is missing or LABEL_0, LABEL_1,"
            f' ...): give their order, as in --labels "{_ACCEPTED}"'
        ]
    return [
        *_count_problems(names, outputs, "--labels" if given else "id2label of config.json"),
        *_contradictions(published, given),
        *_name_problems(names),
        *([] if neutral_fits or NEUTRAL not in names else [_NEUTRAL_NEEDS]),
    ]


_NEUTRAL_NEEDS = (
    "a class is called 'neutral', which moodstream answers by a gate with a threshold: fit it with --data DIR"
    " (a data set with neutral texts, such as GoEmotions), or leave the class out with --drop-neutral"
)


def classes(names: Sequence[str], *, drop_neutral: bool) -> Classes:
    """The order of the artefact's logits, for names without problems."""
    emotions = [row for row, name in enumerate(names) if name != NEUTRAL]
    gate = [] if drop_neutral or NEUTRAL not in names else [names.index(NEUTRAL)]
    return Classes(tuple(names[row] for row in emotions), bool(gate), (*emotions, *gate))


def _count_problems(names: Sequence[str], outputs: int | None, source: str) -> list[str]:
    if outputs is None or outputs == len(names):
        return []
    return [
        f"{source} names {len(names)} classes and the weights give {outputs} logits: name each of them once,"
        " in their order, with --labels"
    ]


def _contradictions(published: Sequence[str] | None, given: Sequence[str] | None) -> list[str]:
    """Known names are believed: another order is a mistake. Names in other words may be translated."""
    return [
        f"class {index} is called {theirs!r} by the checkpoint and {ours!r} by --labels: leave --labels out"
        for index, (theirs, ours) in enumerate(zip(published or (), given or (), strict=False))
        if theirs in LABELS and theirs != ours
    ]


def _name_problems(names: Sequence[str]) -> list[str]:
    problems = []
    unknown = [name for name in names if name not in LABELS]
    if unknown:
        problems.append(
            f"unknown class names: {', '.join(map(repr, unknown))}; accepted are {', '.join(LABELS)}. Where"
            " they mean the same in other words, give all names in their order with --labels; a model that"
            " was trained on other emotions cannot be imported"
        )
    twice = [name for name, count in Counter(names).items() if count > 1 and name in LABELS]
    if twice:
        problems.append(f"named more than once: {', '.join(twice)}; each logit needs a name of its own")
    absent = [emotion for emotion in EMOTIONS if emotion not in names]
    if absent:
        problems.append(
            f"no class is called {', '.join(absent)}: every label that moodstream publishes has scores for"
            f" all of {_ACCEPTED}, so a model must know them all"
        )
    return problems
