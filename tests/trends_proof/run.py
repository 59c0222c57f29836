"""The proof: labels into a real Kafka, the real role, a real Redis; then every number against one by hand."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import msgspec
from confluent_kafka import Producer
from redis import Redis

from tests.support.kafka import KafkaUnderTest, high_watermarks, read_all
from tests.support.roles import RoleProcess
from tests.trends_proof.posts import DAYS, EARLY_S, LATE_S, QUERIES, SPANS, Expected, message, rows
from worker.clock import SystemClock
from worker.local.redis import RealRedis
from worker.settings import RedisSettings
from worker.stream.kafka_source import record_of
from worker.trends.counting import aggregate, decode
from worker.trends.keys import Keys
from worker.trends.queries import Query
from worker.trends.redis_connection import connected, text
from worker.trends.redis_queries import RedisQueryStore
from worker.trends.redis_store import RedisTrendStore
from worker.trends.store import Filter, OffsetLostError, Position, TrendReader
from worker.trends.terms import kind_of
from worker.trends.windows import Window
from worker.types import LABELS

_END = 1_767_528_000
"""2026-01-04T12:00:00Z: the same numbers in every run, those of sketches too."""
_PARTITIONS = 4
_DOUBLED, _DELETED = 0.01, 0.01
"""Of the labels: in the topic twice, as of a post that a producer sent again (they count twice); and deleted
later."""
_KILLS = 2
_TRANSACTION = 1000
_TOP = 10
_STILL_S = 120.0
_CLOSE, _MOST_BUCKETS = 0.02, 0.9
_PRIOR, _LEAST = 5.0, 2

Progress = Callable[[str, int, int], None]


class Found(msgspec.Struct, frozen=True):
    """What came of a run."""

    records: int
    seed: int
    counted: int
    late: int
    early: int
    doubled: int
    deleted: int
    killed: int
    redelivered: int
    """Batches that were given to the store once more, all of which it refused."""
    counters: int
    """Numbers that were compared: labels and sums of scores."""
    wrong: int
    sketches: int
    """Numbers of unique authors that were compared."""
    worst_authors: float
    """The largest error among those, relative; one more or less is none."""
    authors_within: float
    """Of them, the share that is within 2%, or within one author more than that."""
    authors_strictly: float
    """The share that is within 2% without that one. Of twenty authors one is five percent, and a sketch with
    a standard error of 0.81% is further off one time in seventy."""
    rankings: int
    """Of terms: by hour or day, and emotion."""
    rankings_equal: float
    """The share of them whose first ten are those of the exact ranking."""
    rankings_equal_by_span: dict[str, float]
    """The same of hours and of days; days hold more terms than `trends.max_terms`, hours seldom."""
    samples_of_deleted: int
    seconds: float
    examples: list[str]

    @property
    def good(self) -> bool:
        """Whether it was as promised."""
        return (
            not self.wrong
            and not self.samples_of_deleted
            and self.authors_within == 1
            and self.rankings_equal >= _MOST_BUCKETS
        )


def run(
    kafka: KafkaUnderTest,
    texts: Sequence[str],
    records: int,
    seed: int,
    *,
    folder: Path,
    progress: Progress = lambda doing, done, of: None,
) -> Found:
    """Count `records` labels and check every number.

    The role is killed while it counts and started again. When all is counted, batches are delivered again.

    Raises:
        AssertionError: the role died by itself, or has counted nothing for two minutes.
    """
    topic = kafka.topic("labels", partitions=_PARTITIONS, **{"retention.ms": "-1"})
    keys = Keys("moodstream", topic)
    with RealRedis() as redis, connected(RedisSettings(url=redis.url, timeout_s=20)) as client:
        queries = RedisQueryStore(client, keys, SystemClock())
        for expression in QUERIES:
            queries.put(Query(expression, expression))
        expected, deleted, doubled = _send(kafka.bootstrap, topic, texts, records, seed, progress)
        start = time.monotonic()
        role = RoleProcess("trends", folder / "trends.log", _environment(kafka, topic, redis.url))
        try:
            killed = _count(role, client, keys, high_watermarks(kafka.bootstrap, topic), progress)
        finally:
            role.kill()
        seconds = time.monotonic() - start
        store = RedisTrendStore(client, keys, queries=queries)
        redelivered = _redeliver(store, kafka.bootstrap, topic)
        check = Check(store, expected)
        check.counters()
        check.authors()
        check.terms()
        left = _samples_of(client, keys, deleted)
    return Found(
        records=records,
        seed=seed,
        counted=expected.n,
        late=expected.late,
        early=expected.early,
        doubled=doubled,
        deleted=len(deleted),
        killed=killed,
        redelivered=redelivered,
        counters=check.counted,
        wrong=check.wrong,
        sketches=len(check.errors),
        worst_authors=round(max(check.errors), 5),
        authors_within=sum(error <= _CLOSE for error in check.errors) / len(check.errors),
        authors_strictly=round(sum(error <= _CLOSE for error in check.strict) / len(check.strict), 5),
        rankings=check.rankings,
        rankings_equal=round(check.equal / max(1, check.rankings), 5),
        rankings_equal_by_span={
            span: round(sum(equal) / len(equal), 5) for span, equal in check.by_span.items()
        },
        samples_of_deleted=left,
        seconds=round(seconds, 1),
        examples=check.examples,
    )


def _environment(kafka: KafkaUnderTest, topic: str, redis: str) -> dict[str, str]:
    return {
        "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
        "MOODSTREAM_TOPICS__LABELS": topic,
        "MOODSTREAM_REDIS__URL": redis,
        "MOODSTREAM_TRENDS__GROUP_ID": topic,
        "MOODSTREAM_TRENDS__LATE_HOURS": str(LATE_S // 3600),
        "MOODSTREAM_TRENDS__EARLY_HOURS": str(EARLY_S // 3600),
        "MOODSTREAM_TRENDS__SESSION_TIMEOUT_MS": "6000",
    }


def _send(
    bootstrap: str, topic: str, texts: Sequence[str], n: int, seed: int, progress: Progress
) -> tuple[Expected, set[int], int]:
    """Write all, in transactions, some of which abort; answers counts, ids of the deleted, and doubled."""
    rng, expected, deleted, doubled = random.Random(seed + 1), Expected(), set[int](), 0
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topic, "linger.ms": 20})
    producer.init_transactions(60)
    made = enumerate(rows(texts, n, end=_END, seed=seed))
    while some := list(islice(made, _TRANSACTION)):
        sent: list[tuple[str, bytes | None]] = []
        for number, row in some:
            times = 2 if rng.random() < _DOUBLED else 1
            doubled += times - 1
            sent += [(row.key, message(row, number))] * times
            for _ in range(times):
                expected.add(row)
        for number, row in rng.sample(some, int(len(some) * _DELETED)):
            deleted.add(number)
            sent.append((row.key, None))
        if rng.random() < _DOUBLED * 10:
            _transaction(producer, topic, sent, commit=False)
        _transaction(producer, topic, sent, commit=True)
        progress("sending", some[-1][0] + 1, n)
    return expected, deleted, doubled


def _transaction(
    producer: Producer, topic: str, sent: Sequence[tuple[str, bytes | None]], *, commit: bool
) -> None:
    producer.begin_transaction()
    for key, value in sent:
        producer.produce(topic, value, key.encode())
    if commit:
        producer.commit_transaction(60)
    else:
        assert producer.flush(60) == 0  # so that what is aborted is really in the log
        producer.abort_transaction(60)


def _count(role: RoleProcess, client: Redis, keys: Keys, ends: Mapping[int, int], progress: Progress) -> int:
    """Let the role come to the end of the topic, killed on its way; answers how often."""
    total, done, killed, moved_at = sum(ends.values()), 0, 0, time.monotonic()
    role.start()
    while True:
        places = _places(client, keys)
        now = sum(places.values())
        if now > done:
            done, moved_at = now, time.monotonic()
        progress("counting", done, total)
        if killed < _KILLS and done > total * (killed + 1) / (_KILLS + 2):
            role.kill()
            role.start()
            killed += 1
        # Markers of transactions stand at the very end, where no label moves the stored offset over them.
        if all(ends[partition] - places.get(partition, 0) <= 2 for partition in ends):
            return killed
        assert role.alive, f"the role ended: {role.log[-3000:]}"
        assert time.monotonic() - moved_at < _STILL_S, f"{done} of {total}: {role.log[-3000:]}"
        time.sleep(0.05)


def _places(client: Redis, keys: Keys) -> dict[int, int]:
    stored = {text(name): text(place) for name, place in client.hgetall(keys.state).items()}
    stored.pop("generation", None)
    return {int(partition): Position.parse(place).offset for partition, place in stored.items()}


def _redeliver(store: RedisTrendStore, bootstrap: str, topic: str) -> int:
    """Give the store the first labels of each partition again, believing in none and in an old position."""
    refused, positions = 0, store.open(range(_PARTITIONS))
    first = [record_of(one) for one in read_all(bootstrap, topic, within_s=120) if (one.offset() or 0) < 500]
    for partition, position in positions.items():
        assert position is not None
        records = [record for record in first if record.partition == partition]
        start, end = records[0].offset, records[-1].offset + 1
        batch = aggregate(partition, start, end, decode(records).events)
        for believed in (None, Position(position.generation, start)):
            try:
                applied = store.apply(batch, believed)
            except OffsetLostError:
                refused += 1
            else:
                refused += applied.batch is None
    return refused


def _samples_of(client: Redis, keys: Keys, deleted: set[int]) -> int:
    """How many posts that were deleted are still among the samples."""
    store = RedisTrendStore(client, keys)
    window = Window(_END - (DAYS + 7) * 86_400, _END + 3 * 86_400, 3600)
    found = store.samples(window, limit=1_000_000)
    assert found, "no samples"
    return sum(int(sample.id) in deleted for sample in found)


class Check:
    """Every number of a store against the expected."""

    def __init__(self, reader: TrendReader, expected: Expected) -> None:
        self._reader = reader
        self._expected = expected
        self.counted = self.wrong = self.rankings = self.equal = 0
        self.errors: list[float] = []
        self.strict: list[float] = []
        self.by_span: dict[str, list[bool]] = {}
        self.examples: list[str] = []

    def counters(self) -> None:
        """Labels and sums of scores: by minute, hour and day, emotion, source, language and query."""
        start, end = _END - (DAYS + 12) * 86_400, _END + 4 * 86_400
        for (span, kind, name), counts in self._expected.counts.items():
            step = SPANS[span]
            window = Window.around(start, end, step)
            trend = self._reader.read(window, _narrowed(kind, name))
            scores = self._expected.scores[span, kind, name]
            self._equal(f"{span} {kind} {name}: labels", _cells(trend.counts, window), counts)
            self._equal(f"{span} {kind} {name}: scores", _cells(trend.score_sums, window), scores)
        outside = self._reader.late()
        self._equal("late", {(0, ""): outside["late"]}, {(0, ""): self._expected.late})
        self._equal("early", {(0, ""): outside["early"]}, {(0, ""): self._expected.early})

    def _equal(
        self, what: str, found: Mapping[tuple[int, str], int], expected: Mapping[tuple[int, str], int]
    ) -> None:
        for place in found.keys() | expected.keys():
            self.counted += 1
            if found.get(place, 0) != expected.get(place, 0):
                self.wrong += 1
                if len(self.examples) < _TOP:
                    self.examples.append(
                        f"{what} at {place}: {found.get(place, 0)}, not {expected.get(place, 0)}"
                    )

    def authors(self) -> None:
        """Different authors of all, by source, language and query: of each hour and day, and of all days."""
        days: dict[tuple[str, str], dict[int, set[str]]] = {}
        for (span, kind, name, start), authors in self._expected.authors.items():
            self._close(kind, name, Window(start, start + SPANS[span], SPANS[span]), len(authors))
            if span == "day":
                days.setdefault((kind, name), {})[start] = authors
        for (kind, name), by_day in days.items():  # these are read from the sketches of days
            window = Window(min(by_day), max(by_day) + SPANS["day"], SPANS["day"])
            self._close(kind, name, window, len(set[str]().union(*by_day.values())))

    def _close(self, kind: str, name: str, window: Window, exact: int) -> None:
        """One more or less is no error: of twenty authors it would be five percent."""
        found = self._reader.authors(window, _narrowed(kind, name))["all"]
        self.errors.append(max(0, abs(found - exact) - 1) / exact)
        self.strict.append(abs(found - exact) / exact)

    def terms(self) -> None:
        """The ten words of highest lift in each emotion, of each hour and day that has a hundred posts."""
        for (span, start), by_emotion in self._expected.terms.items():
            posts = self._expected.posts[span, start]
            if posts.total() < 100:
                continue
            window = Window(start, start + SPANS[span], SPANS[span])
            for emotion in LABELS:
                exact = _ranked(by_emotion, posts, emotion)
                found = [one.term for one in self._reader.terms(window, emotion, "term", _TOP)]
                self.rankings += 1
                self.equal += found == exact
                self.by_span.setdefault(span, []).append(found == exact)
                if found != exact and len(self.examples) < _TOP:
                    self.examples.append(f"terms of {span} {start} {emotion}: {found}, not {exact}")


def _ranked(by_emotion: Mapping[str, Mapping[str, int]], posts: Mapping[str, int], emotion: str) -> list[str]:
    """By the formula of docs/trends.md, from all terms."""
    every, whole = posts.get(emotion, 0), sum(posts.values())
    lifts: list[tuple[float, int, str]] = []
    for term, n in by_emotion.get(emotion, {}).items():
        of_all = sum(counts.get(term, 0) for counts in by_emotion.values())
        lift = (n + _PRIOR) / (every * of_all / whole + _PRIOR)
        if n >= _LEAST and lift > 1 and kind_of(term) == "term":
            lifts.append((-lift, -n, term))
    return [term for _, _, term in sorted(lifts)[:_TOP]]


def _cells(series: Mapping[str, Sequence[int]], window: Window) -> dict[tuple[int, str], int]:
    return {
        (window.start + number * window.step, emotion): n
        for emotion, numbers in series.items()
        for number, n in enumerate(numbers)
        if n
    }


def _narrowed(kind: str, name: str) -> Filter:
    return Filter() if kind == "all" else Filter(**{kind: name})
