from __future__ import annotations

from pathlib import Path

import pytest

from worker.errors import ConfigurationError
from worker.replay.gold import Gold, read_gold, read_posts


def test_a_semicolon_in_the_text_stays(tmp_path: Path) -> None:
    file = tmp_path / "any-name.txt"
    file.write_text("one; two;joy\r\n\nthree; fear \n", encoding="utf-8")
    assert read_gold(file, "test") == [Gold("one; two", "joy"), Gold("three", "fear")]


@pytest.mark.parametrize("name", ["validation.txt", "val.jsonl", "dev.txt"])
def test_validation_goes_by_many_names(tmp_path: Path, name: str) -> None:
    line = '{"text": "a", "label": "joy"}' if name.endswith("jsonl") else "a;joy"
    (tmp_path / name).write_text(line)
    assert read_gold(tmp_path, "validation") == [Gold("a", "joy")]


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("\n\n")
    with pytest.raises(ConfigurationError, match="no labelled text"):
        read_gold(tmp_path, "test")


def test_posts_are_lines_without_their_label(tmp_path: Path) -> None:
    file = tmp_path / "posts.txt"
    file.write_text("so it goes;joy\n\nwink ;)\njust; this\r\n;joy\n", encoding="utf-8")
    assert read_posts(file) == ["so it goes", "wink ;)", "just; this", ";joy"]


def test_posts_that_are_no_text_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "posts.txt"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        read_posts(file)
    file.write_text(" \n")
    with pytest.raises(ConfigurationError, match="no text"):
        read_posts(file)
