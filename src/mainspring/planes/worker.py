"""The worker plane: it runs steps and monitors, ``python -m mainspring.planes.worker --home H --id N``.

Steps and rounds run in child processes, which open the platform for them. SIGTERM lets the step that runs finish
for ``drain_timeout_s``, then gives it back for another worker; kill -9 costs nothing but the time of the step's lease,
and not even that when a worker with the same id is started again.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from mainspring.core.errors import MainspringError
from mainspring.core.settings import Settings, load_settings
from mainspring.pipelines.leases import Leases
from mainspring.pipelines.worker import Worker, WorkerOptions
from mainspring.planes.monitors import MonitorRounds
from mainspring.planes.schema import migrate
from mainspring.runtime.telemetry.logs import start_logs
from mainspring.storage.sql.database import open_database, sqlite_url

if TYPE_CHECKING:
    from mainspring.client.session import Session

logger = logging.getLogger(__name__)

_PLATFORM = "mainspring.planes.worker:open_home"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the worker until it is told to stop; gives the exit status."""
    parser = argparse.ArgumentParser(prog="mainspring.planes.worker", description=__doc__)
    parser.add_argument("--home", help="folder of everything that Mainspring keeps")
    parser.add_argument("--id", "--worker", dest="id", default="1", help="name of this worker among those that live")
    given = parser.parse_args(arguments)
    start_logs("worker")
    try:
        settings = load_settings({"home": given.home}).settings
        start_logs("worker", level=settings.log_level)
        run(settings, given.id, _stopped_by_signals())
    except MainspringError as error:
        # As the other planes do; `mainspring up` reads the code from this line.
        logger.error("%s", error, extra={"code": error.code})
        return 1
    return 0


def _stopped_by_signals() -> threading.Event:
    """Give an event that SIGTERM and SIGINT set.

    A handler must not set it itself: it may interrupt this very thread inside `Event.wait`, holding the event's lock.
    """
    stop = threading.Event()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave_it_to_the_pipe)

    def listen() -> None:
        os.read(reader, 1)
        stop.set()

    threading.Thread(target=listen, name="signals", daemon=True).start()
    return stop


def _leave_it_to_the_pipe(number: int, frame: FrameType | None) -> None:
    pass


def run(settings: Settings, id: str, stop: threading.Event) -> None:
    """Run steps in this thread, and monitors beside it, until *stop* is set.

    Raises SchemaTooNew and Unavailable at the start.
    """
    home = Path(settings.home).absolute()
    database = open_database(settings.database_url or sqlite_url(home / "mainspring.db"))
    migrate(database)
    leases = Leases(database, lease_s=settings.lease_s)
    options = WorkerOptions(platform=_PLATFORM, home=str(home), drain_s=settings.drain_timeout_s)
    rounds = MonitorRounds(database, settings, platform=_PLATFORM, home=str(home))
    rounds.start()
    try:
        Worker(leases, id, options).run(stop)
    finally:
        rounds.stop()
        database.close()


def open_home(home: str) -> Session:
    """Open the platform of *home* in the child process of a worker, whose settings it inherits."""
    from mainspring.planes.embedded import open_platform

    return open_platform(load_settings({"home": home}).settings)


if __name__ == "__main__":
    sys.exit(main())
