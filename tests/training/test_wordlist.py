"""The list of words that typing errors are put right with."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from training.wordlist import main, table, word_counts
from worker.model.spelling import corrected, words_of


def test_words_are_counted_without_links_mentions_and_contractions() -> None:
    counts = word_counts(["I feel fine, feel it!", "@feel https://feel.example don't #feel feel"])

    assert counts["feel"] == 3
    assert counts["don"] == counts["t"] == 0


def test_common_words_have_a_count_and_right_ones_that_look_like_slips_have_none() -> None:
    counts = {"happened": 300, "wich": 9, "whichever": 20, "hapened": 2, "rare": 1, "fooo": 9}

    lines = table(counts, ["happened", "whichever", "happend", "rare", "Paris", "x1"])

    assert lines == ["happened\t300", "whichever\t20", "happend"]
    words = words_of({"happened": 300, "whichever": 20}, frozenset({"happend"}))
    assert [corrected(word, words) for word in ("hapened", "happend")] == ["happened", "happend"]


def test_the_command_writes_the_list(emotion_folder: Path, tiny_base: Path, tmp_path: Path) -> None:
    dictionary = tmp_path / "words"
    dictionary.write_text("feel furious merry gloomy\n")

    done = CliRunner().invoke(
        main,
        [
            *("--data", str(emotion_folder), "--dictionary", str(dictionary)),
            *("--base", str(tiny_base), "--output", str(tmp_path / "list.tsv")),
        ],
    )

    assert done.exit_code == 0, done.output
    rows = [line for line in (tmp_path / "list.tsv").read_text().splitlines() if not line.startswith("#")]
    assert any(row.startswith("feel\t") for row in rows)
