"""Frames in bytes: what is found, and that looking for them ends."""

from __future__ import annotations

import struct
import time

from mainspring.runtime.segments import end_of, first_of, holds_frame, pack_header, pack_records, pack_seal

FIRST = first_of(1)
# A beginning of a frame that claims to reach as far as the rest of the bytes allows.
CLAIM = struct.Struct("<4sII")


def test_a_frame_behind_other_bytes_is_found() -> None:
    assert holds_frame(b"torn" + pack_records([b"whole"]) + b"more")
    assert holds_frame(b"torn" + pack_seal(7))
    assert not holds_frame(b"torn" + pack_records([b"whole"])[:-1])
    assert not holds_frame(b"")


def test_the_end_of_a_segment_is_told_by_its_seal_or_its_records() -> None:
    records = pack_header(FIRST, 0) + pack_records([b"a", b"b"])
    assert end_of(records + pack_seal(FIRST + 2), FIRST) == FIRST + 2
    assert end_of(records + b"torn", FIRST) == FIRST + 2
    assert end_of(records + b"rot" + pack_records([b"c"]), FIRST) == 0


def test_bytes_made_to_look_like_many_long_frames_are_not_read_again_and_again() -> None:
    count = 200_000
    size = count * CLAIM.size
    forged = b"".join(CLAIM.pack(b"\xf5MSr", size - (number + 1) * CLAIM.size, 12345) for number in range(count))
    began = time.process_time()
    assert holds_frame(b"x" + forged)
    # Read whole for each of them, these are a quarter of a terabyte.
    assert time.process_time() - began < 5
