"""`moodstream replay` on the command line."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import click

from worker.errors import ConfigurationError
from worker.options import json_option, settings_options
from worker.settings import Settings

_NEEDED = ("pyarrow", "jinja2")


@click.command()
@click.option("--topic", required=True, help="The topic whose posts are classified again.")
@click.option(
    "--from",
    "start",
    default="beginning",
    show_default=True,
    metavar="WHEN",
    help="First record: RFC 3339, epoch seconds, relative to now (-1h, -7d), offset:N, or beginning. Times"
    " are Kafka's.",
)
@click.option(
    "--to",
    "end",
    default="end",
    show_default=True,
    metavar="WHEN",
    help="Where to stop, not included, in the same forms, or end: what is there when the replay begins.",
)
@click.option("--partition", "partitions", multiple=True, type=click.IntRange(min=0), help="Only this one.")
@click.option(
    "--gold",
    metavar="FILE|topic:NAME",
    help="Gold labels with the ids of posts: .jsonl, .csv or .tsv with id and label, or a topic of such"
    " messages (emotion-corrections is one).",
)
@click.option(
    "--rename",
    multiple=True,
    metavar="THEIRS=OURS",
    help="What the gold labels call a label of ours: --rename happiness=joy.",
)
@click.option("--against", metavar="TOPIC", help="Labels given earlier, such as emotion-labels.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="MODEL",
    help="A model folder, NAME@VERSION of model.store, or 'bundled'; again for several. With ',gate=off'"
    " behind it never answers neutral.",
)
@click.option(
    "--sample",
    metavar="N|SHARE",
    help="About so many posts (5000), or a share of them (0.1, 10%), by a hash of their id: the same ones"
    " each time.",
)
@click.option(
    "--report",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where report.html, report.json and predictions.parquet go; what was stopped goes on there.",
)
@json_option
@settings_options
def replay(
    *,
    settings: Settings,
    topic: str,
    start: str,
    end: str,
    partitions: tuple[int, ...],
    gold: str | None,
    rename: tuple[str, ...],
    against: str | None,
    models: tuple[str, ...],
    sample: str | None,
    report: Path,
    as_json: bool,
) -> None:
    """Run a range of a topic through one or several models and report which is better.

    Held against gold labels, against the labels that the stream gave, or against each other. Reads only: no
    consumer group, no offset and no trend is touched. The same command again goes on where it was stopped.
    """
    absent = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise ConfigurationError(
            [
                f"moodstream replay needs {' and '.join(absent)}: pip install 'moodstream[replay]', or in a"
                " checkout: make install EXTRA=replay"
            ]
        )
    from worker.replay.history.run import Order, run

    order = Order(
        topic=topic,
        start=start,
        end=end,
        partitions=tuple(sorted(set(partitions))),
        gold=gold,
        rename=rename,
        against=against,
        models=models,
        sample=sample or "100%",
        report=report,
        as_json=as_json,
    )
    sys.exit(run(settings, order))
