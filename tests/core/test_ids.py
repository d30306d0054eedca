"""Ids sort by time and are never given twice."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

from mainspring.core.ids import new_id


def test_ids_grow_even_within_one_millisecond() -> None:
    ids = [new_id() for _ in range(5000)]
    assert ids == sorted(set(ids))
    assert {len(one) for one in ids} == {26}


def test_threads_never_get_the_same_id() -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: new_id(), range(8000)))
    assert len(set(ids)) == 8000


def test_an_id_tells_the_millisecond_at_which_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    text = new_id()
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    value = 0
    for letter in text:
        value = value * 32 + alphabet.index(letter)
    assert before <= value >> 80 <= time.time_ns() // 1_000_000 + 1


def test_a_forked_child_does_not_repeat_its_parent() -> None:
    new_id()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, "".join(new_id() for _ in range(50)).encode())
        os._exit(0)
    mine = {new_id() for _ in range(50)}
    os.waitpid(child, 0)
    theirs = os.read(read, 26 * 50).decode()
    assert not mine & {theirs[start : start + 26] for start in range(0, len(theirs), 26)}
