"""Gold labels of a file: what is read, and what is said about what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.errors import ConfigurationError
from worker.replay.history.truth import Gold, read_gold
from worker.settings import KafkaSettings


def read(file: Path, content: str, **names: str) -> Gold:
    file.write_text(content, encoding="utf-8")
    return read_gold(str(file), KafkaSettings(), names)


def problems(file: Path, content: str, **names: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        read(file, content, **names)
    return caught.value.problems


def test_json_lines_and_tables_say_the_same(tmp_path: Path) -> None:
    expected = {"1": "joy", "two": "neutral"}
    lines = '{"id": 1, "label": "joy", "by": "ann"}\n\n{"id": "two", "label": "neutral"}\n'
    assert read(tmp_path / "g.jsonl", lines).labels == expected
    assert read(tmp_path / "g.csv", '\ufefflabel,note,id\njoy,,1\nneutral,"a, b",two\n').labels == expected
    assert read(tmp_path / "g.tsv", "id\tlabel\n1\tjoy\ntwo\tneutral\n").labels == expected


def test_an_id_that_is_there_twice_counts_once_if_it_has_one_label(tmp_path: Path) -> None:
    found = read(tmp_path / "g.csv", "id,label\n1,joy\n1,joy\n2,fear\n")
    assert (found.labels, found.rows, found.repeated) == ({"1": "joy", "2": "fear"}, 3, 1)


def test_an_id_with_two_labels_is_an_error_that_names_both_lines(tmp_path: Path) -> None:
    assert problems(tmp_path / "g.csv", "id,label\n1,joy\n2,fear\n1,anger\n") == (
        "g.csv:4: id 1 is anger, but joy in g.csv:2",
    )


def test_names_that_differ_are_told_once_each_with_a_way_out(tmp_path: Path) -> None:
    content = "id,label\n" + "".join(f"{number},happiness\n" for number in range(40)) + "99,worry\n"
    first, second = problems(tmp_path / "g.csv", content)
    assert first.startswith("unknown label 'happiness' (40 times, first in g.csv:2); known are sadness, joy")
    assert first.endswith("--rename happiness=LABEL")
    assert "'worry' (1 times, first in g.csv:42)" in second
    assert set(read(tmp_path / "g.csv", content, happiness="joy", worry="fear").labels.values()) == {
        "joy",
        "fear",
    }
    [unknown] = problems(tmp_path / "g.csv", content, happiness="bliss")
    assert unknown.startswith("--rename to bliss: no such label")


def test_every_line_that_is_wrong_is_named_up_to_a_number(tmp_path: Path) -> None:
    assert problems(tmp_path / "g.jsonl", '{"id": 1}\n{\n[]\n{"id": 1.5, "label": "joy"}\n')[:2] == (
        "g.jsonl:1: Object missing required field `label`",
        "g.jsonl:2: Input data was truncated",
    )
    many = problems(tmp_path / "g.jsonl", "{\n" * 50)
    assert len(many) == 21
    assert many[-1] == "... and 30 more"
    assert problems(tmp_path / "g.csv", "id,label\n,joy\n7,\n") == ("g.csv:2: no id", "g.csv:3: no label")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("g.csv", "post,label\n1,joy\n", "its first line names no column id"),
        ("g.csv", "", "its first line names no column id and no label"),
        ("g.jsonl", "\n", "no gold label in it"),
        ("g.parquet", "", "name a .jsonl, .csv or .tsv file"),
    ],
)
def test_files_that_are_none(tmp_path: Path, name: str, content: str, said: str) -> None:
    assert said in problems(tmp_path / name, content)[0]


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_gold(str(tmp_path / "g.csv"), KafkaSettings(), {})
    (tmp_path / "g.csv").write_bytes(b"id,label\n1,\xff\n")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        read_gold(str(tmp_path / "g.csv"), KafkaSettings(), {})
