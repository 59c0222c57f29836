"""Which days and posts a backfill is about, who answers for which day, and what its publisher counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.labels import NOON
from worker.replay.backfill.days import Days, parse_days
from worker.replay.backfill.label import TallyingPublisher
from worker.replay.backfill.names import NAME, topics_of, with_topics_of
from worker.replay.backfill.wanted import Wanted
from worker.settings import Settings
from worker.trends.backfills import day_text
from worker.trends.keys import Keys
from worker.trends.places import Places, Swapped
from worker.trends.windows import DAY, DAYS, HOUR, HOURS, MINUTES, Bucket, Slot
from worker.types import OutRecord, Record, TopicPartition

JANUARY = NOON // DAY
NOW = float(NOON)


def test_days_are_written_as_people_do() -> None:
    assert parse_days("2025-12-01", "2026-01-01", NOW) == Days(JANUARY - 31, JANUARY)
    assert parse_days("2025-12-31T00:00:00Z", "2026-01-01T01:00:00+01:00", NOW) == Days(JANUARY - 1, JANUARY)
    assert parse_days(str((JANUARY - 2) * DAY), "2026-01-01", NOW).seconds == (
        (JANUARY - 2) * DAY,
        JANUARY * DAY,
    )
    assert day_text(JANUARY) == "2026-01-01"


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        ("2025-12-01T10:00:00Z", "2026-01-01", "--from .* lies within a day: .* 2025-12-01 or 2025-12-02"),
        ("-3d", "2026-01-01", "--from -3d lies within a day: .* say 2025-12-29 or 2025-12-30"),
        ("2025-12-01", "2026-01-02", "--to 2026-01-02: its last day is not over yet, UTC: say 2026-01-01"),
        ("2025-12-02", "2025-12-02", "--from 2025-12-02 is not before --to 2025-12-02"),
        ("yesterday", "someday", "--from yesterday: must be a day such as .*\n--to someday: must be a day"),
    ],
)  # fmt: skip
def test_what_makes_no_whole_days_is_told_with_the_nearest(start: str, end: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_days(start, end, NOW)


def record(value: bytes | None, came: float = NOON) -> Record:
    return Record("tweets", 0, 0, b"key", value, int(came * 1000), [])


def written(at: float) -> bytes:
    return b'{"id":1,"text":"x","created_at":"%s"}' % datetime.fromtimestamp(at, UTC).isoformat().encode()


def test_posts_are_of_the_day_that_they_were_written() -> None:
    wanted = Wanted(NOON, NOON + DAY)
    assert wanted(record(written(NOON)))
    assert wanted(record(written(NOON + DAY - 1), came=NOON + 30 * DAY))
    assert not wanted(record(written(NOON + DAY)))
    assert not wanted(record(written(NOON - 1)))
    assert wanted(record(b'{"id":1,"text":"x"}')), "Kafka's time, where it does not say"
    assert not wanted(record(b'{"id":1,"text":"x"}', came=NOON - 1))


def test_all_deletions_are_wanted_and_bad_records_by_when_they_came() -> None:
    wanted = Wanted(NOON, NOON + DAY)
    assert wanted(record(None, came=NOON + 90 * DAY))
    assert wanted(record(b"{", came=NOON + 1))
    assert not wanted(record(b"{", came=NOON + DAY))
    put_back = Record("tweets", 0, 0, None, b"{", int((NOON + 9 * DAY) * 1000),
                      [("moodstream.redriven.timestamp", b"%d" % ((NOON + 1) * 1000))])  # fmt: skip
    assert wanted(put_back)


def test_what_the_live_trends_count_nowhere_is_not_wanted() -> None:
    wanted = Wanted(NOON, NOON + DAY, late_s=HOUR, early_s=60)
    assert wanted(record(written(NOON), came=NOON + HOUR))
    assert not wanted(record(written(NOON), came=NOON + HOUR + 1))
    assert wanted(record(written(NOON + 60), came=NOON))
    assert not wanted(record(written(NOON + 61), came=NOON))


def test_a_backfill_has_names_of_its_own_under_the_same_hash_tag() -> None:
    settings = Settings()
    own = with_topics_of(settings, "may")
    assert (own.topics.labels, own.topics.dead_letters) == ("emotion-labels-may", "emotion-dead-letters-may")
    assert own.topics.inputs == settings.topics.inputs
    made = {topic.name: topic for topic in topics_of(settings, "may")}
    assert made.keys() == {"emotion-labels-may", "emotion-dead-letters-may"}
    assert made["emotion-labels-may"].partitions == settings.topics.partitions
    live = Keys("moodstream", "emotion-labels")
    may = live._replace(backfill="may")
    assert may.labels == "emotion-labels-may"
    assert may.tag == live.tag
    assert may.queries == live.queries, "the same queries are counted"
    assert may.state != live.state
    assert may.generation_of(may.prefix("4f1c09ab") + "h:1:n:a") == "4f1c09ab"
    assert [bool(NAME.fullmatch(name)) for name in ("may-2026", "May", "-x", "a" * 41, "")] == [
        True,
        *[False] * 4,
    ]


def test_the_last_that_is_swapped_in_answers() -> None:
    places = Places("live:", (Swapped("old:", 10, 20), Swapped("new:", 15, 18)))
    assert [places.of_day(day) for day in (9, 10, 14, 15, 17, 18, 20)] == [
        "live:", "old:", "old:", "new:", "new:", "old:", "live:",
    ]  # fmt: skip
    assert places.every == ("live:", "old:", "new:")
    assert places.of(Bucket(HOURS.letter, 15)) == "new:"
    assert places.of(Bucket(MINUTES.letter, 15 * 24 - 1)) == "old:"
    assert places.is_live(Bucket(MINUTES.letter, 20 * 24))
    assert not places.is_live(Bucket(MINUTES.letter, 20 * 24 - 1))
    assert Places().of_day(3) is None
    assert Places().holding(Bucket(DAYS.letter, 3)) == ()
    assert Places(None, (Swapped("new:", 0, 1),)).of_day(1) is None


@given(
    st.none() | st.just("live:"),
    st.lists(st.tuples(st.integers(0, 90), st.integers(1, 40)), max_size=4),
    st.integers(0, 3),
)
def test_every_day_of_28_is_answered_by_one_place(
    live: str | None, spans: list[tuple[int, int]], number: int
) -> None:
    swapped = tuple(Swapped(f"{i}:", first, first + n) for i, (first, n) in enumerate(spans))
    places = Places(live, swapped)
    bucket = Bucket(DAYS.letter, number)
    found: dict[int, list[str]] = {slot: [] for slot in range(28)}
    for place in places.holding(bucket):
        for slot, _ in places.of_it(place, bucket, [(Slot(day, "joy"), 1) for day in range(28)]):
            found[slot.number].append(place)
    for day, by in found.items():
        expected = places.of_day(number * 28 + day)
        assert by == ([] if expected is None else [expected])


class Sender:
    """What a patient publisher does, in memory."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, dict[Any, int]]] = []

    def send(self, records: Sequence[OutRecord], positions: Mapping[TopicPartition, int]) -> None:
        self.sent.append((len(records), dict(positions)))


def test_ends_are_committed_where_nothing_was_published_behind() -> None:
    sender, told = Sender(), []
    publisher = TallyingPublisher(sender.send, "labels", lambda: told.append(1))
    a, b = TopicPartition("tweets", 0), TopicPartition("tweets", 1)
    publisher.publish(
        [OutRecord("labels", b"k", b"{}"), OutRecord("labels", b"k", None), OutRecord("dead", b"k", b"{")],
        {a: 7},
    )
    publisher.arrive({a: 7, b: 9})
    publisher.arrive({a: 7, b: 9})
    assert sender.sent == [(3, {a: 7}), (0, {b: 9})]
    assert publisher.published == {"labels": 1, "tombstones": 1, "dead_letters": 1}
    assert len(told) == 2
