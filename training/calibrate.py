"""From logits to probabilities that mean what they say, fitted on validation data alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from training.data import SIX, Split
from training.scores import macro_f1
from worker.model.artifact import NeutralGate
from worker.model.classifier import Calibration as ServingCalibration
from worker.model.classifier import calibrated
from worker.types import Classified

Logits = NDArray[np.float32]
Floats = NDArray[np.float64]

_RANGE = (0.05, 20.0)
"""Temperatures looked at. Fine-tuned encoders land between 0.5 and 3."""
_SOFTENINGS = (-0.3, 0.3)
"""Looked at. A gate's logit lies between -8 and 8 or so, and both ends then halve or double a temperature."""
_THRESHOLDS = np.linspace(0.05, 0.95, 91)


class Calibration(msgspec.Struct, frozen=True):
    """What turns a network's logits into answers; it becomes part of the manifest."""

    temperature: float
    neutral: NeutralGate | None

    def emotions(self, logits: Logits) -> Floats:
        """(n, 6) probabilities of the emotions, from (n, 6 or 7) logits."""
        return self._answer(logits).scores

    def neutrality(self, logits: Logits) -> Floats:
        """(n,) probability that none of the six is expressed; 0 where there is no gate."""
        return self._answer(logits).neutral

    def answers(self, logits: Logits) -> Classified:
        """What the worker answers for these logits, the gate included."""
        return self._answer(logits, gate=True)

    def _answer(self, logits: Logits, *, gate: bool = False) -> Classified:
        """What the worker makes of these logits."""
        neutral = self.neutral
        serving = ServingCalibration(
            columns=tuple(range(SIX)),
            temperature=self.temperature,
            neutral_index=None if neutral is None else neutral.index,
            neutral_temperature=1.0 if neutral is None else neutral.temperature,
            neutral_threshold=1.0 if neutral is None else neutral.threshold,
            softening=0.0 if neutral is None else neutral.softening,
        )
        return calibrated(logits, serving, gate=gate)

    def figures(self) -> dict[str, float]:
        """The numbers, for people."""
        figures = {"temperature": self.temperature}
        if self.neutral is not None:
            figures["neutral temperature"] = self.neutral.temperature
            figures["neutral threshold"] = self.neutral.threshold
            figures["softening"] = self.neutral.softening
        return figures


def calibrate(validation: Sequence[tuple[Split, Logits]]) -> Calibration:
    """Fit the temperatures by negative log-likelihood and the gate's threshold by macro F1.

    One temperature for all posts is too mild for texts that plainly express an emotion and too bold for
    those that hardly do; with a gate, it therefore follows the gate's logit (`softening`), fitted with it.

    Every source counts the same whatever its size: the model shall be as honest about the one as
    about the other. The gate is fitted on the sources that know both kinds of text; one without
    neutral texts would only teach how rare they are in it.

    Args:
        validation: Each source's validation split, with the network's logits for it.
    """
    gated = [
        (split, logits)
        for split, logits in validation
        if logits.shape[1] > SIX and (split.neutral == 1).any() and (split.neutral == 0).any()
    ]
    emotional = [
        (logits[split.emotion >= 0], split.emotion[split.emotion >= 0])
        for split, logits in validation
        if (split.emotion >= 0).any()
    ]
    if not gated:
        return Calibration(_temperature(emotional, 0.0)[0], None)
    softening = _fit(lambda k: _temperature(emotional, k)[1], *_SOFTENINGS)
    gate = msgspec.structs.replace(_gate(gated), softening=softening)
    return Calibration(_temperature(emotional, softening)[0], gate)


def _temperature(
    emotional: Sequence[tuple[Logits, NDArray[np.intp]]], softening: float
) -> tuple[float, float]:
    """The best temperature at a softening, and the mean negative log-likelihood that it leaves."""
    softened = [
        (logits[:, :SIX] / np.exp(softening * logits[:, [SIX]]) if softening else logits[:, :SIX], truth)
        for logits, truth in emotional
    ]

    def loss(temperature: float) -> float:
        return float(np.mean([_emotion_nll(logits / temperature, truth) for logits, truth in softened]))

    temperature = _fit_temperature(loss)
    return temperature, loss(temperature)


def _gate(gated: Sequence[tuple[Split, Logits]]) -> NeutralGate:
    known = [(logits[split.neutral >= 0, SIX], split.neutral[split.neutral >= 0]) for split, logits in gated]
    temperature = _fit_temperature(
        lambda t: float(np.mean([_binary_nll(logits / t, truth) for logits, truth in known]))
    )
    draft = Calibration(1.0, NeutralGate(index=SIX, temperature=temperature, threshold=0.5))
    cases = [_seven_way(split, logits, draft) for split, logits in gated]
    quality = [
        float(np.mean([macro_f1(truth, _gated(p, answer, t), SIX + 1) for truth, answer, p in cases]))
        for t in _THRESHOLDS
    ]
    threshold = round(float(_THRESHOLDS[int(np.argmax(quality))]), 4)
    return NeutralGate(index=SIX, temperature=temperature, threshold=threshold)


def _seven_way(
    split: Split, logits: Logits, draft: Calibration
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Truth among seven, answer among six and neutrality, of the rows that are certain of one."""
    neutral = split.neutral == 1
    certain = neutral | ((split.emotion >= 0) & (split.neutral == 0))
    truth = np.where(neutral, SIX, split.emotion)[certain]
    return truth, logits[certain, :SIX].argmax(axis=1), draft.neutrality(logits[certain])


def _gated(probability: Floats, answer: NDArray[np.intp], threshold: float) -> NDArray[np.intp]:
    return np.where(probability >= threshold, SIX, answer)


def _emotion_nll(logits: Logits, truth: NDArray[np.intp]) -> float:
    """Mean negative log-likelihood, in nats."""
    peak = logits.max(axis=1)
    partition = peak + np.log(np.exp(logits - peak[:, None]).sum(axis=1))
    return float((partition - logits[np.arange(len(truth)), truth]).mean())


def _binary_nll(logits: Logits, truth: NDArray[np.intp]) -> float:
    """Mean negative log-likelihood, in nats."""
    return float((np.logaddexp(0, logits) - truth * logits).mean())


def _fit_temperature(loss: Callable[[float], float]) -> float:
    """The temperature of least loss; both losses are convex in 1/temperature, so there is one valley."""
    low, high = np.log(_RANGE)
    return round(float(np.exp(_fit(lambda t: loss(float(np.exp(t))), low, high))), 4)


def _fit(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where a loss with one valley is least between two bounds, by golden-section search."""
    ratio = (np.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(float(left)) < loss(float(right)):
            high = right
        else:
            low = left
    return round(float((low + high) / 2), 4)
