"""The trends loop, turn by turn, over a log and a store in memory; the clock moves only when told to."""

from __future__ import annotations

import inspect
import logging
import re
import threading

import pytest

from tests.support.label_source import TOPIC, FakeSource
from tests.support.labels import NOON, counted, label
from tests.support.trends_in_memory import World
from worker import metrics as m
from worker.trends import loop
from worker.trends.counting import CountedLabel, in_json
from worker.trends.live.hub import Wanted
from worker.trends.loop import TrendsLoop
from worker.trends.store import Filter
from worker.trends.windows import Window
from worker.types import Record


@pytest.fixture
def world() -> World:
    return World()


def test_labels_are_counted_and_the_offset_committed(world: World) -> None:
    world.source.put(label("joy", at=NOON), label("fear", at=NOON + 60), marker=True)
    world.source.assign(0)
    world.turn(2)
    trend = world.store.read(Window(NOON, NOON + 3600, 60))
    assert counted(trend) == {(NOON, "joy"): 1, (NOON + 60, "fear"): 1}
    assert world.source.committed == {0: 3}  # past the transaction's marker: no lag for who watches
    assert world.metric(m.TRENDS_APPLIED, "joy") == 1
    assert world.metric(m.CONSUMER_LAG, TOPIC, "0") == 0


@pytest.fixture
def pieces_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_PIECE", 2)


@pytest.mark.usefixtures("pieces_of_two")
def test_labels_are_decoded_while_those_before_are_applied(world: World) -> None:
    decoded: list[bytes] = []
    third = threading.Event()
    in_time: list[bool] = []

    def read(value: bytes) -> CountedLabel:
        decoded.append(value)
        if len(decoded) == 3:
            third.set()
        return in_json(value)

    world.store.works = lambda: in_time.append(third.wait(20))
    world.loop = world.another(world.source, read)
    world.source.put(*[label()] * 5)
    world.source.assign(0)
    world.turn(2)
    assert in_time == [True, True, True]
    assert world.joy == 5


@pytest.mark.usefixtures("pieces_of_two")
@pytest.mark.parametrize("lost", range(1, 5))
def test_pieces_behind_one_whose_answer_is_lost_are_counted_once(world: World, lost: int) -> None:
    world.source.put(*[label()] * 9)
    world.source.assign(0)
    world.turn()
    world.store.loses_answers = lost
    for _ in range(lost + 2):
        world.turn(2)
        world.clock.sleep(60)
    assert world.joy == 9


@pytest.mark.usefixtures("pieces_of_two")
@pytest.mark.parametrize("at", range(1, 5))
def test_what_was_taken_before_its_partition_was_placed_anew_is_not_counted(world: World, at: int) -> None:
    """A store that is wiped meanwhile is counted again from the beginning, not from the piece behind."""
    asked: list[None] = []

    def wipe() -> None:
        asked.append(None)
        if len(asked) == at:
            world.store.wipe()

    world.store.works = wipe
    world.source.put(*[label()] * 9)
    world.source.assign(0)
    world.turn(4)
    assert world.joy == 9


def test_what_is_still_being_counted_is_not_committed_and_not_reached(world: World) -> None:
    released = threading.Event()
    world.store.works = lambda: released.wait(20)
    world.source.put(*[label()] * 250)
    world.source.assign(0)
    world.turn()
    assert world.loop.reached == {0: 0}
    assert world.source.committed == {}
    released.set()
    world.turn()
    assert world.loop.reached == {0: 100}
    assert world.source.committed == {0: 100}
    world.turn()
    assert world.joy == 250


def test_a_partition_that_goes_while_it_is_counted_is_counted_once() -> None:
    world = World(partitions=2)
    for partition in (0, 1):
        world.source.put(*[label()] * 150, partition=partition)
    world.source.assign(0, 1)
    world.turn()  # the first 100 are under way
    world.source.revoke(0)
    world.turn(3)
    world.source.assign(0)
    world.turn(4)
    assert world.joy == 300


def test_pieces_hold_so_many_records_of_whatever_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_PIECE", 4)
    records = {
        part: [Record(TOPIC, part, at, None, None, 0) for at in range(n)]
        for part, n in ((0, 6), (1, 0), (2, 3))
    }
    pieces = [
        [(partition, [record.offset for record in some]) for partition, some in piece]
        for piece in loop._pieces(records)
    ]
    assert pieces == [[(0, [0, 1, 2, 3])], [(0, [4, 5]), (2, [0, 1])], [(2, [2])]]


def test_what_is_counted_is_told_and_nothing_else(world: World) -> None:
    with world.hub.listen(Wanted()) as listener:
        world.source.put(label("joy", text="hello"), b"{", None, label("fear"), marker=True)
        world.source.assign(0)
        world.turn(2)
        told = listener.take()
        assert [(one.label, one.label_ref, one.text) for one in told] == [
            ("joy", f"{TOPIC}/0/0", "hello"),
            ("fear", f"{TOPIC}/0/3", None),
        ]
        assert listener.tick().counted == 2


def test_what_is_not_counted_is_not_told_and_what_is_counted_only_once(world: World) -> None:
    with world.hub.listen(Wanted()) as listener:
        world.source.assign(0)
        world.turn(2)
        world.store.loses_answers = 1
        world.source.put(label("joy"), label("joy"))
        world.turn(1)
        assert listener.tick().counted == 0
        world.clock.sleep(10)
        world.turn(5)
        assert world.joy == 2
        # What became of them was not known when they were counted: for a feed to look at, a gap is right.
        assert listener.tick().counted == 0


def test_nothing_is_read_before_the_store_says_from_where(world: World) -> None:
    world.source.put(label())
    world.source.assign(0)
    world.store.away = True
    world.turn(5)
    assert world.source.reading == {}
    assert world.health.conditions() == {"redis": False, "assignment": True}


def test_tombstones_and_what_is_no_label_count_nothing_and_stop_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    no_labels = [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        label("boredom"),
        label().replace(b'"joy"', b"1"),
        label(created_at="2026-01-01T12:00:00"),
        label(created_at=None),
        label().replace(b'"tweets"', b"null"),
    ]
    world.source.put(None, *no_labels, label("joy", text="a secret"), None)
    world.source.assign(0)
    world.turn(2)
    assert world.joy == 1
    assert world.metric(m.TRENDS_SKIPPED, "deletion") == 2
    assert world.metric(m.TRENDS_SKIPPED, "invalid") == len(no_labels)
    assert f"{len(no_labels)} records are no labels, the first at offset 1" in caplog.text
    assert "secret" not in caplog.text
    assert "boredom" not in caplog.text
    assert world.source.committed == {0: 12}


def test_a_source_with_an_endless_name_counts_as_other(world: World) -> None:
    world.source.put(label(source="x" * 65), label(source="x" * 64))
    world.source.assign(0)
    world.turn(2)
    window = Window(NOON, NOON + 3600, 3600)
    assert world.store.read(window, Filter("other")).n == 1
    assert world.store.read(window, Filter("x" * 64)).n == 1


def test_a_crash_between_counting_and_committing_counts_once(world: World) -> None:
    world.source.put(*[label()] * 250)
    world.source.assign(0)
    for _ in range(4):
        world.turn()
        world.restart()
        world.source.hold()
    world.turn(4)
    assert world.joy == 250


def test_a_lost_answer_counts_once(world: World) -> None:
    world.source.put(*[label()] * 250)
    world.source.assign(0)
    world.store.loses_answers = 2
    for _ in range(10):
        world.turn()
        world.clock.sleep(5)
    assert world.joy == 250


def test_an_outage_of_redis_is_waited_out_with_growing_pauses(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.source.assign(0)
    world.turn(2)
    world.source.put(*[label()] * 10)
    world.store.away = True
    for _ in range(600):  # a minute, in turns of a tenth of a second
        world.turn()
        world.clock.sleep(0.1)
    assert world.metric(m.DEPENDENCY_UP, "redis") == 0
    assert 10 < world.metric(m.RETRIES, "redis") < 60
    assert world.health.alive
    assert not world.health.conditions()["redis"]
    assert world.source.assigned == {0}  # still a member of the group
    world.store.away = False
    world.clock.sleep(5)
    world.turn(2)
    assert world.joy == 10
    assert world.metric(m.DEPENDENCY_UP, "redis") == 1
    about_redis = [record.message for record in caplog.records if record.name.endswith("dependency")]
    assert len(about_redis) == 2  # its start and its end
    assert "redis is away" in about_redis[0]
    assert "redis answers again" in about_redis[1]


@pytest.mark.parametrize("new_records", [0, 5])
def test_a_wiped_store_is_counted_again_from_the_beginning(world: World, new_records: int) -> None:
    """Also where no new record comes: a quiet partition must not stay empty."""
    world.source.put(*[label()] * 10)
    world.source.assign(0)
    world.turn(3)
    world.store.wipe()
    world.source.put(*[label()] * new_records)
    world.turn(3)
    world.clock.sleep(5)
    world.turn(3)
    assert world.joy == 10 + new_records
    assert world.metric(m.TRENDS_REWINDS) == 1


def test_a_zombie_and_its_successor_count_once(world: World) -> None:
    """The old instance still believes that the partition is its own."""
    zombie_source = FakeSource()
    zombie_source.log, zombie_source.end = world.source.log, world.source.end
    zombie = world.another(zombie_source)
    zombie_source.assign(0)
    world.source.assign(0)
    for _ in range(5):
        world.source.put(*[label()] * 7)
        zombie.run_once()
        world.turn()
        world.source.put(*[label()] * 3)
        world.turn()
        zombie.run_once()
    world.clock.sleep(5)
    world.turn(2)
    assert world.joy == 50


def test_a_revoked_partition_is_let_go_with_its_series(world: World) -> None:
    world.source.put(label())
    world.source.assign(0)
    world.turn(2)
    assert world.metric(m.CONSUMER_LAG, TOPIC, "0") == 0
    world.source.revoke(0)
    world.source.put(label())
    world.turn(2)
    assert world.joy == 1
    assert world.metric(m.CONSUMER_LAG, TOPIC, "0") == -1  # no such series
    world.source.assign(0)
    world.turn(2)
    assert world.joy == 2


def test_a_partition_that_went_and_came_back_in_one_turn_is_placed_anew(world: World) -> None:
    world.source.put(label())
    world.source.assign(0)
    world.turn(2)
    world.source.revoke(0)
    world.source.assign(0)
    world.source.put(label())
    world.turn(3)
    assert world.joy == 2


def test_a_partition_that_cannot_be_placed_yet_is_tried_again(world: World) -> None:
    world.source.put(label())
    world.source.assign(0)
    world.source.ready = False
    world.turn(3)
    assert world.joy == 0
    world.source.ready = True
    world.turn(2)
    assert world.joy == 1


def test_a_topic_created_anew_is_counted_on_top_and_said_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.source.put(*[label()] * 50)
    world.source.assign(0)
    world.turn(2)
    world.source.log[0].clear()
    world.source.end[0] = 0
    world.source.put(*[label()] * 5)
    world.turn(5)
    assert world.joy == 55
    assert world.store.open([0])[0] is not None
    assert caplog.text.count("created anew") == 1
    assert world.source.committed == {0: 5}
    world.source.put(*[label()] * 5)
    world.turn(2)
    assert world.joy == 60


def test_a_topic_created_anew_and_still_empty_is_waited_for(world: World) -> None:
    world.source.put(*[label()] * 50)
    world.source.assign(0)
    world.turn(2)
    world.source.log[0].clear()
    world.source.end[0] = 0
    world.turn(5)
    assert world.metric(m.CONSUMER_LAG, TOPIC, "0") == 0
    world.source.put(label())
    world.turn(2)
    assert world.joy == 51


def test_records_that_retention_took_are_named_and_the_rest_is_counted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.source.put(*[label()] * 10)
    world.source.assign(0)
    world.turn(2)
    world.restart()
    world.source.hold()
    world.source.put(*[label()] * 20)
    world.source.start[0] = 25
    world.source.log[0] = {offset: value for offset, value in world.source.log[0].items() if offset >= 25}
    world.turn(3)
    assert world.joy == 15
    assert caplog.text.count("retention has removed the records from 10 to 25") == 1


def test_the_first_read_of_an_old_topic_is_no_loss(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.source.put(*[label()] * 30)
    world.source.start[0] = 20
    world.source.log[0] = {offset: value for offset, value in world.source.log[0].items() if offset >= 20}
    world.source.assign(0)
    world.turn(2)
    assert world.joy == 10
    assert "retention" not in caplog.text


def test_a_client_that_goes_back_without_need_is_sent_forward_again(world: World) -> None:
    world.source.put(*[label()] * 10)
    world.source.assign(0)
    world.turn(2)
    world.source.put(*[label()] * 5)
    world.source.reading[0] = 0
    world.turn(3)
    assert world.joy == 15


def test_records_that_the_client_brings_twice_count_once(world: World) -> None:
    world.source.put(*[label()] * 5)
    world.source.assign(0)
    world.source.again = 3
    world.turn(4)
    assert world.joy == 5
    assert world.metric(m.TRENDS_REWINDS) == 1


def test_lag_is_told_in_records_and_seconds() -> None:
    world = World(partitions=2)
    world.source.put(*[label()] * 250)
    world.source.put(label(), partition=1)
    world.source.assign(0, 1)
    world.turn()
    assert world.metric(m.CONSUMER_LAG, TOPIC, "0") == 250  # the first 100 are still being counted
    world.turn()
    assert world.metric(m.CONSUMER_LAG, TOPIC, "0") == 150
    assert world.metric(m.CONSUMER_LAG_SECONDS, TOPIC, "0") == 100.0
    assert world.metric(m.CONSUMER_LAG, TOPIC, "1") == 0
    assert world.metric(m.CONSUMER_LAG_SECONDS, TOPIC, "1") == 0
    world.turn(3)
    assert world.metric(m.CONSUMER_LAG_SECONDS, TOPIC, "0") == 0


def test_an_instance_without_partitions_is_ready(world: World) -> None:
    world.source.joined = True
    world.turn(2)
    assert world.health.conditions() == {"redis": True, "assignment": True}


def test_the_steps_carry_the_same_numbers_in_the_docstring_and_the_code() -> None:
    described = re.findall(r"^    (\d\. \w+) ", inspect.getdoc(loop) or "", re.M)
    done = re.findall(r"# (\d\. \w+)$", inspect.getsource(TrendsLoop.run_once), re.M)
    steps = ["1. consume", "2. decode", "3. aggregate", "4. apply", "5. tell", "6. commit"]
    assert described == done == steps
