"""More texts for rare emotions: into another language and back, the label kept.

A translation that is translated back says the same in other words (Sennrich et al. 2016,
https://arxiv.org/abs/1511.06709). Sampled translations vary more, and teach more, than the likeliest ones
(Edunov et al. 2018, https://arxiv.org/abs/1808.09381). Translating takes longer than training a small model,
so every translation is kept in a file and asked for once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from training.cache import CACHE_VARIABLE, folder_for
from training.data import Split
from training.translate import MarianTranslator, Translator
from worker.errors import ConfigurationError
from worker.types import EMOTIONS

_Count = Annotated[int, Meta(ge=1)]
_Name = Annotated[str, Meta(min_length=1)]


class BackTranslation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How rare classes get more texts."""

    there: _Name = "Helsinki-NLP/opus-mt-en-de"
    """MarianMT model out of the texts' language: a folder, or an id on the Hugging Face hub."""
    back: _Name = "Helsinki-NLP/opus-mt-de-en"
    """MarianMT model back into it."""
    below: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """Classes with fewer rows than this share of the largest class get copies."""
    copies: _Count = 1
    """Of each of their texts."""
    batch_size: _Count = 32
    """Texts that a model translates at a time."""
    temperature: Annotated[float, Meta(ge=0)] = 0.7
    """Of sampling: 1 draws words as likely as the model thinks them, less keeps closer to the likeliest,
    0 is beam search."""
    seed: int = 42
    """Of the sampling."""

    def __post_init__(self) -> None:
        if self.copies > 1 and not self.temperature:
            raise ValueError(
                "copies above 1 need a temperature above 0: beam search finds the same each time"
            )


def translators(settings: BackTranslation) -> tuple[MarianTranslator, MarianTranslator]:
    """The models there and back; neither is loaded before it is asked."""
    there, back = (
        MarianTranslator(name, temperature=settings.temperature, seed=settings.seed)
        for name in (settings.there, settings.back)
    )
    return there, back


def default_cache() -> Path:
    """Where translations are kept."""
    return folder_for("translations")


def minority(split: Split, below: float) -> NDArray[np.intp]:
    """(rows,) indices of those of rare classes, ascending.

    A class is an emotion that a row certainly expresses; rows with several, unknown or none count nowhere.

    Args:
        split: Labelled texts.
        below: A class with fewer rows than this share of the largest class's is rare.
    """
    emotion = split.emotion
    rows = np.bincount(emotion[emotion >= 0], minlength=len(EMOTIONS))
    rare = rows < below * rows.max()
    return np.flatnonzero((emotion >= 0) & rare[emotion])


def augmented(
    split: Split,
    settings: BackTranslation,
    translate_there: Translator,
    translate_back: Translator,
    cache: Path,
    *,
    say: Callable[[str], None],
    held_out: Iterable[str] = (),
    normalise: Callable[[str], str] = str,
    progress: bool = False,
) -> Split:
    """The rows, and after them translated copies of those of rare classes, with the same targets.

    A copy that differs from its text, another row, another copy or a held-out text in case alone is dropped.

    Args:
        split: Training rows, before teachers soften their targets.
        settings: How many copies of what.
        translate_there: Out of the texts' language.
        translate_back: Back into it.
        cache: A folder to keep translations in; what stands there is not asked again. It knows models by
            name: one whose weights have changed needs another folder.
        say: Called with a line for people now and then.
        held_out: Texts of every validation and test split, normalised.
        normalise: What was done to the texts of `split`: it is done to the copies too.
        progress: Whether to draw a progress bar on standard error.

    Raises:
        ConfigurationError: The cache cannot be written, or a folder holds no usable model.
        DependencyError: A model is not on this machine and the hub does not give it.
    """
    rows = minority(split, settings.below)
    if not len(rows):
        say(f"back-translation: no class has fewer than {settings.below:.0%} of the largest one's rows")
        return split
    wanted = [
        _Copy.of(settings, int(row), split.texts[row], n) for row in rows for n in range(settings.copies)
    ]
    known = _Translations(cache / "translations.jsonl")
    missing = list({copy.key: copy for copy in wanted if copy.key not in known.texts}.values())
    say(f"back-translation: {len(wanted)} copies of {len(rows)} texts, {len(missing)} not translated yet")
    for batch in track(
        _batches(missing, settings.batch_size),
        description="translating",
        console=Console(stderr=True),
        disable=not progress,
    ):
        translated = translate_back(translate_there([copy.text for copy in batch]))
        known.add({copy.key: text for copy, text in zip(batch, translated, strict=True)})
    return _with_copies(
        split, [(copy.row, normalise(known.texts[copy.key])) for copy in wanted], held_out, say
    )


class _Copy(NamedTuple):
    """One translation that is wanted."""

    key: str
    row: int
    text: str

    @classmethod
    def of(cls, settings: BackTranslation, row: int, text: str, number: int) -> _Copy:
        """With everything in the key that decides what the models answer."""
        parts = [settings.there, settings.back, settings.temperature, settings.seed, number, text]
        return cls(hashlib.sha256(msgspec.json.encode(parts)).hexdigest(), row, text)


class _Entry(msgspec.Struct, frozen=True):
    """A line of the cache."""

    key: str
    text: str


class _Translations:
    """Translations by key, in a file with a JSON object a line that is only ever appended to.

    A process that is killed leaves at most its last line incomplete: that one is asked for again.

    Raises:
        ConfigurationError: The file cannot be read or written.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a+b") as stream:
                stream.seek(0)
                lines = stream.read().split(b"\n")
        except OSError as error:
            raise _cannot_keep(file, error) from error
        self._torn = bool(lines[-1])
        self.texts = dict(_complete(lines))

    def add(self, texts: dict[str, str]) -> None:
        """Keep translations, in the file first."""
        lines = [msgspec.json.encode(_Entry(key, text)) + b"\n" for key, text in texts.items()]
        if self._torn:
            lines.insert(0, b"\n")
        try:
            with self._file.open("ab") as stream:  # One write: processes may share the file.
                stream.write(b"".join(lines))
        except OSError as error:
            raise _cannot_keep(self._file, error) from error
        self._torn = False
        self.texts |= texts


def _cannot_keep(file: Path, error: OSError) -> ConfigurationError:
    reason = error.strerror or str(error)
    return ConfigurationError(
        [f"translations cannot be kept in {file} ({reason}); {CACHE_VARIABLE} moves them"]
    )


def _complete(lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """Key and text of every line that is whole."""
    for line in lines:
        try:
            entry = msgspec.json.decode(line, type=_Entry)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        yield entry.key, entry.text


def _batches(copies: Sequence[_Copy], size: int) -> list[list[_Copy]]:
    """In batches of similar length, the longest first: what does not fit into memory fails at once."""
    ordered = sorted(copies, key=lambda copy: -len(copy.text))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _with_copies(
    split: Split, copies: Sequence[tuple[int, str]], held_out: Iterable[str], say: Callable[[str], None]
) -> Split:
    """The rows and those copies that are new; each has the index of its row."""
    seen = {"", *(text.casefold() for text in held_out), *(text.casefold() for text in split.texts)}
    rows: list[int] = []
    texts: list[str] = []
    for row, text in copies:
        if text.casefold() not in seen:
            seen.add(text.casefold())
            rows.append(row)
            texts.append(text)
    added = np.bincount(split.emotion[rows], minlength=len(EMOTIONS))
    of_each = ", ".join(f"{name} {count}" for name, count in zip(EMOTIONS, added, strict=True) if count)
    say(
        f"back-translation: {len(copies) - len(texts)} copies say nothing new; added {len(texts)}"
        + (f": {of_each}" if of_each else "")
    )
    return Split([*split.texts, *texts], np.concatenate([split.targets, split.targets[rows]]))
