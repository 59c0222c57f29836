"""How a finished artefact behaves through the serving path: plain cases, disturbed texts, bias."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data import Source
from worker.configuration import load as load_settings
from worker.model.artifact import Artifact
from worker.replay.behaviour.bias import Bias, read_eec, run_bias
from worker.replay.behaviour.engine import run_invariances, run_suite
from worker.replay.behaviour.report import Behaviour, Outcome
from worker.replay.serving import asking, opened, with_model

_DISTURBED = 500
"""Texts of each test split that are disturbed: enough for a tenth of a percent of labels to show."""


@dataclass(frozen=True)
class Conduct:
    """All that was measured."""

    suite: Behaviour
    disturbed: Mapping[str, Sequence[Outcome]]
    """By source key: labels that stay when the texts of its test split are disturbed."""
    bias: Bias | None

    def scores(self) -> dict[str, dict[str, float]]:
        """For the manifest."""
        found = {"behaviour/suite": self.suite.figures()}
        for key, outcomes in self.disturbed.items():
            found[f"invariance/{key}"] = {one.name: one.rate for one in outcomes if one.n}
        if self.bias is not None:
            found["bias/eec"] = self.bias.figures()
        return found

    def markdown(self) -> str:
        """For the card."""
        names = [one.name for one in next(iter(self.disturbed.values()), ())]
        head = f"| labels that stay | {' | '.join(self.disturbed)} |\n|---|{'---:|' * len(self.disturbed)}"
        rows = [
            f"| {name} | {' | '.join(_share(outcomes[at]) for outcomes in self.disturbed.values())} |"
            for at, name in enumerate(names)
        ]
        parts = [self.suite.markdown(), "\n".join([head, *rows])]
        if self.bias is not None:
            parts.append(
                "Mean differences of scores on the Equity Evaluation Corpus (Kiritchenko and Mohammad 2018),"
                f" {self.bias.sentences} sentences:\n\n{self.bias.markdown()}"
            )
        return "\n\n".join(parts)


def measure(artifact: Artifact, sources: Sequence[Source], eec: Path | None) -> Conduct:
    """Ask a finished artefact; nothing that is measured here chooses anything.

    Args:
        artifact: Its folder may still have another name than it will get.
        sources: Whose test texts are disturbed.
        eec: The Equity Evaluation Corpus as published, or None to leave bias out.

    Raises:
        ConfigurationError: The corpus is not in its published form.
    """
    sentences = None if eec is None else read_eec(eec)
    settings = with_model(load_settings(), str(artifact.path))
    with opened(settings) as model:
        return Conduct(
            run_suite(asking(model, settings, "suite")),
            {
                source.key: run_invariances(asking(model, settings, source.key), _texts(source))
                for source in sources
            },
            None if sentences is None else run_bias(asking(model, settings, "bias"), sentences),
        )


def _texts(source: Source) -> list[str]:
    """Some of the test texts, always the same ones."""
    texts = [text for text in source.splits["test"].texts if text.strip()]
    return random.Random(0).sample(texts, min(_DISTURBED, len(texts)))  # noqa: S311 - no secret


def _share(outcome: Outcome) -> str:
    return f"{outcome.rate:.1%}" if outcome.n else "-"
