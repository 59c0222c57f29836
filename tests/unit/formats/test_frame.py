"""What goes before a message: a zero byte and the id of its schema."""

from __future__ import annotations

import pytest

from tests.support.formats import (
    HEADER,
    kind_of,
)
from worker.formats.frame import header, message_path, schema_id


def test_the_id_of_a_schema_is_in_the_first_five_bytes() -> None:
    assert schema_id(header(0x01020304) + b"x") == 0x01020304
    assert header(5) == b"\0\0\0\0\x05"


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\0\0\0", b'{"id":1}', b"Obj\x01...", b"\x01" + b"x" * 20])
def test_what_is_not_framed_is_a_bad_record(value: bytes) -> None:
    assert kind_of(lambda: schema_id(value)) == "not_framed"


@pytest.mark.parametrize(
    ("after", "path", "at"),
    [(b"\0abc", (0,), 6), (b"\x02\x04abc", (2,), 7), (b"\x04\x02\x80\x02abc", (1, 128), 9)],
)
def test_a_protobuf_message_says_where_its_file_has_it(after: bytes, path: tuple[int, ...], at: int) -> None:
    assert message_path(HEADER + after) == (path, at)


@pytest.mark.parametrize(
    "after", [b"", b"\x02", b"\x01", b"\x02\x01", b"\x80" * 20, b"\xfe\xff\x03" + b"\0" * 9]
)
def test_a_place_that_makes_no_sense_is_a_bad_record(after: bytes) -> None:
    assert kind_of(lambda: message_path(HEADER + after)) == "invalid_protobuf"
