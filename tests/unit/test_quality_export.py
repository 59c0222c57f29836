"""What becomes of judgements that are exported: each a row, or left out and counted, and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.quality import NOW, judgement
from training.extra import read_extra
from worker.cli import cli
from worker.errors import ConfigurationError
from worker.quality.evaluation_texts import read_all, same_text
from worker.quality.export import Exported, Row, rows, write
from worker.types import EMOTIONS, MAX_LABEL_TEXT, Judgement


def exported(*judged: Judgement, excluded: frozenset[str] = frozenset()) -> tuple[list[Row], Exported]:
    counts = Exported()
    return list(rows(judged, excluded, counts)), counts


def test_a_row_says_where_it_comes_from() -> None:
    [row], _ = exported(judgement("joy", "anger", "anger", "love", number=4, lang="en"))

    assert (row.text, row.label, row.votes) == ("we won!!", "anger", {"anger": 2, "love": 1})
    assert (row.model, row.model_label, row.model_score) == ("mini@1", "joy", 0.9)
    assert (row.label_ref, row.input, row.id) == ("emotion-labels/0/4", "tweets/0/4", "7")
    assert (row.by, row.at, row.lang) == (["person-0", "person-1", "person-2"], NOW, "en")


def test_every_judgement_is_a_row_or_left_out_for_a_reason() -> None:
    found, counts = exported(
        judgement("joy", "joy", number=1),
        judgement("joy", "joy", "fear", number=2),
        judgement("joy", "joy", number=3, text=None),
        judgement("joy", "joy", number=4, text="An evaluation text"),
        excluded=frozenset({same_text("an evaluation  TEXT")}),
    )

    assert [row.label_ref for row in found] == ["emotion-labels/0/1"]
    assert counts == Exported(judgements=4, rows=1, undecided=1, without_text=1, excluded=1)


@pytest.mark.parametrize(
    ("post", "evaluated"),
    [
        ("We WON!!", "we won!!"),
        ("we \n won!!", "we won!!"),
        ("@bob we won!! https://example.org/1", "@ann we won!! http"),
        ("we won &amp; won", "we won & won"),
        ("x" * MAX_LABEL_TEXT, "x" * 3000),
    ],
)
def test_one_text_is_recognised_in_another_dress(post: str, evaluated: str) -> None:
    assert same_text(post) == same_text(evaluated)


def test_evaluation_texts_come_in_several_forms(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("one; with a semicolon;joy\nwithout a label\n")
    (tmp_path / "val.jsonl").write_text('{"text": "two", "label": "joy"}\n\n{"text": "three"}\n')
    (tmp_path / "dev.tsv").write_text("four\t27\tabc\n")
    (tmp_path / "README.md").write_text("five")

    expected = {"one; with a semicolon", "without a label", "two", "three", "four"}
    assert read_all([tmp_path]) == expected
    assert read_all([tmp_path / "dev.tsv"]) == {"four"}
    assert read_all([]) == set()


def test_every_place_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"label": "joy"}\n')
    (tmp_path / "empty").mkdir()

    with pytest.raises(ConfigurationError) as refused:
        read_all([tmp_path / "empty", tmp_path])

    assert len(refused.value.problems) == 2


def test_a_failed_export_leaves_what_was_there(tmp_path: Path) -> None:
    output = tmp_path / "corrections.jsonl"
    output.write_text("before")

    def failing() -> object:
        yield exported(judgement("joy", "joy"))[0][0]
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write(output, failing())  # type: ignore[arg-type]
    assert output.read_text() == "before"
    assert list(tmp_path.iterdir()) == [output]


def test_training_reads_what_is_exported(tmp_path: Path) -> None:
    output = tmp_path / "corrections.jsonl"
    found, _ = exported(
        judgement("joy", "anger", number=1, text="cross"),
        judgement("joy", "neutral", "neutral", "love", "fear", number=2, text='a "quoted"\nline\u2028'),
    )
    write(output, found)

    split = read_extra([output])

    assert split.texts == ["cross", 'a "quoted"\nline\u2028']
    assert split.targets[0].tolist() == [float(emotion == "anger") for emotion in EMOTIONS] + [0]
    assert split.targets[1].tolist() == [0, 0, 0.5, 0, 0.5, 0, 0.5]


def test_every_line_is_json_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "x", exported(judgement("joy", "joy"))[0])

    [line] = (tmp_path / "x").read_text().splitlines()
    assert json.loads(line)["text"] == "we won!!"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing option '--exclude'"),
        (["--exclude", "none", "--exclude", "."], "give one or the other"),
        (["--exclude", "no-such-folder"], "no such folder or file"),
    ],
)
def test_without_naming_what_is_measured_with_nothing_is_exported(arguments: list[str], says: str) -> None:
    done = CliRunner().invoke(cli, ["quality", "export", "--output", "x.jsonl", *arguments])

    assert done.exit_code == 2
    assert says in done.output
