"""The schemas beside the documentation, and what may change in them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.formats import (
    NOW,
    avro_value,
)
from worker.errors import ConfigurationError
from worker.formats import avro, schemas
from worker.topics.commands import contract
from worker.types import Label, Scores

PUBLISHED = Path(__file__).parents[3] / "docs" / "schemas"


@pytest.mark.parametrize("name", schemas.MESSAGES)
@pytest.mark.parametrize(("kind", "ending"), [("avro", "avsc"), ("protobuf", "proto")])
def test_the_schemas_beside_the_documentation_are_current(name: str, kind: str, ending: str) -> None:
    """`moodstream topics contract --message label --format avro > docs/schemas/label.avsc`, and so on.

    Others have registered these: what is new goes to the end and may be absent, and no number changes.
    """
    ended = CliRunner().invoke(contract, ["--message", name, "--format", kind])
    assert ended.exit_code == 0, ended.output
    assert ended.stdout == (PUBLISHED / f"{name}.{ending}").read_text()


def test_only_posts_and_labels_have_other_schemas() -> None:
    for arguments in (["--format", "avro"], ["--format", "avro", "--message", "alert"]):
        ended = CliRunner().invoke(contract, arguments)
        assert isinstance(ended.exception, ConfigurationError)
        assert "--message post or --message label" in str(ended.exception)


def test_new_fields_may_be_absent_and_so_may_fields_of_an_older_reader() -> None:
    """What Confluent calls FULL: today's labels by yesterday's schema, and the reverse."""
    newer = schemas.avro(Label)
    older = {**newer, "fields": [field for field in newer["fields"] if field["name"] not in ("lang", "text")]}
    label = {
        "id": 1,
        "source": "web",
        "label": "joy",
        "score": 1.0,
        "scores": dict.fromkeys(Scores.__struct_fields__, 0.0),
        "neutral": 0.0,
        "model": "m@1",
        "created_at": NOW,
        "labelled_at": NOW + timedelta(seconds=1),
        "input": "t/0/1",
    }
    for schema in (newer, older):
        found = avro.reader(json.dumps(schema), [], Label)(avro_value(schema, label))
        assert (found.id, found.lang, found.text) == (1, None, None)
