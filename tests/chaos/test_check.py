"""The checker finds each kind of violation, and nothing where there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.chaos.check import Cell, DeadLetter, Input, Kind, Label, Read, Tombstone, check

CELLS: list[Cell] = [(60 * minute, emotion, "web") for minute in range(3) for emotion in ("joy", "fear")]
KINDS: tuple[Kind, ...] = ("post", "post", "deletion", "post", "poison", "post")


def sound() -> Read:
    """Sixty records of five keys, and all that must come of them."""
    inputs: list[Input] = []
    labels: list[Label | Tombstone] = []
    dead: list[DeadLetter] = []
    for number in range(60):
        key, kind = f"key-{number % 5}", KINDS[number // 5 % len(KINDS)]
        item = Input(f"tweets/{number % 5}/{number // 5}", key, number, kind, 100 + number)
        inputs.append(item)
        if kind == "post":
            labels.append(Label(number % 2, key, item.ref, item.content, CELLS[number % len(CELLS)]))
        elif kind == "deletion":
            labels.append(Tombstone(number % 2, key))
        else:
            dead.append(DeadLetter(0, key, item.ref, item.content))
    # A key's outcomes lie in one partition.
    labels = [one._replace(partition=int(one.key[-1]) % 2) for one in labels]
    inputs.sort(key=lambda item: item.ref.split("/")[1])
    trends = Counter(one.cell for one in labels if isinstance(one, Label))
    return Read(60, inputs, labels, dead, trends)


Change = Callable[[Read], Read]


def without_label(read: Read) -> Read:
    gone = next(one for one in read.labels if isinstance(one, Label))
    trends = Counter(read.trends)
    trends[gone.cell] -= 1
    return read._replace(labels=[one for one in read.labels if one is not gone], trends=trends)


def label_twice(read: Read) -> Read:
    again = next(one for one in read.labels if isinstance(one, Label))
    return read._replace(labels=[*read.labels, again], trends=Counter(read.trends) + Counter([again.cell]))


def without_tombstone(read: Read) -> Read:
    gone = next(one for one in read.labels if isinstance(one, Tombstone))
    return read._replace(labels=[one for one in read.labels if one is not gone])


def tombstone_twice(read: Read) -> Read:
    return read._replace(
        labels=[*read.labels, next(one for one in read.labels if isinstance(one, Tombstone))]
    )


def without_dead_letter(read: Read) -> Read:
    return read._replace(dead=read.dead[1:])


def dead_letter_twice(read: Read) -> Read:
    return read._replace(dead=[*read.dead, read.dead[-1]])


def swapped(read: Read) -> Read:
    """The last two labels of a key change places, whatever lies between."""
    labels = list(read.labels)
    first, second = [i for i, one in enumerate(labels) if one.key == "key-1" and isinstance(one, Label)][-2:]
    labels[first], labels[second] = labels[second], labels[first]
    return read._replace(labels=labels)


def tombstone_too_late(read: Read) -> Read:
    first = next(one for one in read.labels if isinstance(one, Tombstone) and one.key == "key-2")
    labels = [one for one in read.labels if one is not first]
    after = max(i for i, one in enumerate(labels) if one.key == "key-2" and isinstance(one, Label))
    labels.insert(after + 1, first)
    return read._replace(labels=labels)


def dead_letters_swapped(read: Read) -> Read:
    dead = list(read.dead)
    ours = [index for index, one in enumerate(dead) if one.key == "key-3"]
    dead[ours[0]], dead[ours[1]] = dead[ours[1]], dead[ours[0]]
    return read._replace(dead=dead)


def key_in_two_partitions(read: Read) -> Read:
    labels = list(read.labels)
    labels[-1] = labels[-1]._replace(partition=1 - labels[-1].partition)
    return read._replace(labels=labels)


def label_of_another(read: Read) -> Read:
    labels = list(read.labels)
    index, label = next((i, one) for i, one in enumerate(labels) if isinstance(one, Label))
    labels[index] = label._replace(content=1)
    return read._replace(labels=labels)


def label_of_nothing(read: Read) -> Read:
    made_up = Label(0, "key-0", "tweets/0/999", 1, CELLS[0])
    return read._replace(labels=[*read.labels, made_up], trends=Counter(read.trends) + Counter([CELLS[0]]))


def post_dead_lettered_as_well(read: Read) -> Read:
    post = next(item for item in read.inputs if item.kind == "post")
    return read._replace(dead=[*read.dead, DeadLetter(0, post.key, post.ref, post.content)])


def counted_twice(read: Read) -> Read:
    return read._replace(trends=Counter(read.trends) + Counter([CELLS[0]]))


def not_counted(read: Read) -> Read:
    return read._replace(trends=Counter(read.trends) - Counter([CELLS[1]]))


def counted_elsewhere(read: Read) -> Read:
    return read._replace(trends=Counter(not_counted(read).trends) + Counter([(999, "joy", "web")]))


def input_gone(read: Read) -> Read:
    return read._replace(sent=read.sent + 1)


def input_twice(read: Read) -> Read:
    post = next(item for item in read.inputs if item.kind == "post")
    copy = post._replace(ref="tweets/0/100")
    out = Label(int(post.key[-1]) % 2, post.key, copy.ref, copy.content, CELLS[0])
    return read._replace(
        inputs=[*read.inputs, copy],
        labels=[*read.labels, out],
        trends=Counter(read.trends) + Counter([CELLS[0]]),
    )


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    verdict = check(sound())
    assert verdict.good, verdict.examples
    assert not verdict.examples


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (without_label, {"lost": 1}),
        (label_twice, {"doubled": 1, "out_of_order": 1}),
        (without_tombstone, {"lost": 1}),
        (tombstone_twice, {"doubled": 1}),
        (without_dead_letter, {"lost": 1}),
        (dead_letter_twice, {"doubled": 1}),
        (swapped, {"out_of_order": 1}),
        (tombstone_too_late, {"out_of_order": 1}),
        (dead_letters_swapped, {"out_of_order": 1}),
        (key_in_two_partitions, {"out_of_order": 1}),
        (label_of_another, {"wrong": 1}),
        (label_of_nothing, {"wrong": 1}),
        (post_dead_lettered_as_well, {"wrong": 1}),
        (counted_twice, {"trends_off": 1}),
        (not_counted, {"trends_off": 1}),
        (counted_elsewhere, {"trends_off": 2}),
        (input_gone, {"input_lost": 1}),
        (input_twice, {"input_doubled": 1}),
    ],
)
def test_a_planted_violation_is_found(change: Change, found: dict[str, int]) -> None:
    verdict = check(change(sound()))
    assert verdict.good == (found == {"input_doubled": 1})
    assert verdict.examples
    for name, n in found.items():
        assert getattr(verdict, name) >= n, verdict
    quiet = {"lost", "doubled", "wrong", "trends_off", "input_lost", "input_doubled"} - found.keys()
    assert {name: getattr(verdict, name) for name in quiet} == dict.fromkeys(quiet, 0), verdict
