"""The same training with several seeds: how much of a figure is luck."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from training.request import Request
from training.run import Result, run
from worker.model import artifact


@dataclass(frozen=True)
class Seeds:
    """What the trainings gave."""

    results: Sequence[Result]

    def best(self) -> Result:
        """The one with the highest mean accuracy on the validation splits; test splits choose nothing."""
        return max(self.results, key=_validation_accuracy)

    def mean(self) -> dict[str, dict[str, float]]:
        """Of every figure of every test split."""
        return self._each(statistics.fmean)

    def spread(self) -> dict[str, dict[str, float]]:
        """Standard deviation between seeds, n - 1 in the denominator."""
        return self._each(statistics.stdev)

    def as_json(self) -> dict[str, object]:
        """For the last line of `moodstream train --seeds N --json`."""
        return {
            "best": self.best().as_json(),
            "models": [str(result.artifact.path) for result in self.results],
            "mean": self.mean(),
            "spread": self.spread(),
        }

    def _each(self, of: Callable[[Sequence[float]], float]) -> dict[str, dict[str, float]]:
        scores = [result.artifact.manifest.scores for result in self.results]
        return {
            key: {name: round(of([one[key][name] for one in scores]), 5) for name in figures}
            for key, figures in scores[0].items()
            if not key.endswith("/validation")
        }


def run_seeds(request: Request, count: int, *, say: Callable[[str], None], progress: bool = False) -> Seeds:
    """Train `count` times, with the recipe's seed and those after it.

    What stands in the place of one of them is taken for it: so a run that was killed goes on.

    Args:
        request: The first; its output and those of the others get `-seedN` at the end.
        count: At least two.
        say: Called with a line for people now and then.
        progress: Whether to draw a progress bar on standard error.

    Raises:
        ArtifactError: What stands in the place of one of them is no whole artefact.
        As `training.run.run`.
    """
    results = []
    for seed in range(request.recipe.seed, request.recipe.seed + count):
        one = _seeded(request, seed)
        if one.output.exists():
            say(f"seed {seed} has been trained before: {one.output}")
            results.append(Result(artifact.load(one.output), (), None))
            continue
        say(f"seed {seed}")
        results.append(run(one, say=say, progress=progress))
    return Seeds(results)


def _seeded(request: Request, seed: int) -> Request:
    return replace(
        request,
        recipe=msgspec.structs.replace(request.recipe, seed=seed),
        output=output_of(request.output, seed),
    )


def output_of(output: Path, seed: int) -> Path:
    """Where the training with one seed goes."""
    return output.with_name(f"{output.name}-seed{seed}")


def _validation_accuracy(result: Result) -> float:
    scores: Mapping[str, Mapping[str, float]] = result.artifact.manifest.scores
    return statistics.fmean(found["accuracy"] for key, found in scores.items() if key.endswith("/validation"))
