"""Logging from forks: each writes to a folder of its own, and the process that started the logger sends for all."""

from __future__ import annotations

import os
import shutil
import sys
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from mainspring.client.entries import WRITER
from mainspring.client.sending import Link, Sender
from mainspring.client.syncing import describe
from mainspring.runtime.spool_writer import is_abandoned


class Forked(Protocol):
    """What hears of forks, on both sides."""

    def forked(self) -> None: ...

    def born(self) -> None: ...


_followers: weakref.WeakSet[Forked] = weakref.WeakSet()


def follow(one: Forked) -> None:
    """Let *one* hear of every fork from now on."""
    _followers.add(one)


def _tell_parent() -> None:
    for one in list(_followers):
        one.forked()


def _tell_child() -> None:
    for one in list(_followers):
        one.born()


os.register_at_fork(after_in_parent=_tell_parent, after_in_child=_tell_child)


def before_child_ends(call: Callable[[], object]) -> None:
    """Have something called as a child process of ``multiprocessing`` ends: those pass by what ``atexit`` knows."""
    if "multiprocessing.process" in sys.modules:
        from multiprocessing.util import Finalize

        Finalize(None, call, exitpriority=100)


class Children:
    """The folders of forks that one logger sends for, while they are written and when they are complete."""

    def __init__(self, spool: Path, run: str, parent: Path, link: Link, refused: deque[str]) -> None:
        self._spool, self._run, self._parent = spool, run, parent.name
        self._link, self._refused = link, refused
        self._senders: dict[Path, Sender] = {}

    def send(self) -> bool:
        """Send what they wrote so far; tells whether nothing is left of those that have ended."""
        for folder in self._spool.glob(f"{self._run}.*"):
            if folder not in self._senders and describe(folder).sent_by == self._parent:
                self._senders[folder] = Sender(self._link, folder, self._refused, 0)
        left = [folder for folder, sender in list(self._senders.items()) if not self._sent(folder, sender)]
        return not left

    def _sent(self, folder: Path, sender: Sender) -> bool:
        ended = is_abandoned(folder / WRITER)
        if not sender.send():
            return not ended
        if ended:
            shutil.rmtree(folder, ignore_errors=True)
            del self._senders[folder]
        return True
