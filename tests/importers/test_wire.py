"""Protocol buffers as Google's own library writes them."""

from __future__ import annotations

import pytest
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from mainspring.core.errors import Corrupt
from mainspring.importers import wire


@pytest.mark.parametrize(("seconds", "nanos"), [(0, 0), (1, 2), (-5, 7), (2**40, 999_999_999)])
def test_whole_numbers_come_back(seconds: int, nanos: int) -> None:
    data = Timestamp(seconds=seconds, nanos=nanos).SerializeToString()
    assert (wire.whole(data, 1), wire.whole(data, 2)) == (seconds, nanos)


def test_numbers_texts_and_messages_come_back() -> None:
    assert wire.only(Value(number_value=0.1).SerializeToString(), 2) == 0.1
    assert wire.text(Value(string_value="å\0b").SerializeToString(), 3) == "å\0b"
    assert wire.inner(Value().SerializeToString(), 5) == b""


@pytest.mark.parametrize("data", [b"\x0a\xff", b"\xff" * 12, b"\x09abc", b"\x0b", b"\x08"])
def test_what_is_cut_or_no_message_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        list(wire.fields(data))
