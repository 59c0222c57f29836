"""Make `worker/model/spelling.tsv`: `python -m training.wordlist --data DIR --texts FILE --dictionary FILE`.

Common is a word that the texts hold often enough and that a dictionary or the base's vocabulary knows too, so
that a common misspelling is none. Listed as right, without a count, is every known word that would be taken
for a slip of a common one. All other words need no entry.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from training.data import build_corpus, load_sources
from training.model import find_base, load_tokenizer
from worker.model.spelling import corrected, words_of

_WORD = re.compile(r"(?<![\w@#/.:'\u2019-])[a-z]+(?![\w@/:'\u2019-])")
_HELD = re.compile(r"([a-z])\1\1")
_OFTEN = 5
"""Times in the texts."""

_HEAD = """\
# Words for worker.model.spelling, made by `python -m training.wordlist`: WORD<tab>COUNT, or a right word.
# Counts: dair-ai/emotion and GoEmotions (CC BY 4.0), training splits, and CrowdFlower's tweets.
# Known words: the vocabulary of bert-base-uncased (Apache-2.0) and SCOWL (free to use, with its notice:
# Copyright 2000-2011 by Kevin Atkinson).
"""


def word_counts(texts: Iterable[str]) -> Counter[str]:
    """How often each word of lower-case letters stands in texts."""
    return Counter(word for text in texts for word in _WORD.findall(text.lower()))


def table(counts: Mapping[str, int], known: Iterable[str]) -> list[str]:
    """The lines of the list: common words by count, then those to leave alone.

    Args:
        counts: Of the words in texts.
        known: Words that exist.
    """
    exist = {word for word in known if word.isascii() and word.isalpha() and word.islower()}
    common = {
        word: count
        for word, count in counts.items()
        if count >= _OFTEN and word in exist and not _HELD.search(word)
    }
    words = words_of(common)
    slang = {word for word, count in counts.items() if count >= _OFTEN and not _HELD.search(word)}
    right = sorted(word for word in (exist | slang) - common.keys() if corrected(word, words) != word)
    ranked = sorted(common.items(), key=lambda item: (-item[1], item[0]))
    return [*(f"{word}\t{count}" for word, count in ranked), *right]


@click.command()
@click.option("--data", multiple=True, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--texts", multiple=True, type=click.Path(path_type=Path, exists=True), help="One text a line.")
@click.option("--dictionary", multiple=True, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--base", default="minilm", show_default=True)
@click.option("--output", required=True, type=click.Path(path_type=Path, dir_okay=False))
def main(
    data: tuple[Path, ...], texts: tuple[Path, ...], dictionary: tuple[Path, ...], base: str, output: Path
) -> None:
    """Count, filter and write the list."""
    corpus = build_corpus(load_sources(data), 2)
    lines = (line.partition("\t")[0] for file in texts for line in file.read_text("utf-8").split("\n"))
    counts = word_counts([*corpus.train.texts, *lines])
    vocabulary = load_tokenizer(find_base(base), 128).get_vocab()
    written = [word for file in dictionary for word in file.read_text("utf-8").split()]
    found = table(counts, [*vocabulary, *written])
    output.write_text(_HEAD + "\n".join(found) + "\n", encoding="utf-8")
    click.echo(f"{len(found)} words in {output}")


if __name__ == "__main__":
    main()
