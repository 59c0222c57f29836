"""The dashboards: `python deploy/grafana/make_dashboards.py` writes their JSON anew.

The JSON is committed, because Grafana reads files; a test holds it to what this makes. Panels ask Prometheus,
and the trends API through the Infinity data source: as CSV where they can, because it needs no path
expressions and no rows are an empty table instead of an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard, prometheus
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import StackingMode
from panels import COLOURS, SPAN, STEP, ApiQuery, ask, board, graph, number, rows, spread, up_or_away

FOLDER = Path(__file__).parent / "dashboards"
NORMAL, PERCENT = StackingMode.NORMAL, StackingMode.PERCENT


def rate(metric: str) -> str:
    """A second, over the time that Grafana thinks right for the scrape interval and the zoom."""
    return f"rate(moodstream_{metric}[$__rate_interval])"


def quantile(q: float, histogram: str, by: str = "le") -> str:
    """Of the observations since the last point."""
    return f"histogram_quantile({q}, sum by ({by}) ({rate(histogram + '_bucket')}))"


def mean(histogram: str) -> str:
    """The same: their mean."""
    return f"sum({rate(histogram + '_sum')}) / sum({rate(histogram + '_count')})"


def interval(figure: str, of: str) -> Iterator[prometheus.Dataquery]:
    """A figure of the quality role over one slice, and the ends of its interval."""
    for end, name in (("", ""), ("_low", ", low"), ("_high", ", high")):
        metric = f'moodstream_quality_{figure}{end}{{slice="{of}", window="week"}}'
        yield ask(metric, "{{model_version}}" + name)


# fmt: off
def emotions() -> dashboard.Dashboard:
    """For analysts: what is expressed, by how many, about what."""
    counts = [("time", "time", "timestamp"), *((emotion, emotion, "number") for emotion in COLOURS)]
    trends = ApiQuery(f"/api/trends?{SPAN}&{STEP}&format=csv", counts, form="timeseries")
    spikes = [
        ("time", "from", "timestamp"), ("time_end", "to", "timestamp"), ("emotion", "emotion", "string"),
        ("query", "query", "string"), ("posts", "posts", "number"), ("usual", "usual", "number"),
        ("ratio", "ratio", "number"), ("n", "n", "number"), ("terms", "terms", "string"),
        ("samples", "samples", "string"), ("kind", "kind", "string"), ("measure", "measure", "string"),
    ]
    term = [("term", "term", "string"), ("n", "posts", "number"), ("lift", "lift", "number")]
    voice = [("name", "query", "string"), ("n", "posts", "number"), ("share", "share", "number")]
    about = f"/api/terms?{SPAN}&emotion=${{emotion}}&limit=10"
    joy = model.VariableOption(text="joy", value="joy")
    return (
        board("emotions", "Emotions", refresh="1m", span="24h")
        .with_variable(
            dashboard.CustomVariable("emotion").label("Emotion").values(",".join(COLOURS)).current(joy)
        )
        .with_panel(graph("Emotions", "Posts by what they express, by the time they were written.", "short",
                          trends, width=24, stacked=NORMAL))
        .with_panel(graph("Shares", "What part of the posts expresses what.", "short", trends, width=24,
                          stacked=PERCENT))
        .with_panel(rows("Spikes and drift", "Far more posts than this hour of the week usually has; labels "
                         "that look other than usual (posts and usual are then PSI): docs/alerts.md.",
                         ApiQuery(f"/api/alerts?{SPAN}&format=csv", spikes), width=24))
        .with_panel(rows("Top terms", "Words that posts of the chosen emotion hold more often than others.",
                         ApiQuery(f"{about}&kind=term", term, root="data.terms"), width=8))
        .with_panel(rows("Top hashtags", "The same of hashtags.",
                         ApiQuery(f"{about}&kind=hashtag", term, root="data.terms"), width=8))
        .with_panel(rows("Share of voice", "How many posts match each tracked query.",
                         ApiQuery(f"/api/voice?{SPAN}", voice, root="data.queries"), width=8))
        .with_panel(graph("Counted now", "Labels a second that trends count, whenever they were written.",
                          "cps", ask(f"sum by (emotion) ({rate('trends_labels_applied_total')})",
                                     "{{emotion}}"), stacked=NORMAL))
        .with_panel(graph("Spikes found", "In the hour before, by emotion; `all` is volume.", "short",
                          ask('sum by (emotion) (increase(moodstream_alerts_total{kind!="drift"}[1h]))',
                              "{{emotion}}")))
    )


def worker() -> dashboard.Dashboard:
    """For operators: does it keep up, and what slows it down."""
    ours = '{job=~"worker|trends"}'
    keeps_up = (
        board("worker", "Worker", refresh="10s", span="30m")
        .with_panel(number("Workers", "Instances that answer.", "none",
                           ask('count(moodstream_build_info{role="worker"})', instant=True)))
        .with_panel(up_or_away("Kafka", "Whether Kafka answers every worker.",
                               'min(moodstream_dependency_up{job="worker", dependency="kafka"})'))
        .with_panel(up_or_away("Redis", "Whether Redis answers the trends role.",
                               'min(moodstream_dependency_up{job="trends", dependency="redis"})'))
        .with_panel(number("Model", "What is being served; two names while a new one is rolled out.", "none",
                           ask("count by (model, backend) (moodstream_model_info)",
                               "{{model}} on {{backend}}", instant=True), width=8, names=True))
        .with_panel(number("Waiting", "Records in the topics behind the workers.", "short",
                           ask('sum(moodstream_consumer_lag_records{job="worker"})', instant=True)))
        .with_panel(graph("Throughput", "Records a second whose outcome is committed.", "cps",
                          ask(f"sum by (outcome) ({rate('records_published_total')})", "{{outcome}}"),
                          stacked=NORMAL))
        .with_panel(graph("Lag", "Age of the last record taken while more are waiting; the worst partition "
                          "of each topic.", "s", ask("moodstream:lag_seconds:max", "{{job}} {{topic}}")))
        .with_panel(graph("Latency", "From Kafka's timestamp of a record to its committed label. Lag counts "
                          "in.", "s", ask(quantile(0.5, "record_latency_seconds"), "p50"),
                          ask(quantile(0.99, "record_latency_seconds"), "p99")))
        .with_panel(spread("Latency, all posts", "How many posts took how long.", "s",
                           f"sum by (le) ({rate('record_latency_seconds_bucket')})"))
        .with_panel(graph("Time of each step", "Seconds a second, all workers together. `classify` is the "
                          "model, on a processor or a GPU: at one a worker it is what limits them.",
                          "percentunit", ask(f"sum by (step) ({rate('step_seconds_sum')})", "{{step}}")))
        .with_panel(graph("Batch fill", "Mean word pieces and records in a batch; batch.max_tokens is full.",
                          "short", ask(mean("batch_tokens"), "word pieces"),
                          ask(mean("batch_records"), "records")))
        .with_panel(graph("Word pieces", "A second, into the model.", "cps",
                          ask(f"sum({rate('batch_tokens_sum')})", "word pieces")))
        .with_panel(graph("Dead letters", "Records a second that cannot be labelled, by what is wrong.",
                          "cps", ask(f"sum by (kind) ({rate('dead_letters_total')})", "{{kind}}")))
        .with_panel(graph("Memory", "Resident, by instance.", "bytes",
                          ask(f"process_resident_memory_bytes{ours}", "{{job}} {{instance}}")))
        .with_panel(graph("Processor", "Cores that each instance keeps busy.", "short",
                          ask(f"rate(process_cpu_seconds_total{ours}[$__rate_interval])",
                              "{{job}} {{instance}}")))
    )
    return (
        keeps_up.with_row(dashboard.Row("Trends"))
        .with_panel(graph("Labels counted", "A second, into Redis.", "cps",
                          ask(f"sum({rate('trends_labels_applied_total')})", "labels")))
        .with_panel(graph("Time in Redis", "To count one batch.", "s",
                          ask(quantile(0.99, "trends_batch_seconds"), "p99")))
        .with_panel(graph("API", "Time to answer, p99 by route.", "s",
                          ask(quantile(0.99, "http_request_seconds", "le, route"), "{{route}}")))
        .with_panel(graph("API errors", "Share of requests answered with an error of ours.", "percentunit",
                          ask("moodstream:http_errors:ratio5m", "{{job}}")))
        .with_panel(graph("Alerts to deliver", "Recorded and not yet in Kafka or at a webhook.", "short",
                          ask("max by (channel) (moodstream_alerts_waiting)", "{{channel}}")))
        .with_panel(graph("Spikes judged", "Time since the end of the last window that was looked at.", "s",
                          ask("time() - max(moodstream_alerts_judged_timestamp_seconds)", "age")))
    )


def models() -> dashboard.Dashboard:
    """For who answers for the model: what it says, how surely, and what another one would say."""
    half_hour = "moodstream:label_confidence:mean30m"
    serving = (
        board("model", "Model", refresh="1m", span="24h")
        .with_panel(number("Model", "What is being served.", "none",
                           ask("count by (model, backend) (moodstream_model_info)",
                               "{{model}} on {{backend}}", instant=True), width=12, names=True))
        .with_panel(number("Mean confidence", "Over the last half hour.", "percentunit",
                           ask(half_hour, instant=True)))
        .with_panel(number("From its day", "How far that is from the mean of the last day; five points are "
                           "an alert.", "percentunit",
                           ask(f"{half_hour} - avg_over_time({half_hour}[1d])", instant=True)))
        .with_panel(number("Not judged", "Emotions that are not judged for spikes, because a new model has "
                           "not labelled six hours yet.", "none",
                           ask('max(moodstream_alert_series_silent{reason="new_model"})', instant=True)))
        .with_panel(graph("Label mix", "Share of each answer. A sudden change is news, a broken source, or a "
                          "model that no longer fits.", "percentunit",
                          ask("moodstream:label_share:ratio30m", "{{emotion}}"), width=24, stacked=NORMAL))
        .with_panel(graph("Label mix by model", "Labels a second; two models overlap while one is promoted.",
                          "cps", ask(f"sum by (emotion, model_version) ({rate('labels_total')})",
                                     "{{emotion}} {{model_version}}"), stacked=NORMAL))
        .with_panel(graph("Confidence", "Mean probability of the labels given.", "percentunit",
                          ask(mean("label_confidence"), "now"), ask(half_hour, "half an hour")))
        .with_panel(spread("Confidence, all labels", "How many labels were given how surely.", "percentunit",
                           f"sum by (le) ({rate('label_confidence_bucket')})"))
        .with_panel(graph("Drift", "How far labels are from those of the same model's last weeks, from its "
                          "validation texts, or from the model before (PSI, within each emotion: a mood "
                          "does not move it). Alerts: 0.2 from the weeks, 0.1 from the model before.",
                          "short", ask("max by (measure, against) (moodstream_drift_psi)",
                                       "{{measure}}, {{against}}")))
        .with_panel(graph("Drift alerts", "In the hour before.", "short",
                          ask('sum(increase(moodstream_alerts_total{kind="drift"}[1h]))', "drift")))
        .with_panel(graph("Pieces per word", "Into how many pieces the tokenizer cuts a word: words that its "
                          "vocabulary does not hold whole make it rise. Beside its mean of the last day.",
                          "short", ask("moodstream:pieces_per_word:ratio30m", "now"),
                          ask("avg_over_time(moodstream:pieces_per_word:ratio30m[1d])", "last day")))
        .with_panel(graph("Strangeness of posts", "How strongly the network answers, within each emotion, in "
                          "standard deviations from its mean of the last day. A mood does not move it.",
                          "short", ask("moodstream:energy:shift30m", "{{model_version}}")))
        .with_panel(graph("Texts cut", "Share of texts longer than the model reads.", "percentunit",
                          ask(f"sum({rate('texts_truncated_total')}) / sum({rate('records_consumed_total')})",
                              "cut")))
    )
    return (
        serving.with_row(dashboard.Row("Shadow"))
        .with_panel(graph("Shadow", "What the shadow model says of its posts; nothing where there is none.",
                          "cps", ask(f"sum by (model_version, outcome) ({rate('shadow_posts_total')})",
                                     "{{model_version}} {{outcome}}"), stacked=NORMAL))
        .with_panel(graph("Shadow's label mix", "Labels a second that it would give.", "cps",
                          ask(f"sum by (emotion) ({rate('shadow_labels_total')})", "{{emotion}}"),
                          stacked=NORMAL))
        .with_panel(graph("Shadow's time", "For a batch, p99.", "s",
                          ask(quantile(0.99, "shadow_batch_seconds"), "p99")))
        .with_panel(graph("Control messages", "In the hour before, by what became of them.", "short",
                          ask("sum by (outcome) (increase(moodstream_control_messages_total[1h]))",
                              "{{outcome}}")))
    )


def judged(shown: dashboard.Dashboard) -> dashboard.Dashboard:
    """The same with a row about what people say of the labels, from the quality role."""
    return (
        shown.with_row(dashboard.Row("Judged by people"))
        .with_panel(graph("Accuracy, by chance", "Of the random slice, labels of the last week, with its 95% "
                          "interval: the stream's accuracy, where that slice is reviewed.", "percentunit",
                          *interval("accuracy", "random")))
        .with_panel(graph("Accuracy, close calls", "Of the low-margin slice, labels of the last week, with "
                          "its 95% interval: where the model is unsure, and no measure of the stream.",
                          "percentunit", *interval("accuracy", "low_margin")))
        .with_panel(graph("Macro F1, by chance", "The mean over the seven answers, each counting alike, with "
                          "its 95% interval.", "percentunit", *interval("macro_f1", "random")))
        .with_panel(graph("Macro F1, close calls", "The same of the low-margin slice.", "percentunit",
                          *interval("macro_f1", "low_margin")))
        .with_panel(graph("Overconfidence, by chance", "Mean score less accuracy of the random slice, labels "
                          "of the last week, with the accuracy's 95% interval: above 0 the model claims more "
                          "than it keeps.", "percentunit", *interval("overconfidence", "random")))
        .with_panel(graph("Labels judged", "n of the panels above; about 400 give an interval of 5 points.",
                          "short", ask('moodstream_quality_labels{slice!="all", window="week"}',
                                       "{{model_version}} {{slice}}")))
        .with_panel(graph("Disagreement", "Of the labels that several people judged, the share on which they "
                          "differ: no model can be more right than people agree.", "percentunit",
                          ask("moodstream_quality_disagreement", "disagreement")))
    )
# fmt: on


def made() -> dict[str, str]:
    """Each dashboard's JSON by the name of its file."""
    found = {}
    for name, builder in (("emotions", emotions()), ("worker", worker()), ("model", judged(models()))):
        built = builder.build()
        for number_, panel in enumerate(built.panels or (), start=1):
            panel.id_val = number_
        found[f"{name}.json"] = json.dumps(built, cls=JSONEncoder, indent=2) + "\n"
    return found


if __name__ == "__main__":
    for name, text in made().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
