"""The monitors' rounds: one of the workers checks every watched endpoint again and again, in a child process."""

from __future__ import annotations

import logging
import threading

import msgspec

from mainspring.core.actor import acting_as
from mainspring.core.settings import Settings
from mainspring.monitoring import store
from mainspring.pipelines.context import StepContext
from mainspring.pipelines.messages import Failed, Progressed, RunStep, Succeeded
from mainspring.pipelines.output import Output
from mainspring.pipelines.process import Child
from mainspring.runtime.periodic import each
from mainspring.runtime.scheduler import Every, Firing, Scheduler
from mainspring.storage.sql.database import Database

logger = logging.getLogger(__name__)

TIMER = "monitors"
_TICK_S = 0.2
_MOST_S = 3600.0
_MAX_CHILD_BYTES = 2 << 30


class _Stopped(Exception):
    """The worker ends, and with it the round."""


class MonitorRounds:
    """Makes a round every ``policy_interval_s``: of all workers on the database the one that took the timer.

    The timer is leased: when its worker is killed, another one, or the same one started again, takes it over at once.
    A round that was cut short is made again, and finds the windows that were checked already. The child process is
    there from the first endpoint that is watched, and keeps the platform open from round to round.
    """

    def __init__(self, database: Database, settings: Settings, *, platform: str, home: str) -> None:
        """*platform* is ``module:function`` of what opens the platform for the folder *home*, in the child."""
        self._database, self._interval_s = database, settings.policy_interval_s
        self._lease_s, self._platform, self._home = settings.lease_s, platform, home
        self._stopping = threading.Event()
        self._child: Child | None = None
        # One thread: a child is bound to the thread that started it.
        self._scheduler = Scheduler(database, {TIMER: self._round}, lease_s=settings.lease_s, threads=1)

    def start(self) -> None:
        """Begin, unless the interval is 0: then monitors look only when somebody asks."""
        if self._interval_s > 0:
            self._scheduler.set(TIMER, kind=TIMER, schedule=Every(self._interval_s))
            self._scheduler.start()

    def stop(self) -> None:
        """End, with the round that is under way: what it has checked is recorded, the rest waits for the next one."""
        self._stopping.set()
        self._scheduler.stop()
        self._close()

    def _round(self, firing: Firing) -> None:
        with self._database.read() as connection:
            watched = store.endpoints(connection)
        if not watched or self._stopping.is_set():
            return
        try:
            told = self._run(firing, watched)
        except _Stopped:
            return
        if isinstance(told, Failed):
            logger.warning("the monitors could not look: %s", told.error)
        else:
            for endpoint, error in msgspec.json.decode(told.result, type=dict[str, str]).items():
                logger.warning("monitor of %s: %s", endpoint, error)
        if isinstance(told, Failed) or told.rss_bytes > _MAX_CHILD_BYTES:
            self._close()

    def _run(self, firing: Firing, watched: list[str]) -> Succeeded | Failed:
        if self._child is None or not self._child.alive:
            self._close()
            self._child = Child()
        child = self._child

        def tick(progress: Progressed | None) -> None:
            if self._stopping.is_set():
                raise _Stopped
            child.keep_on(self._lease_s)

        order = RunStep(
            job=TIMER,
            pipeline=TIMER,
            step="round",
            function=f"{__name__}:look",
            attempt=1,
            actor="monitors",
            parameters={"endpoints": watched, "token": firing.token},
            inputs={},
            platform=self._platform,
            home=self._home,
            lease_s=self._lease_s,
        )
        return child.run(order, Output(), tick, timeout_s=_MOST_S, tick_s=_TICK_S)

    def _close(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None


def look(context: StepContext) -> dict[str, str]:
    """Check what came to each endpoint since the last round; gives what went wrong, by endpoint."""
    with acting_as("monitors", context.parameters["token"]):
        _, wrong = each("monitor of", context.parameters["endpoints"], context.platform.monitoring.advance)
    return dict(wrong)
