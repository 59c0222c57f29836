"""What is sent is what the product takes it for, and the same for the same seed."""

from __future__ import annotations

import pytest

from tests.chaos.traffic import _POISON, Content, Item
from worker.errors import BadRecordError
from worker.stream.decode import Deletion, decode, written_at
from worker.types import Post, Record

START = 1_767_268_800.0


def items(seed: int, n: int = 3000) -> list[Item]:
    content = Content(seed, START)
    return [content.next(START + number) for number in range(n)]


def record(item: Item) -> Record:
    return Record(item.topic, 0, 0, item.key.encode(), item.value, int(START * 1000))


def test_the_same_seed_sends_the_same() -> None:
    assert items(1) == items(1)
    assert items(1) != items(2)


def test_posts_deletions_and_poison() -> None:
    posts, deletions, poison = 0, 0, 0
    for item in items(3):
        try:
            what = decode(record(item))
            if isinstance(what, Deletion):
                deletions += 1
            else:
                assert isinstance(what, Post)
                written_at(what, record(item))
                posts += 1
        except BadRecordError:
            assert item.value in _POISON
            poison += 1
    assert posts + deletions + poison == 3000
    assert min(deletions, poison) >= 15


@pytest.mark.parametrize("value", _POISON)
def test_poison_is_poison(value: bytes) -> None:
    bad = record(Item("tweets", "k", value))

    def whole() -> None:
        what = decode(bad)
        assert isinstance(what, Post)
        written_at(what, bad)

    with pytest.raises(BadRecordError):
        whole()


def test_the_sequence_of_each_key_rises_by_one() -> None:
    seen: dict[str, int] = {}
    for item in items(4):
        if item.value is not None and item.value not in _POISON:
            post = decode(record(item))
            assert isinstance(post, Post)
            key, sequence, _ = str(post.id).rsplit("/", 2)
            assert (key, int(sequence)) == (item.key, seen.get(key, 0) + 1)
            seen[key] = int(sequence)
    assert len(seen) == 400


def test_a_key_stays_in_its_topic() -> None:
    assert len({(item.key, item.topic) for item in items(5)}) == len({item.key for item in items(5)})
