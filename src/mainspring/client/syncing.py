"""Sending what loggers left on the disk: of processes that ended, were killed, or worked offline."""

from __future__ import annotations

import fcntl
import logging
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from mainspring.client.capture.reading import kept_output
from mainspring.client.entries import DESCRIPTION, OUTPUT, OUTPUT_LOG, WRITER, Description, End, Left
from mainspring.client.sending import MAX_REFUSED, Link, Receiver, Sender
from mainspring.core.errors import Conflict, InvalidRequest, MainspringError
from mainspring.runtime.spool_writer import is_abandoned

_log = logging.getLogger("mainspring.client")

State = Literal["sent", "waiting", "running"]


class Sent(msgspec.Struct, frozen=True):
    """What became of one folder: ``sent`` whole, ``waiting`` for what ``trouble`` says, or still written by its run."""

    run: str
    experiment: str | None
    name: str | None
    state: State
    entries: int
    values: int
    files: int
    refused: list[str]
    trouble: str
    folder: str


def send_spooled(
    receiver: Receiver, spool: Path, *, keep: bool = False, told: Callable[[Sent], None] | None = None
) -> list[Sent]:
    """Send what loggers that have ended left in *spool*, which is the folder of one of them, or of several.

    May be repeated and broken off at any time: everything has its effect once. A folder of which all was sent is
    removed, unless it is to be kept. What is for a run that this platform does not know stays where it is. A run whose
    process died without ending it ends as killed.
    """
    link, found = Link(lambda: receiver, owned=False), []
    away = ""
    with _alone(spool) as alone:
        for folder in _folders(spool) if alone else []:
            sent = _settle(link, folder, keep, away)
            if sent.state == "waiting" and not sent.trouble.startswith("Run with id="):
                away = sent.trouble
            found.append(sent)
            if told is not None:
                told(sent)
    return found


def describe(folder: Path) -> Description:
    """Tell whose entries a folder has."""
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode((folder / DESCRIPTION).read_bytes(), type=Description)
    return Description(folder.name.partition(".")[0])


def _folders(spool: Path) -> list[Path]:
    if (spool / WRITER).is_dir():
        return [spool]
    # Sorted by the ids of the runs, so by the time of their start: a run comes before those that it is the parent of.
    return sorted(found.parent for found in spool.glob(f"*.*/{WRITER}"))


def _settle(link: Link, folder: Path, keep: bool, away: str) -> Sent:
    about, refused = describe(folder), deque[str](maxlen=MAX_REFUSED)
    sender = Sender(link, folder, refused, 0, keep=keep)
    state: State = "running"
    if is_abandoned(folder / WRITER) and not _sent_by_another(folder, about):
        state = "waiting"
        sender.trouble = away
        if not away and sender.send():
            try:
                _end_if_killed(link, about, sender, folder)
                state = "sent"
            except MainspringError as outage:
                sender.trouble = str(outage)
        if state == "sent" and not keep:
            shutil.rmtree(folder, ignore_errors=True)
    return Sent(
        run=about.run,
        experiment=about.experiment,
        name=about.name,
        state=state,
        entries=sender.entries,
        values=sender.points,
        files=sender.files,
        refused=[*refused],
        trouble="" if state == "sent" else sender.trouble,
        folder=str(folder),
    )


def _sent_by_another(folder: Path, about: Description) -> bool:
    parent = folder.with_name(about.sent_by) if about.sent_by else None
    return parent is not None and (parent / WRITER / "lock").exists() and not is_abandoned(parent / WRITER)


def _end_if_killed(link: Link, about: Description, sender: Sender, folder: Path) -> None:
    if not about.begun or isinstance(sender.last, End | Left):
        return
    tracking = link.receiver().tracking
    if tracking.get_run(about.run).run.status != "running":
        return
    if text := kept_output(folder / OUTPUT):
        tracking.put_artifact(about.run, OUTPUT_LOG, text)
    last = max((file.stat().st_mtime for file in (folder / WRITER).glob("*.seg")), default=None)
    ended = None if last is None else datetime.fromtimestamp(last, UTC)
    with suppress(Conflict):  # Somebody else ended it.
        tracking.finish_run(about.run, "killed", ended)


@contextmanager
def _alone(spool: Path) -> Iterator[bool]:
    """Tell whether no other process sends from this folder, and keep it so."""
    try:
        spool.mkdir(parents=True, exist_ok=True)
        file = (spool / "sending").open("wb")
    except OSError as error:
        raise InvalidRequest(f"{spool} cannot be used as a folder of runs: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
