"""The documents: every command, setting and make target that they name is real."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.documented import Line, Makefile, faults, typed
from worker.cli import cli
from worker.configuration import known
from worker.settings import ENV_PREFIX

ROOT = Path(__file__).parents[2]
TOP = ("README.md", "ARCHITECTURE.md", "RELIABILITY.md", "CONTRIBUTING.md", "SECURITY.md")
OTHERS = ("bench/RESULTS.md", "training/RESULTS.md", "models/default/README.md")
DOCUMENTS = [*TOP, *OTHERS, *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md"))]
MAKEFILE = Makefile((ROOT / "Makefile").read_text(encoding="utf-8"))


def checked(markdown: str) -> dict[str, list[str]]:
    """Each command of moodstream and make that a text names, and what is wrong with it."""
    found = {}
    for line in typed(markdown):
        if line.words[0] == "moodstream":
            found[str(line)] = faults(cli, line)
        elif line.words[0] == "make":
            found[str(line)] = MAKEFILE.faults(cli, line)
    return found


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_command_of_the_documents_can_be_given(path: str) -> None:
    """It exists, it has these options, and they take these values; nothing that it needs is left out."""
    found = checked((ROOT / path).read_text(encoding="utf-8"))
    assert {line: wrong for line, wrong in found.items() if wrong} == {}


def test_commands_are_found_where_they_stand() -> None:
    found = checked((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(found) > 50
    assert "moodstream demo --for SECONDS" in found  # from a code span with brackets, in a table
    assert (
        "moodstream replay --topic tweets --from -7d --model bundled --model MODEL_DIR --gold gold.csv"
        in " ".join(found)
    )
    in_lists = checked("- so:\n\n  ```\n  A=1 moodstream worker \\\n    --slo-ms 5 | cat  # why\n  ```\n")
    assert in_lists == {"moodstream worker --slo-ms 5": []}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("moodstream clasify posts.txt", "has no clasify"),
        ("moodstream model verify DIR", "has no DIR"),
        ("moodstream topics redive --dry-run", "has no redive"),
        ("moodstream demo --fro 10", "No such option"),
        ("moodstream demo --for 0", "0.0 is not in the range"),
        ("moodstream demo --for", "requires an argument"),
        ("moodstream evaluate --split test", "needs --data"),
        ("moodstream send", "needs file"),
        ("moodstream topics acls nobody", "'nobody' is not one of"),
        ("moodstream backfill run Mai", "small letters"),
        ("moodstream worker --set batch.slow=1", "no such setting"),
        ("moodstream worker --set batch.max_records=many", "valid integer"),
        ("moodstream worker --set batch.slow=NUMBER", "no such setting"),
        ("make tets", "no make tets"),
        ("make chaos MINUTE=5", "knows no MINUTE"),
        ('make demo ARGS="--fro 10"', "No such option"),
        ('make bench ARGS="steam --json"', "has no steam"),
    ],
)
def test_what_cannot_be_given_is_found(line: str, reason: str) -> None:
    [wrong] = checked(f"```\n{line}\n```").values()
    assert len(wrong) == 1
    assert reason in wrong[0]


def test_running_text_may_name_a_command_alone() -> None:
    assert checked("`moodstream evaluate` and `moodstream topics`") == {
        "moodstream evaluate": [],
        "moodstream topics": [],
    }
    assert faults(cli, Line(("moodstream", "evaluate"), in_block=True))


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_variable_of_the_documents_is_a_setting(path: str) -> None:
    variables = {ENV_PREFIX + dotted.upper().replace(".", "__") for dotted in known()}
    named = set(re.findall(rf"{ENV_PREFIX}[A-Z0-9_]+\b(?!\.\.\.)", (ROOT / path).read_text(encoding="utf-8")))
    tests_own = {name for name in named if name.startswith(f"{ENV_PREFIX}TEST_")}
    sections = {name for name in named if name.endswith("__")}
    assert named - tests_own - sections <= variables | {f"{ENV_PREFIX}SECTION__NAME"}
