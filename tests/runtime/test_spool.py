"""The spool loses nothing that was acknowledged, gives nothing twice, and never skips anything in silence."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import msgspec
import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.errors import Conflict, OverLimit, Unavailable, Unsupported
from mainspring.runtime import segments
from mainspring.runtime.spool import Damage, Position, SpoolBatch, SpoolReader, SpoolWriter


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *(str(argument) for argument in arguments)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def read(root: Path, *positions: Position) -> list[SpoolBatch]:
    return list(SpoolReader(root).batches(positions))


def records(batches: list[SpoolBatch]) -> list[bytes]:
    return [record for batch in batches for record in batch.records]


def damages(batches: list[SpoolBatch]) -> list[Damage]:
    return [batch.damage for batch in batches if batch.damage is not None]


def segment_files(root: Path, writer: str = "w") -> list[Path]:
    return sorted((root / writer).glob("*.seg"))


def numbered(first: int, count: int) -> list[bytes]:
    return [b"record %d" % number for number in range(first, first + count)]


def test_records_come_back_in_order_by_writer_with_growing_numbers(root: Path) -> None:
    with SpoolWriter(root / "b") as b, SpoolWriter(root / "a") as a:
        last = b.append_many([b"b1", b""])
        a.append_many([b"a1"])
        assert b.append_many([b"b3"]) == last + 1
        batches = read(root)
    assert [(batch.writer, batch.records) for batch in batches] == [("a", [b"a1"]), ("b", [b"b1", b"", b"b3"])]
    assert batches[1].last == last + 1 == batches[1].end.record - 1


def test_reading_goes_on_where_the_committed_position_stands(root: Path) -> None:
    with SpoolWriter(root / "w") as writer:
        writer.append_many([b"1", b"2", b"3"])
        first, *_ = SpoolReader(root, max_batch_records=2).batches()
        committed = msgspec.json.decode(msgspec.json.encode(first.end), type=Position)
        assert records(read(root, committed)) == [b"3"]
        writer.append_many([b"4"])
        assert records(read(root, committed)) == [b"3", b"4"]
        assert committed < read(root, committed)[-1].end


def test_a_batch_is_cut_to_what_had_no_effect_yet(root: Path) -> None:
    with SpoolWriter(root / "w") as writer:
        last = writer.append_many([b"1", b"2", b"3"])
        (batch,) = read(root)
    assert batch.after(last - 2).records == [b"2", b"3"]
    assert batch.after(last - 2).last == last
    assert batch.after(last).records == []
    assert batch.after(0) == batch


def test_a_record_larger_than_the_read_buffer_comes_whole(root: Path) -> None:
    large = random.Random(1).randbytes(300_000)
    with SpoolWriter(root / "w") as writer:
        writer.append_many([b"small", large, b"after"])
        batches = list(SpoolReader(root, max_batch_bytes=1000).batches())
    assert records(batches) == [b"small", large, b"after"]


def test_segments_rotate_by_size_and_are_read_in_one_row(root: Path) -> None:
    with SpoolWriter(root / "w", max_segment_bytes=200) as writer:
        for number in range(100):
            writer.append_many(numbered(number, 1))
        assert len(segment_files(root)) > 5
        batches = read(root)
    assert records(batches) == numbered(0, 100)
    assert damages(batches) == []


def test_segments_rotate_by_age_even_when_only_synced(root: Path) -> None:
    clock = ManualClock()
    with SpoolWriter(root / "w", max_segment_age_s=60, clock=clock) as writer:
        writer.append_many([b"old"])
        clock.advance(61)
        writer.sync()
        writer.append_many([b"new"])
        assert len(segment_files(root)) == 2
        assert records(read(root)) == [b"old", b"new"]


def test_only_released_segments_are_deleted_and_the_newest_stays(root: Path) -> None:
    with SpoolWriter(root / "w", max_segment_bytes=100) as writer:
        for number in range(20):
            writer.append_many(numbered(number, 1))
        reader, before = SpoolReader(root, max_batch_records=1), len(segment_files(root))
        seventh = list(reader.batches())[6].end
        assert reader.release(seventh) > 0
        assert records(list(reader.batches([seventh]))) == numbered(7, 13)
        assert before > len(segment_files(root)) > 1
        assert records(list(reader.batches()))[-13:] == numbered(7, 13)
        reader.release(list(reader.batches([seventh]))[-1].end)
        assert len(segment_files(root)) == 1
        assert records(list(reader.batches([seventh]))) == records(list(reader.batches([seventh])))


def test_numbers_grow_over_restarts_even_when_the_folder_was_emptied(root: Path) -> None:
    clock = ManualClock()
    last = 0
    for _ in range(3):
        with SpoolWriter(root / "w", clock=clock) as writer:
            assert writer.append_many([b"x"]) > last
            last = writer.last
    for file in segment_files(root):
        file.unlink()
    clock.advance(60 * 5)
    with SpoolWriter(root / "w", clock=clock) as writer:
        assert writer.append_many([b"x"]) > last


def test_two_writers_in_one_folder_are_refused(root: Path) -> None:
    with SpoolWriter(root / "w"), pytest.raises(Conflict, match="own folder"):
        SpoolWriter(root / "w")


def test_a_full_spool_refuses_until_the_reader_released(root: Path) -> None:
    clock = ManualClock()
    with SpoolWriter(root / "w", max_bytes=1000, max_segment_bytes=300, clock=clock) as writer:
        accepted = 0
        with pytest.raises(OverLimit, match="holds"):
            for _ in range(100):
                writer.append_many([b"x" * 88])
                accepted += 1
        assert 8 <= accepted <= 10
        reader = SpoolReader(root)
        batches = list(reader.batches())
        assert len(records(batches)) == accepted
        reader.release(batches[-1].end)
        clock.advance(1)
        writer.append_many([b"room"])
        assert records(list(reader.batches([batches[-1].end]))) == [b"room"]


def test_waiting_bytes_fall_as_positions_move_on(root: Path) -> None:
    with SpoolWriter(root / "w") as writer:
        reader = SpoolReader(root)
        assert reader.waiting_bytes() == 0
        writer.append_many([b"x" * 100] * 10)
        (batch,) = reader.batches()
        assert reader.waiting_bytes() >= 1000
        assert reader.waiting_bytes([batch.end]) == 0


_WRITE_AGAINST_A_LIMIT = """
import json, resource, signal, sys
from mainspring.core.errors import Unavailable
from mainspring.runtime.spool import SpoolWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = SpoolWriter(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
accepted, refused = [], 0
for number in range(20):
    size = 300 if number % 2 else 30
    try:
        writer.append_many([b"%d " % number + b"x" * size] * 2)
        accepted.append(number)
    except Unavailable:
        refused += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.append_many([b"99 later"])
writer.close()
print(json.dumps([accepted, refused]))
"""


def test_an_append_that_the_disk_cuts_short_leaves_only_whole_records(
    root: Path, child: Callable[..., subprocess.Popen[str]]
) -> None:
    process = child(_WRITE_AGAINST_A_LIMIT, root / "w")
    output, _ = process.communicate(timeout=30)
    accepted, refused = json.loads(output)
    assert refused >= 10 and len(accepted) >= 4
    batches = read(root)
    assert [int(record.split()[0]) for record in records(batches)] == [n for n in accepted for _ in "12"] + [99]
    assert damages(batches) == []


def test_a_writer_that_never_syncs_holds_no_more_than_one_segment_open(root: Path) -> None:
    with SpoolWriter(root / "w", max_segment_bytes=100) as writer:
        before = len(list(Path("/dev/fd").iterdir()))
        for number in range(20):
            writer.append_many(numbered(number, 1))
        assert len(segment_files(root)) >= 5
        assert len(list(Path("/dev/fd").iterdir())) <= before
        released = segment_files(root)[0]
        released.unlink()
        assert writer.sync() == writer.last


def test_a_folder_that_cannot_be_written_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be written"):
        SpoolWriter(tmp_path / "file" / "w")


def test_a_background_sync_makes_records_durable(root: Path) -> None:
    with SpoolWriter(root / "w", sync_interval_s=0.01) as writer:
        last = writer.append_many([b"x"])
        deadline = time.monotonic() + 10
        while writer.synced < last:
            assert time.monotonic() < deadline
            time.sleep(0.005)


def written(root: Path, counts: list[int], *, close: bool = True) -> list[bytes]:
    """Write segments of these record counts and give their bytes; unsealed at the end unless closed."""
    writer = SpoolWriter(root / "w")
    number = 0
    for index, count in enumerate(counts):
        writer.append_many(numbered(number, count))
        number += count
        if index < len(counts) - 1:
            writer._seal()
    if close:
        writer.close()
    contents = [file.read_bytes() for file in segment_files(root)]
    if not close:
        writer._seal()
        writer.close()
    return contents


def test_a_torn_end_at_any_byte_gives_every_whole_record_and_says_what_was_torn(tmp_path: Path) -> None:
    (whole,) = written(tmp_path / "source", [4], close=False)
    sizes = [len(record) + segments.FRAME_BYTES for record in numbered(0, 4)]
    for length in range(len(whole)):
        root = tmp_path / str(length)
        (root / "w").mkdir(parents=True)
        number = int(segment_files(tmp_path / "source")[0].stem)
        segments.segment_file(root / "w", number).write_bytes(whole[:length])
        ends = [segments.HEADER_BYTES + sum(sizes[: count + 1]) for count in range(4)]
        complete = sum(end <= length for end in ends)
        with SpoolWriter(root / "w") as writer:
            writer.append_many([b"after"])
            batches = read(root)
        assert records(batches) == [*numbered(0, complete), b"after"], length
        exact = length in (0, segments.HEADER_BYTES, *ends)
        assert [damage.kind for damage in damages(batches)] == ([] if exact else ["torn"]), length
        assert all(Path(damage.quarantine).stat().st_size == damage.bytes for damage in damages(batches))
        assert read(root, batches[-1].end) == []


def test_a_flipped_bit_anywhere_costs_at_most_the_record_that_it_hit(tmp_path: Path) -> None:
    source = tmp_path / "source"
    first, second = written(source, [3, 2])
    names = [file.name for file in segment_files(source)]
    frame = len(segments.pack_records(numbered(0, 1)))
    whole = [number for batch in read(source) for number in range(batch.first, batch.last + 1)]
    for bit in range(0, len(first) * 8, 5):
        root = tmp_path / str(bit)
        (root / "w").mkdir(parents=True)
        broken = bytearray(first)
        broken[bit // 8] ^= 1 << (bit % 8)
        (root / "w" / names[0]).write_bytes(broken)
        (root / "w" / names[1]).write_bytes(second)
        batches = read(root)
        (damage,) = damages(batches)
        hit = (bit // 8 - segments.HEADER_BYTES) // frame
        left = [record for number, record in enumerate(numbered(0, 3)) if number != hit]
        assert records(batches) == [*left, *numbered(3, 2)], bit
        assert damage.records == 3 - len(left)
        assert damage.offset <= bit // 8 < damage.offset + damage.bytes
        assert Path(damage.quarantine).read_bytes() == bytes(broken[damage.offset : damage.offset + damage.bytes])
        numbers = [number for batch in batches for number in range(batch.first, batch.last + 1)]
        assert numbers == [number for at, number in enumerate(whole) if at >= 3 or at != hit]
        assert read(root, batches[-1].end) == []


def damaged(root: Path, content: bytes, *places: tuple[int, bytes]) -> list[SpoolBatch]:
    """Put other bytes into the oldest segment and read what there is."""
    broken = bytearray(content)
    for at, data in places:
        broken[at : at + len(data)] = data
    segment_files(root)[0].write_bytes(broken)
    return read(root)


def test_what_is_whole_between_several_damaged_stretches_is_read_and_the_rest_counted(root: Path) -> None:
    first, _ = written(root, [12, 2])
    frame = len(segments.pack_records(numbered(0, 1)))
    places = [(segments.HEADER_BYTES + number * frame, bytes(3 * frame // 2)) for number in (2, 7)]
    batches = damaged(root, first, *places)
    left = [b"record %d" % number for number in (0, 1, 4, 5, 6, 9)] + numbered(10, 4)
    assert [record for record in records(batches) if record in left] == records(batches) == left
    assert sum(damage.records or 0 for damage in damages(batches)) == 4
    assert len(damages(batches)) == 2
    numbers = [number for batch in batches for number in range(batch.first, batch.last + 1)]
    assert numbers == sorted(set(numbers))


def test_salvage_goes_on_from_any_committed_position(root: Path) -> None:
    first, _ = written(root, [9, 2])
    frame = len(segments.pack_records(numbered(0, 1)))
    damaged(root, first, *[(segments.HEADER_BYTES + number * frame + 5, b"\0\0") for number in (1, 5)])
    whole = [(batch.first, batch.records, batch.damage) for batch in SpoolReader(root, max_batch_records=1).batches()]
    for count in range(1, len(whole)):
        *_, last = islice(SpoolReader(root, max_batch_records=1).batches(), count)
        after = SpoolReader(root, max_batch_records=1).batches([last.end])
        assert [(batch.first, batch.records, batch.damage) for batch in after] == whole[count:]


@pytest.mark.parametrize("hit", ["its mark", "its length"])
def test_a_frame_that_a_client_forged_inside_of_a_record_is_never_read_as_one(root: Path, hit: str) -> None:
    forged = b"sent by a client " + segments.pack_records([b"forged"])
    with SpoolWriter(root / "w") as writer:
        writer.append_many([b"before", forged, b"after"])
    writer = SpoolWriter(root / "w")
    writer.close()
    at = segments.HEADER_BYTES + len(segments.pack_records([b"before"]))
    content = segment_files(root)[0].read_bytes()
    batches = damaged(root, content, (at if hit == "its mark" else at + 5, b"\x01"))
    (damage,) = damages(batches)
    assert records(batches) == [b"before"]
    assert (damage.kind, damage.records) == ("corrupt", 2)


def test_looking_for_whole_records_in_bytes_made_to_look_like_them_comes_to_an_end(root: Path) -> None:
    claims = b"".join(segments.pack_records([b""])[:4] + (2**20).to_bytes(4, "little") for _ in range(2**18))
    with SpoolWriter(root / "w") as writer:
        writer.append_many([claims, b"after"])
    SpoolWriter(root / "w").close()
    began = time.process_time()
    batches = damaged(root, segment_files(root)[0].read_bytes(), (segments.HEADER_BYTES, b"\x01"))
    assert sum(damage.records or 0 for damage in damages(batches)) == 2 - len(records(batches))
    assert time.process_time() - began < 10


def test_damaged_bytes_that_cannot_be_kept_are_not_passed_over(root: Path) -> None:
    first, _ = written(root, [3, 2])
    (root / "w" / "quarantine").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be kept"):
        damaged(root, first, (segments.HEADER_BYTES, b"\x01"))
    (root / "w" / "quarantine").unlink()
    assert records(read(root)) == numbered(1, 4)


def test_a_corrupt_record_is_told_from_a_torn_end_when_the_writer_died(root: Path) -> None:
    (whole,) = written(root, [5], close=False)
    broken = bytearray(whole)
    broken[segments.HEADER_BYTES + segments.FRAME_BYTES + 2] ^= 4
    segment_files(root)[0].write_bytes(broken)
    batches = read(root)
    (damage,) = damages(batches)
    assert (damage.kind, damage.offset, damage.records) == ("corrupt", segments.HEADER_BYTES, None)


def test_what_was_damaged_after_a_crash_is_counted_even_where_it_looks_like_a_torn_end(root: Path) -> None:
    (whole,) = written(root, [5], close=False)
    (file,) = segment_files(root)
    file.write_bytes(whole)
    SpoolWriter(root / "w").close()
    file.write_bytes(whole[: -len(segments.pack_records([b"record 4"]))])
    batches = read(root)
    (damage,) = damages(batches)
    assert (damage.kind, damage.records, damage.bytes) == ("corrupt", 1, 0)
    assert records(batches) == numbered(0, 4)


def spoil(file: Path, chance: random.Random) -> None:
    """Flip a bit, cut the end off, or blank a stretch."""
    content = bytearray(file.read_bytes())
    at = chance.randrange(len(content))
    what = chance.randrange(3)
    if what == 0:
        content[at] ^= 1 << chance.randrange(8)
    elif what == 1:
        del content[at:]
    else:
        end = min(at + chance.randrange(1, 64), len(content))
        content[at:end] = bytes(end - at)
    file.write_bytes(content)


@pytest.mark.parametrize("seed", range(30))
def test_under_any_damage_what_is_read_is_right_and_what_is_missing_is_counted(root: Path, seed: int) -> None:
    chance = random.Random(seed)
    everything: list[bytes] = []
    for life in range(2):
        with SpoolWriter(root / "w", max_segment_bytes=chance.choice([200, 500, 5000])) as writer:
            for _ in range(chance.randrange(1, 12)):
                batch = [b"%d:%d " % (life, len(everything) + i) + chance.randbytes(40) for i in range(3)]
                writer.append_many(batch)
                everything += batch
    for file in chance.sample(segment_files(root)[:-1], k=1):
        spoil(file, chance)
    reader = SpoolReader(
        root, max_batch_records=chance.choice([1, 3, 1000]), max_batch_bytes=chance.choice([13, 10**6])
    )
    batches = list(reader.batches())
    rest = iter(everything)
    assert all(any(record == written for written in rest) for record in records(batches)), "in order, none twice"
    assert sum(damage.records or 0 for damage in damages(batches)) == len(everything) - len(records(batches))
    assert read(root, batches[-1].end) == []


def test_a_live_writers_unfinished_record_is_waited_for(root: Path) -> None:
    with SpoolWriter(root / "w") as writer:
        writer.append_many([b"one"])
        frame = segments.pack_records([b"two"])
        with segment_files(root)[0].open("ab", buffering=0) as file:
            file.write(frame[:9])
            batches = read(root)
            assert records(batches) == [b"one"] and damages(batches) == []
            file.write(frame[9:])
        assert records(read(root, batches[-1].end)) == [b"two"]


def test_a_segment_that_vanished_is_counted(root: Path) -> None:
    written(root, [2, 3, 4])
    (first,) = [batch for batch in read(root) if batch.records == numbered(0, 2)]
    segment_files(root)[1].unlink()
    batches = read(root, first.end)
    (damage,) = damages(batches)
    assert (damage.kind, damage.records) == ("corrupt", 3)
    assert records(batches) == numbered(5, 4)


def test_segments_of_another_format_are_refused_not_skipped(root: Path) -> None:
    (content,) = written(root, [1])
    body = b"MSSPOOL9" + content[8:24]
    segment_files(root)[0].write_bytes(body + zlib.crc32(body).to_bytes(4, "little") + content[28:])
    with pytest.raises(Unsupported, match="format"):
        read(root)


_WRITE_FOR_EVER = """
import random, sys
from mainspring.runtime.spool import SpoolWriter
folder, life = sys.argv[1], sys.argv[2]
writer = SpoolWriter(folder, max_segment_bytes=40_000)
chance, number = random.Random(life), 0
while True:
    count = chance.randrange(1, 9)
    batch = [b"%s:%d:" % (life.encode(), number + i) + b"x" * chance.randrange(3000) for i in range(count)]
    writer.append_many(batch)
    number += len(batch)
    if chance.random() < 0.2:
        writer.sync()
        print(number, flush=True)
"""


def test_kill_9_of_a_writer_loses_nothing_synced_and_gives_nothing_twice(
    root: Path, child: Callable[..., subprocess.Popen[str]]
) -> None:
    chance, reader = random.Random(7), SpoolReader(root, max_batch_records=50)
    seen: list[bytes] = []
    position: list[Position] = []
    acknowledged: dict[str, int] = {}

    def take_in() -> None:
        for batch in reader.batches(position):
            assert batch.damage is None or batch.damage.kind == "torn"
            assert not position or batch.end > position[0]
            seen.extend(batch.records)
            position[:] = [batch.end]
            reader.release(batch.end)

    for life in range(8):
        process = child(_WRITE_FOR_EVER, root / "w", life)
        assert process.stdout is not None
        acknowledged[str(life)] = int(process.stdout.readline())
        until = time.monotonic() + chance.random() * 0.2
        while time.monotonic() < until:
            take_in()
        process.kill()
        process.wait()
        later = [int(line) for line in process.stdout.read().split()]
        acknowledged[str(life)] = max([acknowledged[str(life)], *later])
    take_in()
    lives: dict[str, list[int]] = {}
    for record in seen:
        life_of, number, _ = record.decode().split(":")
        lives.setdefault(life_of, []).append(int(number))
    for name, count in acknowledged.items():
        assert lives[name] == list(range(len(lives[name]))), "in order, none twice, none missing"
        assert len(lives[name]) >= count > 0


def test_the_spool_needs_no_database_and_no_tables() -> None:
    code = (
        "import sys; import mainspring.runtime.spool, mainspring.runtime.snapshots;"
        "heavy = {'sqlalchemy', 'polars', 'pandas', 'starlette', 'pydantic', 'deltalake'};"
        "sys.exit(str(heavy & set(sys.modules) or ''))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).stderr.strip() == b""
