"""What is done with each line of the documents."""

from __future__ import annotations

import pytest

from tests.docs_proof.exceptions import NOT_RUN, ROLES, STREAMS, Typed, documented, manner

LINES = documented()


def test_lines_are_found_in_all_documents_and_each_once() -> None:
    assert len(LINES) > 80
    assert len({one.line for one in LINES}) == len(LINES)
    assert {"README.md", "RELIABILITY.md", "docs/swap.md", "docs/trends.md"} <= {
        one.document for one in LINES
    }


@pytest.mark.parametrize("begin", [*NOT_RUN, *ROLES, *STREAMS])
def test_no_exception_is_of_a_line_that_is_there_no_more(begin: str) -> None:
    assert any(f"{one.command} ".startswith(begin) for one in LINES)


def test_more_than_half_is_run() -> None:
    assert sum(manner(one)[0] != "not" for one in LINES) > len(LINES) / 2


@pytest.mark.parametrize(
    ("line", "how"),
    [
        ("moodstream topics create", "run"),
        ("A_B=c moodstream worker --set model.store=models", "role"),
        ("moodstream trends", "role"),
        ("moodstream trends rebuild", "run"),
        ("moodstream quality report", "run"),
        ("moodstream quality", "role"),
        ("make demo", "not"),
        ("curl -N 'http://127.0.0.1:8080/api/live'", "stream"),
        ("zcat dump.jsonl.gz | moodstream send - --rate 200", "run"),
    ],
)
def test_roles_stay_and_all_else_is_run(line: str, how: str) -> None:
    assert manner(Typed("README.md", line))[0] == how
