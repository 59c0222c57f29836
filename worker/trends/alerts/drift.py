"""Whether a model's labels look other than they used to. Pure functions over arrays of counts.

A mood moves how many labels of each emotion there are. A drift moves how the labels of one emotion look: how
sure they are, how long their posts, in which language. So two spreads are compared within each emotion, by
the population stability index,

    PSI = sum over bins of (p - r) * ln(p / r)        p: share of the bin now, r: in the reference

and the mean is taken with the weights of the reference: more joy changes no weight. (PSI is the symmetrised
Kullback-Leibler divergence, Jeffreys 1946; 0.1 and 0.25 are the customary marks for "some" and "much",
Siddiqi 2006, Credit Risk Scorecards.) What counting alone gives (a chi-squared over the bins) is taken off.

A window has drifted in a measure when its PSI

    min_psi           is large enough to matter
    usual             lies `min_deviations` robust standard deviations above that of usual hours: nights and
                      weekends differ from days without anything being wrong
    min_deviations    and as many above what counting alone gives

One emotion has drifted by itself when its confidence has, by a greater distance (`LESS_SURE`): a model that
calls other posts joy is not a mood of joy, even where all other labels look the same. Towards more
confidence the distance must be greater still (`SURER`), because people who express an emotion plainly make
a good model surer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.distribution import COLUMNS, MEASURES
from worker.types import LABELS

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Counts = NDArray[np.int64] | Floats
"""(..., 7, columns): see `worker.distribution`."""

LESS_SURE, SURER = 1.5, 3.75
"""Times `min_psi`: least PSI of one emotion's confidence that is more than news. News are posts of one kind,
so their confidence differs somewhat from that of the emotion's usual posts."""
ENOUGH_HOURS = 6
"""Of history; the same as for emotions' shares."""
ENOUGH_LABELS = 1000
"""In all of history."""

_LEAST_NOW, _LEAST_BEFORE = 20, 50
"""Labels of one emotion that are compared."""
_LEAST_COMPARED = 0.5
"""Part of the reference that compared emotions make up; with less the mean says nothing."""
_LEAST_WEIGHT = 1 / (2 * len(LABELS))
"""Of an emotion, however rare: half of what it would have if all were as frequent."""
_PRIOR = 10.0
"""Labels like the reference that are added to each window: few labels say little."""
_UNIFORM = 0.02
"""Part of each spread that is spread evenly: what was never seen is rare, not impossible."""
_MAD_TO_SIGMA = 1.4826
_ENOUGH_STRAYS = 24


class Rules(NamedTuple):
    """What makes a drift; see `worker.settings.AlertSettings`."""

    min_posts: int
    min_psi: float
    min_deviations: float


class Distance(NamedTuple):
    """How far spreads are from a reference, less what counting gives."""

    psi: Floats
    """(..., 3) of each measure, over the emotions; NaN where too little is known."""
    noise: Floats
    """(..., 3) standard deviation by counting alone."""
    own: Floats
    """(..., 7) of each emotion's confidence."""
    own_noise: Floats
    """(..., 7)"""
    surer: Flags
    """(..., 7) whether its confidence has risen."""


class Reference(NamedTuple):
    """What spreads are compared with."""

    counts: Floats
    """(7, columns)"""
    level: Floats
    """(3,) PSI of its own usual hours."""
    sigma: Floats
    """(3,) how far they stray from it: robust standard deviation."""
    own_level: Floats
    """(7,) the same of each emotion's confidence."""
    own_sigma: Floats


class Verdict(NamedTuple):
    """What was found of some spreads, each (..., ) of them."""

    distance: Distance
    drifted: Flags
    """(..., 3) in each measure."""
    own: Flags
    """(..., 7) in the confidence of one emotion, whatever the others do."""
    half: Flags
    """(..., 7) whether labels of an emotion are half-way to either: where a drift begins, a window holds
    little of it at first."""


def reference_of(history: Counts, rules: Rules) -> Reference | None:
    """Of (H, 7, columns) hours, NaN or zeros where nothing was counted; `None` where they are too few."""
    hours = history.sum(axis=(1, 2)) > 0
    counts = history.sum(axis=0).astype(np.float64)
    if hours.sum() < ENOUGH_HOURS or counts[:, COLUMNS["confidence"]].sum() < ENOUGH_LABELS:
        return None
    distance = distance_of(history[hours], counts)
    judged = labels_in(history[hours]) >= rules.min_posts
    psi = np.where(judged[:, None], distance.psi, np.nan)
    own = np.where(judged[:, None], distance.own, np.nan)
    return Reference(counts, *_usual(psi), *_usual(own))


def judge(now: Counts, reference: Reference, rules: Rules) -> Verdict:
    """Judge spreads (..., 7, columns), each by itself."""
    distance = distance_of(now, reference.counts)
    enough = (labels_in(now) >= rules.min_posts)[..., None]

    def beyond(part: float) -> tuple[Flags, Flags]:
        """In each measure, and in each emotion's confidence, by a part of the least distance."""
        least = np.maximum(part * rules.min_psi, reference.level + k * reference.sigma)
        times = part * np.where(distance.surer, SURER, LESS_SURE)
        own_least = np.maximum(times * rules.min_psi, reference.own_level + k * reference.own_sigma)
        with np.errstate(invalid="ignore"):
            mean = (distance.psi >= least) & (distance.psi >= k * distance.noise)
            own = (distance.own >= own_least) & (distance.own >= k * distance.own_noise)
        return enough & mean, own

    k = rules.min_deviations
    drifted, own = beyond(1.0)
    half, own_half = beyond(0.5)
    return Verdict(distance, drifted, own, half.any(axis=-1, keepdims=True) | own_half)


def distance_of(now: Counts, reference: Counts) -> Distance:
    """How far spreads (..., 7, columns) are from another (7, columns)."""
    labels = reference[:, COLUMNS["confidence"]].sum(axis=1)
    share = labels / max(labels.sum(), 1)
    weight = np.maximum(share, _LEAST_WEIGHT)
    means, noises, parts = [], [], []
    for measure in MEASURES:
        psi, noise = _psi(now[..., COLUMNS[measure]], reference[:, COLUMNS[measure]])
        there = ~np.isnan(psi)
        known = (there * share).sum(axis=-1) >= _LEAST_COMPARED
        total = np.maximum((there * weight).sum(axis=-1, keepdims=True), 1e-12)
        of = there * weight / total
        means.append(np.where(known, np.nansum(of * np.nan_to_num(psi), axis=-1), np.nan))
        noises.append(np.sqrt((of**2 * np.nan_to_num(noise) ** 2).sum(axis=-1)))
        parts.append((psi, noise))
    confidence = parts[MEASURES.index("confidence")]
    surer = _mean_bin(now) > _mean_bin(reference)
    return Distance(np.stack(means, axis=-1), np.stack(noises, axis=-1), *confidence, surer)


def mix_distance(now: Floats, before: Floats) -> tuple[Floats, Floats]:
    """PSI of label mixes (..., 7) against one (7,), less what counting gives, and its deviation by it."""
    psi, noise = _psi(now[..., None, :], before[None, :], least_now=1, least_before=1)
    return psi[..., 0], noise[..., 0]


def lasting(hours: Flags) -> Flags:
    """(3,) of (H, 3) hours: whether a measure has drifted in more than half of the last day.

    By then it is what spikes are compared with: see `baseline`, whose level is a day's median.
    """
    last: Flags = hours[-24:].sum(axis=0) > 12
    return last


def _psi(
    now: Counts, before: Counts, *, least_now: int = _LEAST_NOW, least_before: int = _LEAST_BEFORE
) -> tuple[Floats, Floats]:
    """(..., E) PSI and its standard deviation by counting, of (..., E, bins) against (E, bins)."""
    bins = now.shape[-1]
    n, m = now.sum(axis=-1, keepdims=True), before.sum(axis=-1, keepdims=True)
    plain = (before + 1 / bins) / (m + 1)
    p = _evened((now + _PRIOR * plain) / (n + _PRIOR))
    r = _evened(plain)
    psi = ((p - r) * np.log(p / r)).sum(axis=-1)
    # Given the reference, a share has the variance of a multinomial's; the reference was counted too.
    variance = (1 - _UNIFORM) ** 2 * plain * (1 - plain)
    variance = variance * n / (n + _PRIOR) ** 2 * (1 + n / np.maximum(m, 1)) / r
    noise = np.sqrt(2 * (variance**2).sum(axis=-1))
    few = (n[..., 0] < least_now) | (m[..., 0] < least_before)
    return np.where(few, np.nan, psi - variance.sum(axis=-1)), np.where(few, np.nan, noise)


def _mean_bin(spread: Counts) -> Floats:
    """(..., 7) the mean bin of each emotion's confidence; 0 for no labels."""
    counts = spread[..., COLUMNS["confidence"]]
    mean: Floats = (counts * np.arange(counts.shape[-1])).sum(axis=-1) / np.maximum(counts.sum(axis=-1), 1)
    return mean


def _evened(share: Floats) -> Floats:
    evened: Floats = (1 - _UNIFORM) * share + _UNIFORM / share.shape[-1]
    return evened


def labels_in(spread: Counts) -> Floats:
    """(...,) how many labels spreads hold: each has one confidence."""
    n: Floats = spread[..., COLUMNS["confidence"]].sum(axis=(-1, -2)).astype(np.float64)
    return n


def _usual(values: Floats) -> tuple[Floats, Floats]:
    """(K,) median and robust deviation of (H, K); zeros where fewer than `_ENOUGH_STRAYS` are known."""
    level, sigma = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for column, found in enumerate(values.T):
        known = found[~np.isnan(found)]
        if len(known) >= _ENOUGH_STRAYS:
            level[column] = np.median(known)
            sigma[column] = _MAD_TO_SIGMA * np.median(np.abs(known - level[column]))
    return level, sigma
