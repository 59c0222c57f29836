"""The gate: a model that is worse on a fixed test than the one that it would replace is refused.

Both label the same texts through the serving path. The new one is worse where

    significantly   it is right less often and McNemar's test gives p < 0.05, or the 95% interval of the
                    difference in macro F1 (paired bootstrap) lies wholly below 0
    plainly         it loses more than `max_loss` in accuracy or macro F1, however sure that is: of few
                    texts no difference is sure

on any of the tests. "Not worse" is not "better": which is, and how sure, says the verdict of each comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from worker.errors import ArtifactError, ConfigurationError
from worker.replay.compare import Comparison
from worker.replay.evaluate import compared
from worker.replay.serving import BUNDLED
from worker.settings import Settings
from worker.stream.role import shelf

_SURE_BELOW = 0.05


class Gated(msgspec.Struct, frozen=True):
    """What the gate says; in each comparison A is the old model and B the new one."""

    passed: bool
    new: str
    old: str
    reasons: list[str]
    """Why it is refused, a line each."""
    tests: dict[str, Comparison]
    """By what they were labelled from."""


def gate(
    new: str,
    old: str,
    data: Sequence[Path],
    settings: Settings,
    *,
    split: str,
    max_loss: float,
    min_texts: int,
) -> Gated:
    """Hold a model against the one that it would replace, on each of some sets of labelled texts.

    Args:
        new: A folder, `bundled`, or `NAME@VERSION` of `model.store`.
        old: The same.
        data: See `read_gold`.
        settings: How models are run, and where they lie.
        split: See `read_gold`.
        max_loss: Most accuracy or macro F1 to lose, as a share.
        min_texts: Of each test.

    Raises:
        ConfigurationError: data or a model cannot be used, or a test is too small.
    """
    models = folder_of(old, settings), folder_of(new, settings)
    tests: dict[str, Comparison] = {}
    for one in data:
        found = compared(one, split, models, settings)
        if found.n < min_texts:
            raise ConfigurationError(
                [f"{one}: {found.n} texts are too few to refuse or pass a model by; give {min_texts} or more"]
            )
        tests[str(one)] = found
    reasons = [f"{name}: {reason}" for name, test in tests.items() for reason in worse(test, max_loss)]
    last = next(iter(tests.values()))
    return Gated(not reasons, last.b.model, last.a.model, reasons, tests)


def worse(test: Comparison, max_loss: float) -> list[str]:
    """In which ways B is worse than A; nothing where it is not. Pure."""
    accuracy, f1 = test.accuracy_difference, test.macro_f1_difference
    found = []
    if accuracy.value < 0 and test.mcnemar.p < _SURE_BELOW:
        found.append(
            f"right on {-accuracy.value:.2%} fewer of {test.n} texts, McNemar p = {test.mcnemar.p:.2g}"
        )
    elif accuracy.value < -max_loss:
        found.append(f"right on {-accuracy.value:.2%} fewer of {test.n} texts; {max_loss:.2%} are allowed")
    if f1.high < 0:
        span = f"{-100 * f1.high:.2f} to {-100 * f1.low:.2f}"
        found.append(f"macro F1 {-100 * f1.value:.2f} points lower, 95% interval {span}")
    elif f1.value < -max_loss:
        found.append(f"macro F1 {-100 * f1.value:.2f} points lower; {100 * max_loss:.2f} are allowed")
    return found


def folder_of(model: str, settings: Settings) -> str:
    """The folder of a model, as `with_model` takes it.

    Raises:
        ConfigurationError: it is none, and no model of that name lies where workers look.
    """
    if model == BUNDLED or "@" not in model or Path(model).is_dir():
        return model
    try:
        return str(shelf(settings).find(model))
    except ArtifactError as error:
        raise ConfigurationError(error.problems) from error
