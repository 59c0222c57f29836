"""Records as a stream may bring them, good, bad and malicious. The same seed gives the same records."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

Outcome = Literal["label", "tombstone", "dead letter", "any"]

MB = 1_000_000


class Fuzzed(NamedTuple):
    """One record, and what must become of it where that is certain."""

    kind: str
    key: bytes | None
    value: bytes | None
    expected: Outcome = "any"
    headers: list[tuple[str, bytes | None]] = []  # noqa: RUF012 - shared and never changed
    timestamp_ms: int = 0
    """0: now."""


WORDS = (
    *("i feel so happy today", "this is terrible", "why would they do that to us", "love you all", "oh no"),
    *("i am scared", "the train was late again", "#MondayMotivation", "@user thank you", "wow!!!", "sooooo"),
    *("https://example.org/x?y=1", "&amp;&lt;b&gt;", "caf\u00e9 na\u00efve", "\u4f60\u597d\u4e16\u754c"),
    *("\U0001f62d\U0001f62d", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u0645\u0631\u062d\u0628\u0627"),
    *("e\u0301\u0302\u0303\u0304", "\u202e\u202dabc", "\ufeff", "\u0000", "\u0007\u001b[31m", "\U000e0041"),
)
NUMBERS = (
    *(0, -1, 1.5, 2**31, 2**53, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400, 1e300, 1e-300, 1_704_164_645),
    *(1_704_164_645_000, 99_999_999_999, 100_000_000_000, 253_402_300_800, -62_135_596_801),
)
TIMES = (
    *("2024-01-02T03:04:05Z", "2024-01-02T03:04:05.123456789Z", "2024-02-30T00:00:00Z", "2024-01-02", ""),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00", "1969-12-31T23:59:59Z", "yesterday"),
)
STRANGE_JSON = (
    *('"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"\\x"', "NaN", "Infinity", "-0", "1e999"),
    *("1" * 5000, "[" * 3000),
)


def fuzzed(seed: int, n: int) -> Iterator[Fuzzed]:
    """`n` records."""
    rng = random.Random(seed)
    kinds, weights = zip(*_KINDS.items(), strict=True)
    makers = rng.choices(kinds, [weight for weight, _ in weights], k=n)
    for index, kind in enumerate(makers):
        yield _KINDS[kind][1](rng, index)._replace(kind=kind)


def _text(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(1, 12))) or "x"


def _key(rng: random.Random) -> bytes | None:
    if rng.random() < 0.1:
        return rng.choice((None, b"", b"\xff\xfe", rng.randbytes(200)))
    return b"%d" % rng.randrange(1_000_000)


def _encode(message: Any) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _plain(rng: random.Random, index: int) -> dict[str, Any]:
    return {
        "id": index,
        "text": _text(rng),
        "created_at": "2024-01-02T03:04:05Z",
        "author_id": str(rng.randrange(1000)),
        "lang": "en",
        "source": "fuzz",
    }


def _x(rng: random.Random, index: int) -> dict[str, Any]:
    data = {"id": str(index), "text": _text(rng), "author_id": "7", "created_at": "2024-01-02T03:04:05.000Z"}
    return {"data": data, "includes": {"users": [{"id": "7"}]}, "matching_rules": [{"id": "1", "tag": "x"}]}


def _bluesky(rng: random.Random, index: int) -> dict[str, Any]:
    record = {
        "$type": "app.bsky.feed.post",
        "text": _text(rng),
        "langs": ["en"],
        "createdAt": "2024-01-02T03:04:05Z",
    }
    commit = {
        "rev": "r",
        "operation": "create",
        "collection": "app.bsky.feed.post",
        "rkey": str(index),
        "record": record,
    }
    return {"did": "did:plc:fuzz", "time_us": 1_704_164_645_000_000, "kind": "commit", "commit": commit}


def _mastodon(rng: random.Random, index: int) -> dict[str, Any]:
    return {
        "id": str(index),
        "content": f"<p>{_text(rng)}<br>x</p>",
        "account": {"id": "7", "acct": "x@example.org"},
        "created_at": "2024-01-02T03:04:05.000Z",
        "language": "en",
    }


_ENVELOPES: tuple[Callable[[random.Random, int], dict[str, Any]], ...] = (_plain, _x, _bluesky, _mastodon)


def _envelope(rng: random.Random, index: int) -> dict[str, Any]:
    return rng.choice(_ENVELOPES)(rng, index)


def _odd(rng: random.Random) -> Any:
    plain: tuple[Any, ...] = (None, True, [], {}, [[]], "", " \u3000", "x" * 2000, {"id": 1, "text": "x"})
    drawn = ("x" * rng.choice((1024, 1025)), rng.choice(NUMBERS), rng.choice(TIMES), _text(rng))
    return rng.choice((*plain, *drawn, [rng.choice(NUMBERS)] * 3))


def _places(message: Any) -> list[tuple[Any, Any]]:
    """Every container with a key or an index into it."""
    found: list[tuple[Any, Any]] = []
    if isinstance(message, dict):
        for name, value in message.items():
            found.append((message, name))
            found += _places(value)
    elif isinstance(message, list):
        for number, value in enumerate(message):
            found.append((message, number))
            found += _places(value)
    return found


def _good(rng: random.Random, index: int) -> Fuzzed:
    return Fuzzed("", _key(rng), _encode(_envelope(rng, index) | {"extra": {"deep": [1, {}]}}), "label")


def _restructured(rng: random.Random, index: int) -> Fuzzed:
    """One to three members gone, renamed or of another kind."""
    message = _envelope(rng, index)
    for _ in range(rng.randint(1, 3)):
        places = _places(message)
        if not places:
            break
        container, name = rng.choice(places)
        how = rng.random()
        if how < 0.3:
            del container[name]
        elif how < 0.4 and isinstance(container, dict):
            container[str(name).upper()] = container.pop(name)
        else:
            container[name] = _odd(rng)
    return Fuzzed("", _key(rng), _encode(message))


def _spelt(rng: random.Random, index: int) -> Fuzzed:
    """JSON as no encoder writes it, in the place of a member."""
    message = _envelope(rng, index)
    container, name = rng.choice(_places(message))
    container[name] = "@@"
    return Fuzzed("", _key(rng), _encode(message).replace(b'"@@"', rng.choice(STRANGE_JSON).encode()))


def _damaged(rng: random.Random, index: int) -> Fuzzed:
    """Bytes flipped, put in, taken out, cut off, doubled."""
    value = bytearray(_encode(_envelope(rng, index)))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(value) + 1)
        how = rng.randrange(5)
        if how == 0 and at < len(value):
            value[at] = rng.randrange(256)
        elif how == 1:
            value[at:at] = rng.choice((b"\x00", b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"{", b'"', b"\\"))
        elif how == 2:
            del value[at : at + rng.randint(1, 8)]
        elif how == 3:
            del value[at:]
        else:
            value[at:at] = value[: rng.randint(0, 50)]
    return Fuzzed("", _key(rng), bytes(value))


def _bytes(rng: random.Random, _index: int) -> Fuzzed:
    # No JSON object begins so, and no white space comes before one.
    return Fuzzed("", _key(rng), b"\xff" + rng.randbytes(rng.randrange(300)), "dead letter")


def _nested(rng: random.Random, index: int) -> Fuzzed:
    depth = rng.choice((50, 500, 5000, 20_000))
    open_, close = rng.choice((("[", "]"), ('{"a":', "}")))
    inside = open_ * depth + "1" + close * rng.choice((depth, 0))
    return Fuzzed("", _key(rng), b'{"id":%d,"text":"x","y":%s}' % (index, inside.encode()))


def _large(rng: random.Random, index: int) -> Fuzzed:
    kind = rng.randrange(4)
    if kind == 0:
        return Fuzzed("", _key(rng), _encode({"id": index, "text": "so sad " * (MB // 7)}), "label")
    if kind == 1:
        return Fuzzed("", _key(rng), _encode({"id": index, "text": "x" * MB}), "label")
    if kind == 2:
        return Fuzzed("", _key(rng), _encode({"id": "x" * MB, "text": "x"}), "dead letter")
    return Fuzzed("", _key(rng), b"\xff" + rng.randbytes(MB), "dead letter")


def _deletion(rng: random.Random, _index: int) -> Fuzzed:
    return Fuzzed("", _key(rng), None, "tombstone")


def _taken_back(rng: random.Random, index: int) -> Fuzzed:
    message = _bluesky(rng, index)
    message["commit"] = {"operation": "delete", "collection": "app.bsky.feed.post", "rkey": str(index)}
    return Fuzzed("", _key(rng), _encode(message), "tombstone")


def _long_key(rng: random.Random, index: int) -> Fuzzed:
    value = rng.choice((None, _encode(_plain(rng, index)), b"{"))
    return Fuzzed("", b"k" * rng.choice((16_385, 100_000, MB)), value, "dead letter")


def _headed(rng: random.Random, index: int) -> Fuzzed:
    names = (
        "trace",
        "moodstream.topic",
        "moodstream.redriven.timestamp",
        "moodstream.mark",
        "\u00fc\u0000",
        "",
    )
    values = (None, b"", b"-1", b"9" * 40, b"\xff", b"1600000000000")
    headers = [(rng.choice(names), rng.choice(values)) for _ in range(rng.randint(1, 5))]
    message = _plain(rng, index)
    del message["created_at"]
    return Fuzzed("", _key(rng), rng.choice((_encode(message), b"{")), "any", headers)


def _dated(rng: random.Random, index: int) -> Fuzzed:
    """Kafka's own timestamp is odd, and the post says no time."""
    message = _plain(rng, index)
    del message["created_at"]
    return Fuzzed(
        "", _key(rng), _encode(message), "label", [], rng.choice((1, 86_400_000, 1_000_000_000_000))
    )


_KINDS: dict[str, tuple[float, Callable[[random.Random, int], Fuzzed]]] = {
    "good": (300, _good),
    "restructured": (250, _restructured),
    "damaged": (200, _damaged),
    "strange JSON": (80, _spelt),
    "random bytes": (60, _bytes),
    "deletion": (30, _deletion),
    "taken back": (20, _taken_back),
    "odd timestamp": (20, _dated),
    "odd headers": (20, _headed),
    "deep nesting": (8, _nested),
    "long key": (0.5, _long_key),
    "large": (0.5, _large),
}
"""By weight."""
