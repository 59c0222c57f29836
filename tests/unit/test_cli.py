from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from worker import cli as command_line
from worker.cli import cli
from worker.errors import ConfigurationError, DataLossAvertedError, DependencyError
from worker.types import EMOTIONS, LABELS

SENTENCES = {
    "i feel so happy and cheerful today": "joy",
    "i am heartbroken and i cannot stop crying": "sadness",
    "i am furious, this makes me so angry": "anger",
    "i am terrified and scared of what comes": "fear",
}


def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, input=stdin, catch_exceptions=False)


def test_classify_answers_each_line_in_order() -> None:
    result = run("classify", "-", "--json", stdin="\n".join(SENTENCES))
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["label"] for answer in answers] == list(SENTENCES.values())
    for answer in answers:
        assert set(answer["scores"]) == set(EMOTIONS)
        assert sum(answer["scores"].values()) == pytest.approx(1, abs=1e-4)
        assert answer["score"] == max(answer["scores"].values())
        assert 0 <= answer["neutral"] <= 1


def test_classify_takes_json_lines_and_answers_bad_ones_in_their_place() -> None:
    lines = b'{"id": "a", "text": "i feel so happy and cheerful today"}\n{"text": 5}\n\xff\n\n{"id": 9\n'
    result = run("classify", "--json", stdin=lines)
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert (answers[0]["id"], answers[0]["label"]) == ("a", "joy")
    assert [sorted(answer) for answer in answers[1:]] == [["error"]] * 4
    people = run("classify", stdin=lines).stdout.splitlines()
    assert people[0].startswith("joy\t0.")
    assert people[1].startswith("-\t")


def test_the_gate_can_be_switched_off() -> None:
    result = run("classify", "--json", "--set", "model.gate=off", stdin="the meeting is at four in room two")
    assert json.loads(result.stdout)["label"] in EMOTIONS


def write(folder: Path, lines: list[str]) -> Path:
    (folder / "test.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_evaluate_scores_through_the_serving_path(tmp_path: Path) -> None:
    rows = [f"{text};{label}" for text, label in SENTENCES.items()]
    result = run("evaluate", "--data", str(write(tmp_path, rows)), "--json")
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["n"] == 4
    assert found["accuracy"] == 1.0
    assert {"macro_f1", "weighted_f1", "precision", "recall", "roc_auc_ovr", "ece", "confusion"} < set(found)
    assert len(found["confusion"]) == len(EMOTIONS)


def test_evaluate_counts_neutral_where_the_truth_knows_it(tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_text(
        '{"text": "i feel so happy and cheerful today", "label": "joy"}\n'
        '{"text": "the meeting is at four in room two", "label": "neutral"}\n'
    )
    result = run("evaluate", "--data", str(tmp_path), "--split", "dev", "--json")
    assert len(json.loads(result.stdout.splitlines()[-1])["confusion"]) == len(LABELS)


def test_evaluate_lists_every_line_that_is_wrong(tmp_path: Path) -> None:
    data = write(tmp_path, ["fine;joy", "no label", "what;bliss"])
    with pytest.raises(ConfigurationError) as caught:
        run("evaluate", "--data", str(data))
    assert len(caught.value.problems) == 2
    assert "test.txt:3: unknown label 'bliss'" in caught.value.problems[1]
    with pytest.raises(ConfigurationError, match=r"looked for train\.txt, train\.jsonl"):
        run("evaluate", "--data", str(data), "--split", "train")


def test_config_shows_everything_and_hides_secrets() -> None:
    secret = ["--set", "redis.password=geheim123", "--set", "kafka.sasl_password=geheim123"]
    for extra in ([], ["--json"]):
        shown = run("config", *secret, *extra).stdout
        assert "geheim123" not in shown
        assert "**********" in shown
    assert json.loads(run("config", "--json").stdout)["batch"]["max_records"] == 4096


def test_model_verify_and_info() -> None:
    assert json.loads(run("model", "verify", "--json").stdout)["ok"] is True
    info = json.loads(run("model", "info", "--json").stdout)
    assert info["labels"] == list(EMOTIONS)


def test_a_missing_model_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        run("model", "verify", "--set", f"model.path={tmp_path / 'nowhere'}")


def test_rebuilding_trends_without_redis_is_an_unreachable_dependency() -> None:
    with pytest.raises(DependencyError, match="redis"):
        run("trends", "rebuild", "--set", "redis.url=redis://127.0.0.1:1/0")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError(["batch.max_records: too small"]), 2),
        (DependencyError("kafka", "no such host"), 3),
        (DataLossAvertedError("stopped"), 4),
        (click.exceptions.Abort(), 130),
    ],
)
def test_errors_become_exit_codes_and_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(command_line.cli, "main", fail)
    with pytest.raises(SystemExit) as caught:
        command_line.main()
    assert caught.value.code == code
    if str(error):
        assert str(error) in capsys.readouterr().err


def test_usage_errors_exit_with_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["moodstream", "nonsense"])
    with pytest.raises(SystemExit) as caught:
        command_line.main()
    assert caught.value.code == 2


def all_commands() -> Iterator[tuple[str, str | None]]:
    """Every command, and every command of a group, plug-ins included."""
    top = click.Context(cli)
    for name in cli.list_commands(top):
        yield name, None
        group = cli.get_command(top, name)
        if isinstance(group, click.Group):
            yield from ((name, sub) for sub in group.list_commands(click.Context(group, top, name)))


def test_plug_ins_add_commands_at_the_top_and_to_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = [
        EntryPoint(name, "tests.unit.test_cli:plugged", "moodstream.commands")
        for name in ("extra", "model.convert", "model.deep.down")
    ]
    monkeypatch.setattr(command_line, "entry_points", lambda group: installed)
    known = set(all_commands())

    assert {("extra", None), ("model", "convert"), ("model", "verify")} <= known
    assert ("model.convert", None) not in known
    assert run("extra").stdout == run("model", "convert").stdout == "plugged in\n"
    assert "convert" in run("model", "--help").stdout
    with pytest.raises(click.exceptions.UsageError, match="No such command 'convert'"):
        cli.main(["convert"], standalone_mode=False)


@click.command()
def plugged() -> None:
    """Stands for a command of another package."""
    click.echo("plugged in")
