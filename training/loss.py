"""The loss: cross-entropy with soft targets over the six, and a neutral logit beside them."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from training.data import SIX, UNKNOWN, Targets


def emotion_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    neutral_weight: float = 1.0,
    class_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy with the emotions' soft targets, plus binary cross-entropy for neutral.

    Each half is the mean over the rows that know it; a half that no row knows is 0. Neutral is a
    logit of its own and no seventh class, so that the answer among the six is learnt from rows that
    are certain of one and not pushed down by the many neutral ones.

    Args:
        logits: (n, 6) or, with a gate, (n, 7).
        targets: (n, 7) as `training.data` describes.
        label_smoothing: As in the recipe.
        neutral_weight: As in the recipe.
        class_weights: (6,) as `balanced_weights` gives them; a row counts by the weight of its target,
            as in torch's own weighted cross-entropy.

    Returns:
        A scalar, in nats.
    """
    logits = logits.float()
    expresses = targets[:, :SIX].sum(dim=1) > 0
    loss = logits.sum() * 0.0  # A graph to go backwards through, even where no row knows anything.
    if expresses.any():
        answer, truth = logits[expresses, :SIX], targets[expresses, :SIX]
        row_losses = functional.cross_entropy(
            answer, truth, weight=class_weights, label_smoothing=label_smoothing, reduction="none"
        )
        total = len(truth) if class_weights is None else (truth * class_weights).sum()
        loss = loss + row_losses.sum() / total
    known = targets[:, SIX] != UNKNOWN
    if logits.shape[1] > SIX and known.any():
        loss = loss + neutral_weight * functional.binary_cross_entropy_with_logits(
            logits[known, SIX], targets[known, SIX]
        )
    return loss


def balanced_weights(targets: Targets) -> torch.Tensor:
    """(6,) rows / (6 * rows of the class): every class has the same weight in all (King and Zeng 2001).

    Args:
        targets: (n, 7); a soft target counts for each class by its share. A class without rows gets 1.
    """
    rows = targets[:, :SIX].sum(axis=0, dtype=np.float64)
    weights = np.divide(rows.sum() / SIX, rows, out=np.ones(SIX), where=rows > 0)
    return torch.tensor(weights, dtype=torch.float32)
