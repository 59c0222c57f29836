"""The report folder while a replay is under way: what it answers, and what a kill leaves."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.predictions import answered
from worker.errors import ConfigurationError
from worker.replay.history.contest import Entrant
from worker.replay.history.folder import Cost, Folder, Question, State, held
from worker.replay.history.ranges import Range
from worker.replay.history.table import table

MODEL = Entrant("A", "words@1", "0" * 64, "on", "auto")
QUESTION = Question(
    topic="tweets",
    start="-1h",
    end="end",
    partitions=[],
    sample="100%",
    models=[MODEL],
    max_records=4096,
    max_tokens=16384,
    text="on",
    version="1",
)
STATE = State(QUESTION, "id", [Range(0, 0, 10), Range(1, 5, 7)], 1.0, 4, datetime(2026, 1, 1, tzinfo=UTC))


def begun(path: Path) -> Folder:
    path.mkdir(exist_ok=True)
    folder = Folder(path)
    folder.begin(STATE)
    return folder


def test_a_folder_goes_on_with_the_question_that_it_was_begun_with(tmp_path: Path) -> None:
    assert Folder(tmp_path).resume(QUESTION) is None
    assert begun(tmp_path).resume(QUESTION) == STATE


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"topic": "feedback"}, "topic was tweets, now it is feedback"),
        ({"start": "-2h"}, "start was -1h, now it is -2h"),
        ({"partitions": [2]}, "partitions was all, now it is 2"),
        ({"sample": "5000"}, "sample was 100%, now it is 5000"),
        (
            {"models": [msgspec.structs.replace(MODEL, manifest_sha256="1" * 64)]},
            r"models was words@1 \(00000000, gate on\), now it is words@1 \(11111111, gate on\)",
        ),
        ({"models": [msgspec.structs.replace(MODEL, gate="off")]}, "gate off"),
        ({"max_tokens": 99}, "max_tokens was 16384, now it is 99"),
    ],
)
def test_another_question_is_refused_and_told_how_to_start_anew(
    tmp_path: Path, asked: dict[str, Any], said: str
) -> None:
    folder = begun(tmp_path)
    with pytest.raises(ConfigurationError, match=said) as caught:
        folder.resume(msgspec.structs.replace(QUESTION, **asked))
    assert caught.value.problems[-1].startswith(f"to start anew: rm -r {tmp_path}")
    assert folder.resume(QUESTION) == STATE


def test_files_of_somebody_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigurationError, match=r"holds other files \(thesis.tex\)"):
        Folder(tmp_path).resume(QUESTION)


def test_a_broken_state_says_what_to_do(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    (tmp_path / "replay.json").write_text("{")
    with pytest.raises(ConfigurationError, match="to start anew"):
        folder.resume(QUESTION)


def test_two_processes_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with held(tmp_path / "new" / "report") as folder:
        assert folder.path.is_dir()
        with pytest.raises(ConfigurationError, match="another replay is at work"), held(folder.path):
            pass
    with held(folder.path):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be used"), held(tmp_path / "file"):
        pass


def test_a_part_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    first, *others = folder.parts(STATE)
    assert [(part.partition, part.start, part.end) for part in (first, *others)] == [
        (0, 0, 4),
        (0, 4, 8),
        (0, 8, 10),
        (1, 5, 7),
    ]
    # What a killed process leaves of a part that it was writing.
    (tmp_path / "parts" / f"{first.name}.unfinished").write_bytes(b"PAR1 and no more")
    assert not folder.is_done(first)
    part = answered(4)
    rows = table(part.facts, part.answers)
    folder.write(first, rows, Cost(2.0, {"A": 1.5}))
    assert folder.is_done(first)
    assert folder.read(first) == (rows, Cost(2.0, {"A": 1.5}))
    assert not any(map(folder.is_done, others))


def test_a_finished_replay_keeps_no_parts(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    done = folder.complete(STATE)
    assert done.complete
    assert folder.resume(QUESTION) == done
    assert not (tmp_path / "parts").exists()
