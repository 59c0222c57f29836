"""`moodstream bench ...`: this product and its peers, measured in one run."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console

from worker.bench.capacity import Costs
from worker.bench.operated_commands import shadow, swap
from worker.bench.options import kafka_option, texts_option
from worker.options import json_option, set_option
from worker.settings import Settings


@click.group()
def bench() -> None:
    """Measure this product and its peers in the same run."""


bench.add_command(swap)
bench.add_command(shadow)


@bench.command()
@texts_option
@click.option(
    "--records", default=400_000, show_default=True, help="Posts preloaded for the fastest systems."
)
@kafka_option
@json_option
@set_option
def stream(
    *, settings: Settings, texts: Path | None, records: int, bootstrap: str | None, as_json: bool
) -> None:
    """Posts per second through a real Kafka: the bare loop, this worker, plain Faust.

    The peers come with the extra `bench`.
    """
    from worker.bench import report
    from worker.bench.stream import run
    from worker.bench.texts import read_texts

    speeds = run(settings, read_texts(texts), bootstrap=bootstrap, records=records)
    if as_json:
        click.echo(msgspec.json.encode(report.as_json(speeds)))
    else:
        Console().print(report.as_table(speeds, "moodstream bench stream"))


@bench.command()
@texts_option
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    help="To measure each system for.",
)
@click.option("--only", multiple=True, metavar="WORDS", help="Systems with these words in their name.")
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.svg",
    help="Draw throughput against latency.",
)
@json_option
@set_option
def cpu(
    *,
    settings: Settings,
    texts: Path | None,
    seconds: float,
    only: tuple[str, ...],
    picture: Path | None,
    as_json: bool,
) -> None:
    """Posts per second on this CPU, from text to answer: this classifier and what else could run the model.

    The model is that of the settings, in every system. The peers come with the extra `bench`.
    """
    from worker.bench import report
    from worker.bench.cpu import run
    from worker.bench.picture import throughput_svg
    from worker.bench.texts import read_texts
    from worker.model.bundled import bundled_model

    found = run(settings.model.path or bundled_model(), read_texts(texts), seconds=seconds, only=only)
    speeds = {name: one.posts_per_s for name, one in found.items()}
    if picture is not None:
        points = {name: (one.p50_ms, one.posts_per_s) for name, one in found.items()}
        ours = [name for name in found if name.startswith("moodstream")]
        drawn = throughput_svg(points, ours=ours, title="One model on one CPU")
        picture.write_text(drawn, encoding="utf-8")
    if as_json:
        figures = report.as_json(speeds)
        click.echo(msgspec.json.encode({n: figures[n] | msgspec.to_builtins(found[n]) for n in found}))
    else:
        Console().print(report.as_table(speeds, "moodstream bench cpu"))


@bench.command()
@texts_option
@click.option(
    "--slo-ms", metavar="MS", help="The worker's promise; without it batches are as large as allowed."
)
@click.option(
    "--load",
    "shares",
    multiple=True,
    type=click.FloatRange(min=0, max=2, min_open=True),
    default=(0.5, 0.8, 0.95),
    show_default=True,
    help="Share of the worker's capacity; give it again for several.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=30.0,
    show_default=True,
    help="How long each load lasts.",
)
@click.option("--backlog", default=30_000, show_default=True, help="Posts to measure the capacity with.")
@kafka_option
@json_option
@set_option
def latency(
    *,
    settings: Settings,
    texts: Path | None,
    shares: tuple[float, ...],
    seconds: float,
    backlog: int,
    bootstrap: str | None,
    as_json: bool,
) -> None:
    """How long posts wait for their label through a real Kafka, sent by a schedule (open loop)."""
    from worker.bench import report
    from worker.bench.latency import run
    from worker.bench.texts import read_texts

    found = run(
        read_texts(texts),
        shares,
        settings=settings,
        seconds=seconds,
        bootstrap=bootstrap,
        capacity_posts=backlog,
    )
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        Console().print(report.waits_table(found))


@bench.command("replay")
@texts_option
@click.option("--records", default=50_000, show_default=True, help="Posts in the topic.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    default=20.0,
    show_default=True,
    help="To measure the classifier alone for, before and after.",
)
@kafka_option
@json_option
@set_option
def bench_replay(
    *,
    settings: Settings,
    texts: Path | None,
    records: int,
    seconds: float,
    bootstrap: str | None,
    as_json: bool,
) -> None:
    """Answers per second of a replay from a real Kafka, and of the classifier alone."""
    from worker.bench import report
    from worker.bench.replay import run
    from worker.bench.texts import read_texts
    from worker.model.bundled import bundled_model

    speeds = run(
        settings.model.path or bundled_model(),
        read_texts(texts),
        bootstrap=bootstrap,
        records=records,
        seconds=seconds,
    )
    if as_json:
        click.echo(msgspec.json.encode(report.as_json(speeds)))
    else:
        Console().print(report.as_table(speeds, "moodstream bench replay"))


@bench.command()
@texts_option
@click.option("--records", default=1_000_000, show_default=True, help="Posts of the backlog.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=180.0,
    show_default=True,
    help="How long the worker with a model is watched.",
)
@kafka_option
@json_option
def memory(*, texts: Path | None, records: int, seconds: float, bootstrap: str | None, as_json: bool) -> None:
    """Resident memory of the roles with nothing to do, and the most of it with a backlog.

    Starts a Redis. Linux.
    """
    from worker.bench import report
    from worker.bench.memory import run
    from worker.bench.texts import read_texts

    found = run(read_texts(texts), bootstrap=bootstrap, records=records, seconds=seconds)
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        Console().print(report.footprints_table(found))


@bench.command("trends")
@texts_option
@click.option(
    "--records", default=1_000_000, show_default=True, help="Labels without text; half as many with text."
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    help="Of event time that they are spread over.",
)
@click.option("--queries", default=1000, show_default=True, help="Tracked queries, where they are on.")
@click.option("--only", multiple=True, metavar="WORDS", help="Systems with these words in their name.")
@kafka_option
@json_option
def bench_trends(
    *,
    texts: Path | None,
    records: int,
    minutes: float,
    queries: int,
    only: tuple[str, ...],
    bootstrap: str | None,
    as_json: bool,
) -> None:
    """Labels per second that the trends role counts in a real Redis, beside a bare loop and a naive design.

    Starts a Redis of its own for each.
    """
    from worker.bench import report
    from worker.bench.texts import read_texts
    from worker.bench.trends import run

    found = run(
        read_texts(texts),
        bootstrap=bootstrap,
        records=records,
        minutes=minutes,
        queries=queries,
        only=only,
    )
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        Console().print(report.labels_table(found))


@bench.command()
@click.option(
    "--posts-per-s",
    "rates",
    multiple=True,
    type=click.FloatRange(min=0, min_open=True),
    default=(1_000.0, 50_000.0, 143_000.0, 1_000_000.0),
    show_default=True,
    help="At the peak; give it again for several.",
)
@click.option(
    "--labels-per-s",
    type=click.FloatRange(min=0, min_open=True),
    default=Costs().labels_per_s,
    show_default=True,
    help="Of one worker: what `bench cpu` says on your machine.",
)
@click.option(
    "--load",
    type=click.FloatRange(min=0, max=1, min_open=True),
    default=0.6,
    show_default=True,
    help="Share of its capacity that a worker is to carry at the peak.",
)
@click.option("--replicas", type=click.IntRange(min=1), default=3, show_default=True, help="Of every topic.")
@click.option(
    "--price-per-hour",
    type=click.FloatRange(min=0),
    default=Costs().price_per_hour,
    show_default=True,
    help="Of the machine of one worker.",
)
@json_option
def plan(
    *,
    rates: tuple[float, ...],
    labels_per_s: float,
    load: float,
    replicas: int,
    price_per_hour: float,
    as_json: bool,
) -> None:
    """Workers, partitions, brokers and the price of a rate: arithmetic on what was measured."""
    from worker.bench import report
    from worker.bench.capacity import needs

    costs = Costs(labels_per_s=labels_per_s, price_per_hour=price_per_hour)
    found = [needs(rate, costs, load=load, replicas=replicas) for rate in rates]
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        Console().print(report.needs_table(found))


@bench.command()
@texts_option
@click.option("--labels", default=200_000, show_default=True, help="Labels of two weeks.")
@click.option("--queries", default=100, show_default=True, help="Tracked queries.")
@click.option("--asked", default=500, show_default=True, help="How often each kind of question is asked.")
@json_option
def api(*, texts: Path | None, labels: int, queries: int, asked: int, as_json: bool) -> None:
    """How long the trends API takes to answer over HTTP, from a real Redis that holds two weeks of labels."""
    from worker.bench import report
    from worker.bench.api import run
    from worker.bench.texts import read_texts

    found = run(read_texts(texts), labels=labels, queries=queries, asked=asked)
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        Console().print(report.answers_table(found))
