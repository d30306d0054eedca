"""A watcher sees whole states only, newer ones only, and the publisher knows who serves what."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from mainspring.core.errors import Corrupt, Unavailable
from mainspring.runtime.presence import Process, is_alive, is_gone, this_process
from mainspring.runtime.snapshots import Applied, Publisher, Snapshot, Watcher


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", code, *(str(argument) for argument in arguments)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None and process.stdin is not None
        process.stdout.close()
        process.stdin.close()


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def snapshots(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.snap"))


def test_a_watcher_sees_nothing_then_each_newer_state_once(folder: Path) -> None:
    watcher = Watcher(folder)
    assert watcher.current() is None and watcher.poll() is None
    publisher = Publisher(folder)
    assert publisher.publish(b"one") == 1
    assert watcher.poll() == Snapshot(1, b"one")
    assert watcher.poll() is None
    assert publisher.publish(b"two") == 2 and publisher.publish(b"three") == 3
    assert watcher.poll() == Snapshot(3, b"three")
    assert watcher.poll() is None
    assert watcher.current() == Snapshot(3, b"three")


def test_versions_grow_over_restarts_of_the_publisher(folder: Path) -> None:
    versions = [Publisher(folder).publish(b"") for _ in range(4)]
    assert versions == [1, 2, 3, 4]


def test_only_the_last_five_are_kept(folder: Path) -> None:
    publisher = Publisher(folder)
    for number in range(12):
        publisher.publish(b"%d" % number)
    assert [int(file.stem) for file in snapshots(folder)] == [8, 9, 10, 11, 12]


def test_every_publication_is_noticed_however_fast_they_come(folder: Path) -> None:
    publisher, watcher = Publisher(folder), Watcher(folder)
    for number in range(50):
        version = publisher.publish(b"same size %03d" % number)
        assert watcher.poll() == Snapshot(version, b"same size %03d" % number)


def test_a_broken_newest_state_falls_back_to_the_one_before_and_is_reported(folder: Path) -> None:
    publisher = Publisher(folder)
    publisher.publish(b"good")
    publisher.publish(b"bad")
    damage(snapshots(folder)[-1])
    watcher = Watcher(folder)
    assert watcher.current() == Snapshot(1, b"good")
    (reported,) = watcher.damage
    assert reported.facts == {"version": 2}
    assert publisher.publish(b"healed") == 3
    assert watcher.poll() == Snapshot(3, b"healed")


def test_a_running_watcher_keeps_its_state_while_the_newest_is_broken(folder: Path) -> None:
    publisher, watcher = Publisher(folder), Watcher(folder)
    publisher.publish(b"good")
    assert watcher.poll() is not None
    publisher.publish(b"bad")
    damage(snapshots(folder)[-1])
    assert watcher.poll() is None
    assert watcher.current() == Snapshot(1, b"good")
    assert len(watcher.damage) == 1


def test_truncation_at_any_byte_is_noticed(folder: Path) -> None:
    Publisher(folder).publish(b"payload")
    (file,) = snapshots(folder)
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(Corrupt, match="publish the state again"):
            Watcher(folder).current()


def test_a_lost_pointer_content_falls_back_to_the_newest_file(folder: Path) -> None:
    Publisher(folder).publish(b"state")
    (folder / "current").write_bytes(b"")
    assert Watcher(folder).current() == Snapshot(1, b"state")
    assert Publisher(folder).publish(b"next") == 2


def test_a_publication_that_was_not_finished_is_not_seen(folder: Path) -> None:
    publisher = Publisher(folder)
    publisher.publish(b"one")
    pointer = (folder / "current").read_bytes()
    publisher.publish(b"two")
    (folder / "current").write_bytes(pointer)
    assert Watcher(folder).current() == Snapshot(1, b"one")
    assert Publisher(folder).publish(b"three") == 3


def test_a_folder_that_cannot_be_written_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be written"):
        Publisher(tmp_path / "file" / "snapshots")


_PUBLISH_FOR_EVER = """
import sys
from mainspring.runtime.snapshots import Publisher
publisher = Publisher(sys.argv[1])
while True:
    version = publisher.publish(b"x" * 50_000)
    print(version, flush=True)
"""


def test_kill_9_of_the_publisher_leaves_a_whole_state_not_older_than_the_acknowledged(
    folder: Path, child: Callable[..., subprocess.Popen[bytes]]
) -> None:
    watcher, last = Watcher(folder), 0
    for life in range(5):
        process = child(_PUBLISH_FOR_EVER, folder)
        assert process.stdout is not None
        first = int(process.stdout.readline())
        until = time.monotonic() + 0.03 * life
        while time.monotonic() < until:
            seen = watcher.poll()
            assert seen is None or seen.payload == b"x" * 50_000
        process.kill()
        process.wait()
        acknowledged = max([first, *(int(line) for line in process.stdout.read().split())])
        fresh = Watcher(folder).current()
        assert fresh is not None and fresh.version >= max(acknowledged, last)
        last = fresh.version
    assert watcher.damage == []


def test_the_publisher_waits_for_every_living_process(
    folder: Path, child: Callable[..., subprocess.Popen[bytes]]
) -> None:
    publisher = Publisher(folder)
    version = publisher.publish(b"state")
    assert publisher.wait_applied(version, timeout_s=0), "nobody serves yet: nobody to wait for"
    Watcher(folder).acknowledge("data-0", version)
    code = "import sys; from mainspring.runtime.snapshots import Watcher; Watcher(sys.argv[1]).acknowledge('data-1', 0)"
    process = child(code + "; print(); sys.stdout.flush(); sys.stdin.read()", folder)
    assert process.stdout is not None
    process.stdout.readline()
    assert not publisher.wait_applied(version, 0.02)
    process.kill()
    process.wait()
    assert publisher.wait_applied(version, timeout_s=5)
    assert [(applied.worker, applied.version) for applied in publisher.applied()] == [("data-0", version)]


def test_waiting_ends_as_soon_as_the_last_one_acknowledges(folder: Path) -> None:
    publisher, watcher = Publisher(folder), Watcher(folder)
    watcher.acknowledge("data-0", publisher.publish(b"one"))
    version = publisher.publish(b"two")
    thread = threading.Timer(0.05, watcher.acknowledge, ("data-0", version))
    thread.start()
    assert publisher.wait_applied(version, timeout_s=30)
    thread.join()


def test_an_acknowledgement_of_an_earlier_process_with_the_same_number_does_not_count(folder: Path) -> None:
    publisher = Publisher(folder)
    earlier = msgspec.structs.replace(this_process(), started="some earlier start")
    (folder / "applied" / "data-9.json").write_bytes(msgspec.json.encode(Applied("data-9", 0, earlier)))
    assert publisher.wait_applied(publisher.publish(b""), timeout_s=0)
    assert not (folder / "applied" / "data-9.json").exists()


def test_presence_tells_this_process_from_a_dead_and_a_zombie(child: Callable[..., subprocess.Popen[bytes]]) -> None:
    assert is_alive(this_process())
    process = child(
        "import msgspec, sys; from mainspring.runtime.presence import this_process;"
        "sys.stdout.buffer.write(msgspec.json.encode(this_process()) + b'\\n'); sys.stdout.flush(); sys.stdin.read()"
    )
    assert process.stdout is not None
    other = msgspec.json.decode(process.stdout.readline(), type=Process)
    assert other.pid == process.pid
    process.kill()
    deadline = time.monotonic() + 10
    while is_alive(other):
        assert time.monotonic() < deadline
    process.wait()
    assert not is_alive(other)


def test_nothing_is_told_of_a_process_of_another_place() -> None:
    elsewhere = msgspec.structs.replace(this_process(), place="another machine")
    assert not is_alive(elsewhere) and not is_gone(elsewhere)
    earlier = msgspec.structs.replace(this_process(), started="some earlier start")
    assert is_gone(earlier) and not is_gone(this_process())
