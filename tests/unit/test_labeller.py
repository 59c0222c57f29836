"""Labels in Python: those of the stream, in order, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from worker.cli import cli
from worker.errors import ArtifactError, ConfigurationError
from worker.labeller import Labeller
from worker.types import EMOTIONS

TEXTS = ["I am so happy today!", " ", "this makes me furious", "I miss you so much"]


@pytest.fixture(scope="module")
def label() -> Iterator[Labeller]:
    made = Labeller()
    yield made
    made.close()


def test_labels_are_those_of_the_command(label: Labeller) -> None:
    lines = CliRunner().invoke(cli, ["classify"], input="\n".join(TEXTS)).stdout.splitlines()

    found = label(TEXTS)

    assert found[1] is None
    assert [f"{one.label}\t{one.score:.3f}" for one in found if one is not None] == [lines[0], *lines[2:]]
    assert label.model.startswith("default@")


def test_rows_have_the_same_columns_whatever_a_text_is(label: Labeller) -> None:
    rows = list(label.rows(TEXTS))

    assert {tuple(row) for row in rows} == {("label", "score", "neutral", *EMOTIONS)}
    assert set(rows[1].values()) == {None}
    assert rows[0]["label"] == "joy"
    assert sum(float(rows[0][name] or 0) for name in EMOTIONS) == pytest.approx(1, abs=1e-5)


def test_what_is_wrong_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        Labeller(tmp_path)
    with pytest.raises(ConfigurationError, match=r"did you mean batch\.max_records"):
        Labeller(batch__max_record="3")
