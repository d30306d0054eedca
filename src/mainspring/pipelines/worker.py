"""The loop of a worker: take a step, run it in the child process, keep the lease, record what came of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

import msgspec

from mainspring.core.errors import MainspringError, StaleLease
from mainspring.pipelines.leases import Leases
from mainspring.pipelines.messages import Failed, Progressed, RunStep, Succeeded
from mainspring.pipelines.model import Failure, Lease, StepLog
from mainspring.pipelines.output import Output
from mainspring.pipelines.process import Child

_TICK_S = 0.2
_OUTAGE_PAUSE_S = 1.0
_SURE_SHARE = 0.9
_log = logging.getLogger("mainspring.pipelines")


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker works.

    ``platform`` is ``module:function`` of what opens the platform for the folder ``home``, in the child. ``drain_s`` is
    how long a step may go on after the worker was told to stop. A child that holds more than ``max_child_bytes`` after
    a step is replaced.
    """

    platform: str | None = None
    home: str = ""
    import_paths: Sequence[str] = ()
    poll_s: float = 0.25
    drain_s: float = 10.0
    max_child_bytes: int = 2 << 30


class _Stopped(Exception):
    """The worker was told to stop, and the step did not end in time."""


class Worker:
    """Runs steps one after another. Its name must be its own among the workers that live at the same time."""

    def __init__(self, leases: Leases, name: str, options: WorkerOptions | None = None) -> None:
        self.leases = leases
        self.name = name
        self.options = options or WorkerOptions()
        self._child: Child | None = None

    def run(self, stop: threading.Event) -> None:
        """Run steps until *stop* is set: then finish the step, or give it back after ``drain_s``.

        What a worker of this name had leased before it died is taken up at once. Outages of the database are waited
        for. Call it in a thread that lives as long as the worker.
        """
        while not stop.is_set():
            try:
                self.leases.reclaim(self.name)
                break
            except MainspringError as error:
                self._wait_out(error, stop)
        while not stop.is_set():
            try:
                if not self.run_one(stop):
                    stop.wait(self.options.poll_s)
            except MainspringError as error:
                self._wait_out(error, stop)
        self.close()

    def run_one(self, stop: threading.Event | None = None) -> bool:
        """Take one step and run it; False when there was none to take."""
        lease = self.leases.claim(self.name)
        if lease is None:
            return False
        _log.info("attempt %d of step %s of job %s", lease.attempt, lease.step.name, lease.job)
        _Held(self.leases, lease, stop or threading.Event(), self.options.drain_s).work(self)
        return True

    def run_until_idle(self) -> None:
        """Run steps until none can be taken; those that back off are not waited for."""
        while self.run_one():
            pass

    def close(self) -> None:
        """End the child process."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def child(self) -> Child:
        """Give the child process; a new one when there is none that can run a step."""
        if self._child is not None and not self._child.alive:
            self.close()
        if self._child is None:
            self._child = Child(self.options.import_paths)
        return self._child

    def retire_when_large(self, rss_bytes: int) -> None:
        """End a child that holds more memory than is allowed between steps."""
        if rss_bytes > self.options.max_child_bytes:
            _log.info("child of worker %s holds %d bytes: replaced", self.name, rss_bytes)
            self.close()

    def _wait_out(self, error: MainspringError, stop: threading.Event) -> None:
        if not error.retryable:
            raise error
        _log.warning("worker %s waits: %s", self.name, error)
        stop.wait(_OUTAGE_PAUSE_S)


class _Held:
    """One lease from the first to the last thing that is done under it."""

    def __init__(self, leases: Leases, lease: Lease, stop: threading.Event, drain_s: float) -> None:
        self.leases = leases
        self.lease = lease
        self.stop = stop
        self.drain_s = drain_s
        self.output = Output()
        self._saved = ""
        self._child: Child | None = None
        self._progress: Progressed | None = None
        self._stop_at: float | None = None
        self._until = self._beat_at = 0.0
        self._extended()

    def work(self, worker: Worker) -> None:
        """Run the step and record the outcome; when the lease is lost, the child is ended and nothing recorded."""
        try:
            told = self._run(worker)
            self._record_through_outages(told)
        except StaleLease as stale:
            _log.warning("%s", stale)
            worker.close()
        except _Stopped:
            worker.close()
            self._give_back()

    def _give_back(self) -> None:
        try:
            self.leases.release(self.lease, self._so_far())
        except MainspringError as error:  # Then the lease runs out by itself, or nobody wants the step any more.
            _log.warning("step %s could not be given back: %s", self.lease.step.name, error)

    def _run(self, worker: Worker) -> Succeeded | Failed:
        step, options = self.lease.step, worker.options
        order = RunStep(
            job=self.lease.job,
            pipeline=self.lease.pipeline,
            step=step.name,
            function=step.function,
            attempt=self.lease.attempt,
            actor=self.lease.actor,
            parameters=self.lease.parameters,
            inputs=self.lease.inputs,
            platform=options.platform,
            home=options.home,
            lease_s=_SURE_SHARE * self.leases.lease_s,
        )
        self._child = worker.child()
        told = self._child.run(order, self.output, self._tick, timeout_s=step.timeout_s, tick_s=_TICK_S)
        worker.retire_when_large(told.rss_bytes)
        return told

    def _tick(self, progress: Progressed | None) -> None:
        now = time.monotonic()
        self._progress = progress or self._progress
        if self.stop.is_set():
            self._stop_at = self._stop_at or now + self.drain_s
            if now >= self._stop_at:
                raise _Stopped
        if now >= self._beat_at:
            self._beat(now)

    def _beat(self, now: float) -> None:
        text, fraction = (self._progress.text, self._progress.fraction) if self._progress else (None, None)
        try:
            self.leases.extend(self.lease, progress=text, fraction=fraction)
            log = self._so_far()
            if log.text != self._saved:
                self.leases.save_log(log)
                self._saved = log.text
        except MainspringError as error:
            if not error.retryable or now >= self._until:
                raise StaleLease(f"lost the lease of step {self.lease.step.name}: {error}") from error
            self._beat_at = now + _OUTAGE_PAUSE_S
            return
        self._extended()

    def _extended(self) -> None:
        # What is counted here begins a little later than in the database; so it must be shorter.
        for_s = _SURE_SHARE * self.leases.lease_s
        now = time.monotonic()
        self._until = now + for_s
        self._beat_at = now + for_s / 3
        if self._child is not None:
            self._child.keep_on(for_s)

    def _record_through_outages(self, told: Succeeded | Failed) -> None:
        while True:
            try:
                return self._record(told)
            except MainspringError as error:
                if not error.retryable or time.monotonic() >= self._until:
                    raise
                _log.warning("step %s waits to be recorded: %s", self.lease.step.name, error)
                time.sleep(_OUTAGE_PAUSE_S)

    def _record(self, told: Succeeded | Failed) -> None:
        if isinstance(told, Succeeded):
            self.leases.finish(self.lease, msgspec.json.decode(told.result), self._so_far())
            return
        failure = Failure(error=told.error, traceback=told.traceback or None, permanent=told.permanent)
        self.leases.fail(self.lease, failure, msgspec.structs.replace(self._so_far(), traceback=failure.traceback))

    def _so_far(self) -> StepLog:
        return StepLog(self.lease.job, self.lease.step.name, self.lease.attempt, self.output.text())
