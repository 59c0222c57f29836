"""A real Prometheus scrapes the running roles with the deployed rules: every query of ours has an answer.

Those of the README, of every dashboard and of every rule; and what dashboards ask of the trends API is asked
of the real one. The roles run on a real Kafka and Redis, with real posts, bad ones among them, a shadow,
and ten hours of labels that end in a spike.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tests.support.grafana import boards
from tests.support.kafka import KafkaUnderTest, unique
from tests.support.labels import label
from tests.support.models import bundled_as
from tests.support.pipeline import Pipeline
from tests.support.roles import RoleProcess
from tests.support.traffic import Traffic
from tests.support.waiting import eventually
from worker.control.messages import Shadowing
from worker.local import prometheus as local_prometheus
from worker.local import redis as local_redis
from worker.local.prometheus import RealPrometheus, scraping
from worker.model.artifact import load as load_artifact
from worker.model.bundled import bundled_model
from worker.types import Correction, OutRecord

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
HOUR = 3600
POSTS_PER_S, BAD_EVERY = 50, 50
_COMPACT = {"cleanup.policy": "compact"}
BUNDLED = load_artifact(bundled_model()).full_name


@dataclass
class Deployment:
    """The running roles and the Prometheus that watches them."""

    pipeline: Pipeline
    watching: RealPrometheus

    def answers(self, expression: str) -> bool:
        return bool(self.watching.query(expression))

    def value(self, expression: str) -> float:
        """Of an expression with one series."""
        [row] = self.watching.query(expression)
        return float(row["value"][1])

    def unanswered(self, expressions: dict[str, str], within_s: float = 150) -> dict[str, str]:
        """Those that have no answer even after a while: rates need two scrapes, and some work between."""
        left = dict(expressions)
        deadline = time.monotonic() + within_s
        while left and time.monotonic() < deadline:
            left = {name: expression for name, expression in left.items() if not self.answers(expression)}
            time.sleep(0.5)
        return left


@pytest.fixture(scope="module")
def deployment(
    kafka: KafkaUnderTest, posts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    for missing in (local_redis.available(), local_prometheus.available()):
        if missing is not None:
            pytest.skip(missing)
    folder = tmp_path_factory.mktemp("deployment")
    with ExitStack() as closing:
        redis = closing.enter_context(local_redis.RealRedis())
        pipeline = deployed(kafka, redis, folder)
        closing.callback(pipeline.close)
        quality = judging(pipeline, folder)
        closing.callback(quality.kill)
        # Trends last: Prometheus must see its counters before the spike is found.
        roles = (quality, pipeline.worker, pipeline.trends)
        for role in roles:
            role.start()
        record = partial(to_send, posts)
        closing.enter_context(Traffic(kafka, pipeline.input, record, per_s=POSTS_PER_S))
        targets = {role.role: f"127.0.0.1:{role.port}" for role in roles}
        config = scraping(targets) | {"rule_files": [str(RULES)]}
        watching = closing.enter_context(RealPrometheus(config))
        for role in roles:
            eventually(role.ready, within_s=90)
        yield Deployment(pipeline, watching)


def deployed(kafka: KafkaUnderTest, redis: local_redis.RealRedis, folder: Path) -> Pipeline:
    """Everything but the processes: topics, what was said to them, and hours of labels."""
    control, shadow = kafka.topic("control"), bundled_as(folder / "store" / "shadow", "shadow").full_name
    pipeline = Pipeline(
        kafka,
        redis,
        folder,
        MOODSTREAM_TOPICS__CONTROL=control,
        MOODSTREAM_TOPICS__ALERTS=kafka.topic("alerts"),
        MOODSTREAM_MODEL__STORE=str(folder / "store"),
        MOODSTREAM_REVIEW__RANDOM_SHARE="1",
        MOODSTREAM_TRENDS__ALERTS__MIN_POSTS="20",
        MOODSTREAM_TRENDS__ALERTS__EVERY_S="1",
        # These hours were made up: the model's labels of now are compared with them, and called no drift.
        MOODSTREAM_TRENDS__ALERTS__DRIFT_PSI="1000",
    )
    said = Shadowing(model=shadow, share=1.0, at=datetime.now(UTC))
    kafka.produce(control, [OutRecord(control, b"shadow", msgspec.json.encode(said))])
    kafka.produce(pipeline.labels, hours_of_labels(time.time()))
    return pipeline


def judging(pipeline: Pipeline, folder: Path) -> RoleProcess:
    """The quality role, and what two people say of some of the labels."""
    topics = {
        "MOODSTREAM_TOPICS__CORRECTIONS": pipeline.kafka.topic("corrections"),
        "MOODSTREAM_TOPICS__JUDGEMENTS": pipeline.kafka.topic("judgements", partitions=1, **_COMPACT),
        "MOODSTREAM_QUALITY__GROUP_ID": unique("quality"),
    }
    said = [
        Correction(
            id=msgspec.json.decode(message.value() or b"")["id"],
            label="joy",
            label_ref=f"{message.topic()}/{message.partition()}/{message.offset()}",
            by=by,
            at=datetime.now(UTC),
        )
        for message in pipeline.kafka.read_all(pipeline.labels)[:40]
        for by in ("ann", "bob")
    ]
    pipeline.kafka.produce(topics["MOODSTREAM_TOPICS__CORRECTIONS"], map(msgspec.json.encode, said))
    return RoleProcess("quality", folder / "quality.log", {**pipeline.environment, **topics})


def hours_of_labels(now: float) -> Iterator[bytes]:
    """Twelve usual hours, and five times the anger in the last half hour; with words that stand out.

    Twelve, so that at every minute of the hour drift has the 1,000 labels before them that it asks for.
    """
    for second in range(int(now - 12 * HOUR), int(now - 300), 30):
        yield label("joy", at=second, model=BUNDLED, text="what a lovely morning #sun")
        if second % 120 < 30:
            yield label("anger", at=second, model=BUNDLED, text="late again")
    for number in range(90):
        at, said = now - 300 - number * 15, "the refund never came #refund"
        yield label("anger", at=at, model=BUNDLED, id=number, input=f"tweets/0/{number}", text=said)


def to_send(posts: Sequence[str], number: int) -> OutRecord:
    """Posts, and among them some that are none."""
    post = {"id": number, "text": posts[number % len(posts)]}
    value = b"{" if number % BAD_EVERY == 7 else msgspec.json.encode(post)
    return OutRecord("", b"%d" % (number % 50), value)


def of_the_readme() -> dict[str, str]:
    """Its PromQL, without comments."""
    block = re.search(r"```promql\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    return {line: line.partition("#")[0].strip() for line in block[1].splitlines()}


def of_the_rules() -> dict[str, str]:
    """What each rule computes; of an alert what it compares, because healthy roles give it nothing to say."""
    found = {}
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            compared = re.sub(r"\s(unless|for)\s.*", "", rule["expr"], flags=re.DOTALL)
            found[rule.get("alert") or rule["record"]] = re.sub(r"\s(==|>)\s+[\d.]+\s*$", "", compared)
    return found


def test_every_query_of_the_readme_is_answered(deployment: Deployment) -> None:
    assert len(of_the_readme()) >= 6
    assert deployment.unanswered(of_the_readme()) == {}
    eventually(lambda: set(deployment.watching.targets().values()) == {"up"}, within_s=30)
    rows = deployment.watching.query("moodstream_build_info")
    assert {row["metric"]["role"] for row in rows} == {"worker", "trends", "quality"}


def test_every_query_of_the_dashboards_is_answered(deployment: Deployment) -> None:
    asked = {
        f"{board.name}: {panel}: {expression}": expression
        for board in boards()
        for panel, expression in board.promql()
    }
    assert len(asked) > 35
    assert deployment.unanswered(asked) == {}
    # Nothing of nothing (NaN) until the worker has labelled between two scrapes.
    mix = "sum(moodstream:label_share:ratio30m)"
    eventually(lambda: deployment.value(mix) == pytest.approx(1), within_s=30)
    judged = 'moodstream_quality_labels{window="week", slice="random"}'
    eventually(lambda: deployment.value(judged) == 40, within_s=60)


def test_every_rule_computes_something_and_none_fails(deployment: Deployment) -> None:
    assert deployment.unanswered(of_the_rules()) == {}
    groups: list[dict[str, Any]] = deployment.watching._get("/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == len(of_the_rules())
    assert {rule["health"] for rule in rules} == {"ok"}, rules
    firing = {rule["name"] for rule in rules if rule.get("state") == "firing"}
    assert firing == {"MoodstreamEmotionSpike"}


def test_every_question_of_the_dashboards_to_the_api_has_rows(deployment: Deployment) -> None:
    trends = deployment.pipeline.trends
    eventually(lambda: trends.get("/api/alerts").json()["data"]["alerts"], within_s=60)
    now = int(time.time())
    questions = [question for board in boards() for question in board.questions(now - 12 * HOUR, now)]
    assert len(questions) > 8
    for question in questions:
        answer = trends.get(question.path)
        assert answer.status_code == 200, (question, answer.text)
        rows = question.rows(answer.text)
        assert rows or "Share of voice" in question.panel, question
    spans = {span: (now - span, now) for span in (300, HOUR, 2 * 86_400, 7 * 86_400, 90 * 86_400)}
    for start, end in spans.values():  # the steps are chosen by the span
        for question in boards()[0].questions(start, end):
            if "/api/trends" in question.path:
                assert trends.get(question.path).status_code == 200, question
