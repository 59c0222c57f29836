"""Soft targets from teachers: what several larger models think of each training text.

A label of dair-ai/emotion is one hashtag of one author, one of GoEmotions the vote of three to five
readers; both are often wrong or only one of several right answers. The mean of teachers' calibrated
probabilities is a better target than the label alone (Hinton et al. 2015), and it exists for texts that
nobody has labelled.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from training.calibrate import Calibration
from training.checkpoints import digest
from training.data import SIX, UNKNOWN, Corpus, Split, Targets, nothing_known
from training.export import predict_openvino
from training.model import encode
from worker.errors import ConfigurationError
from worker.model import artifact
from worker.model.artifact import MANIFEST
from worker.types import EMOTIONS

_ADDRESSES = ("@user", "http")
"""What normalisation writes for mentions and links."""


def distil(
    corpus: Corpus, teachers: Sequence[Path], weight: float, say: Callable[[str], None], *, cache: Path
) -> Split:
    """The training rows with targets drawn towards the teachers', and the unlabelled texts with theirs.

    Args:
        corpus: What a student is trained on.
        teachers: Folders of artefacts that know the six, each as good as any other.
        weight: Share of a target that is the teachers', the rest is the label's.
        say: Called with a line for people now and then.
        cache: Folder that answers are kept in, for the next seed.

    Returns:
        The labelled rows, then the unlabelled ones.

    Raises:
        ConfigurationError: A teacher cannot answer for the six.
        ArtifactError: A teacher's folder is incomplete or altered.
    """
    rows = Split(
        [*corpus.train.texts, *corpus.unlabelled],
        np.concatenate([corpus.train.targets, nothing_known(len(corpus.unlabelled))]),
    )
    texts = [unaddressed(text) for text in rows.texts]
    answers = [_remembered(teacher, texts, cache, say) for teacher in teachers]
    return Split(rows.texts, blend(rows.targets, mean_answer(answers), weight))


def _remembered(teacher: Path, texts: Sequence[str], cache: Path, say: Callable[[str], None]) -> Targets:
    """What a teacher answers, or what it answered when it was asked the same before."""
    file = cache / f"{digest(texts, (teacher / MANIFEST).read_bytes())}.npy"
    if file.is_file():
        say(f"{teacher.name} has been asked about these {len(texts)} texts before")
        known: Targets = np.load(file, allow_pickle=False)
        return known
    say(f"asking {teacher.name} about {len(texts)} texts")
    answer = ask(teacher, texts)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=cache, suffix=".npy", delete=False) as unfinished:
        np.save(unfinished, answer, allow_pickle=False)
    Path(unfinished.name).replace(file)
    return answer


def ask(teacher: Path, texts: Sequence[str]) -> Targets:
    """(n, 7) a teacher's probabilities; `UNKNOWN` for neutral where it has no gate.

    Args:
        teacher: Folder of an artefact; its 8-bit graph answers, ten times as fast as its full precision.
        texts: Normalised as the teacher's were.

    Raises:
        ConfigurationError, ArtifactError: As for `distil`.
    """
    loaded = artifact.load(teacher)
    manifest = loaded.manifest
    if tuple(manifest.labels) != EMOTIONS or not loaded.has("openvino.xml"):
        raise ConfigurationError(
            [f"teacher {teacher}: it needs a CPU graph and the labels {', '.join(EMOTIONS)} in this order"]
        )
    tokenizer = Tokenizer.from_file(str(loaded.tokenizer_path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(manifest.max_length)
    logits = predict_openvino(loaded.openvino_path, encode(tokenizer, texts))
    calibration = Calibration(manifest.temperature, manifest.neutral)
    answer = np.full((len(texts), SIX + 1), UNKNOWN, np.float32)
    answer[:, :SIX] = calibration.emotions(logits)
    if manifest.neutral is not None:
        answer[:, SIX] = calibration.neutrality(logits)
    return answer


def unaddressed(text: str) -> str:
    """A text without its mentions and links, or as it is where it has nothing else.

    A teacher that has seen few of them changes its mind over them; the student reads the whole text with
    the answer for the bare one, and so learns that whom a post addresses is no emotion.
    """
    kept = " ".join(word for word in text.split() if word not in _ADDRESSES)
    return kept or text


def mean_answer(answers: Sequence[Targets]) -> Targets:
    """(n, 7) the mean of several teachers' answers; of neutral, over those that have a gate."""
    gated = [answer[:, SIX] for answer in answers if (answer[:, SIX] != UNKNOWN).all()]
    mean = np.asarray(np.mean(answers, axis=0), dtype=np.float32)
    mean[:, SIX] = np.mean(gated, axis=0) if gated else UNKNOWN
    return mean


def blend(labels: Targets, taught: Targets, weight: float) -> Targets:
    """(n, 7) `weight` of the teachers, the rest of the label; whoever does not know is left out."""
    known = labels[:, :SIX].sum(axis=1, keepdims=True) > 0
    six = np.where(known, weight * taught[:, :SIX] + (1 - weight) * labels[:, :SIX], taught[:, :SIX])
    label, answer = labels[:, SIX:], taught[:, SIX:]
    neutral = np.where(label == UNKNOWN, answer, weight * answer + (1 - weight) * label)
    neutral = np.where(answer == UNKNOWN, label, neutral)
    return np.concatenate([six, neutral], axis=1).astype(np.float32)
