"""The hot path of a prediction: route, check, batch, run, log, answer; no coroutine and no task per request."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate, pairwise
from time import perf_counter_ns, time_ns
from typing import Any, Literal

from mainspring.core.errors import InvalidRequest, MainspringError, NotFound, Unavailable
from mainspring.core.ids import new_id
from mainspring.predictions.model import PredictionBatch, PredictionItem, encode_fact
from mainspring.runtime.batching import Batcher
from mainspring.runtime.http.request import Request
from mainspring.serving.engine.checking import Rows
from mainspring.serving.engine.log import PredictionLog
from mainspring.serving.engine.meters import LATENCY_BUCKETS_US, Meter
from mainspring.serving.engine.routing import Split
from mainspring.serving.engine.session import Session
from mainspring.serving.features import FeatureReader
from mainspring.serving.model import Arm, EndpointState, FeatureBinding

MAX_BATCH_ROWS = 256
MAX_WAITING_ROWS = 16_384


UNIT_HEADERS = (b"x-mainspring-unit", b"x-user")


def unit_of(request: Request) -> str | None:
    """Tell who the request is for, as its header says: the unit that stays with one arm of a canary."""
    found = request.header(UNIT_HEADERS[0]) or request.header(UNIT_HEADERS[1])
    return found.decode("utf-8", "replace") if found else None


class Gate:
    """How many rows may wait for a model in this worker; beyond that requests are refused before they are read."""

    __slots__ = ("limit", "waiting")

    def __init__(self, limit: int = MAX_WAITING_ROWS) -> None:
        self.limit, self.waiting = limit, 0


class Ask:
    """One request to predict: made by a protocol, which says how it is answered by ``answered`` and ``failed``.

    ``started`` is ``perf_counter_ns`` of the arrival. ``outputs`` is set when it is answered: a list for each output of
    the arm, with an entry for each row.
    """

    __slots__ = ("arm", "event_us", "id", "outputs", "rows", "started", "unit")

    arm: LoadedArm
    rows: Rows
    outputs: Sequence[list[Any]]

    def __init__(self, unit: str | None, event_us: int | None, started: int) -> None:
        self.id = new_id()
        self.unit = unit
        self.event_us = event_us
        self.started = started

    def answered(self) -> None:
        """Send the answer; ``outputs`` is set."""
        raise AssertionError("a protocol says how its request is answered")

    def failed(self, error: MainspringError) -> None:
        """Send the refusal."""
        raise AssertionError("a protocol says how its request is refused")

    def done(self, result: object) -> None:
        """Take the result of the model run: anything but an exception is an answer."""
        self.arm.gate.waiting -= self.rows.rows
        if not isinstance(result, BaseException):
            try:
                self.answered()
            except (TypeError, ValueError, LookupError) as unwritable:
                # The others of the batch still wait for their answers.
                self.failed(MainspringError(f"the model's answer cannot be written: {unwritable}"))
            return
        error = result if isinstance(result, MainspringError) else MainspringError(f"the model failed: {result}")
        self.arm.refuse(self, error)


class Opened:
    """A session and the number of those who use it; the last one to let go closes it."""

    def __init__(self, session: Session, close: Callable[[Session], None]) -> None:
        self.session, self._close, self._users = session, close, 0

    def hold(self) -> None:
        """Keep the session open."""
        self._users += 1

    def release(self) -> None:
        """Let the session go."""
        self._users -= 1
        if self._users == 0:
            self._close(self.session)


class LoadedArm:
    """One arm of an endpoint, with its model open."""

    def __init__(
        self,
        endpoint: str,
        name: Literal["stable", "canary"],
        state: Arm,
        *,
        opened: Opened,
        log: PredictionLog,
        meter: Meter,
        gate: Gate,
    ) -> None:
        self.endpoint, self.name, self.state, self.opened, self.meter = endpoint, name, state, opened, meter
        self.gate = gate
        self.session = opened.session
        self.layout, self.outputs = self.session.layout, self.session.outputs
        self.version = state.version
        self.wire: Any = None
        self._log = log
        self._output_names = [output.name for output in self.outputs]
        loop = asyncio.get_running_loop()
        self._lane = self._inline_lane(loop) if self.session.inline else ThreadLane(self.run, opened, loop)

    def _inline_lane(self, loop: asyncio.AbstractEventLoop) -> Batcher[Ask, Ask]:
        return Batcher(self.run, loop=loop, max_batch_rows=MAX_BATCH_ROWS, max_waiting=2 * self.gate.limit)

    def submit(self, ask: Ask, rows: Rows) -> None:
        """Queue a checked request for the next model run; raises OverLimit when too many wait."""
        ask.rows = rows
        self._lane.submit(ask, rows.rows, ask.done)
        self.gate.waiting += rows.rows

    def run(self, asks: list[Ask]) -> list[Ask]:
        """Run the model over the rows of all, and log them; nothing is answered here."""
        first = asks[0].rows.shape
        if first is not None and len(asks) > 1:
            # Rows of a graph with free or fixed sizes cannot be put under one another: each gets a run of its own.
            return [self.run([ask])[0] for ask in asks]
        outputs = self.session.run([ask.rows for ask in asks])
        self._record(asks, outputs)
        return asks

    def _record(self, asks: list[Ask], outputs: list[list[Any]]) -> None:
        now, at_us = perf_counter_ns(), time_ns() // 1000
        rows = sum([ask.rows.rows for ask in asks])
        for described, output in zip(self.outputs, outputs, strict=True):
            if type(output) is not list or len(output) != rows:
                raise MainspringError(
                    f"the model's output {described.name!r} has not one entry for each of the {rows} rows; "
                    "export the model with the rows as the first dimension of every output"
                )
        items, latencies, total_us = [], self.meter.latencies, 0
        for ask, own in zip(asks, _shares(asks, rows, outputs), strict=True):
            ask.outputs = own
            values = ask.rows.values
            latency_us = (now - ask.started) // 1000
            total_us += latency_us
            latencies[bisect_left(LATENCY_BUCKETS_US, latency_us)] += 1
            if type(values) is not list:
                values = values.tolist()
            items.append(
                PredictionItem(ask.id, at_us, ask.unit, ask.event_us, latency_us, 200, ask.rows.rows, values, list(own))
            )
        self._append(items)
        self.meter.answered(len(asks), rows, total_us)

    def _append(self, items: list[PredictionItem]) -> None:
        state = self.state
        batch = PredictionBatch(
            self.endpoint, state.model, state.release, self.name, self.layout.logged_names, self._output_names, items
        )
        self._log.append([encode_fact(batch)])

    def refuse(self, ask: Ask, error: MainspringError) -> None:
        """Log that this arm gave no prediction, and answer with the error."""
        self.meter.failed(error.status)
        latency_us = (perf_counter_ns() - ask.started) // 1000
        item = PredictionItem(
            ask.id, time_ns() // 1000, ask.unit, ask.event_us, latency_us, error.status, 1, [], [], str(error)[:500]
        )
        try:
            self._append([item])
        except Unavailable as unlogged:
            error = unlogged
        ask.failed(error)


def _shares(asks: list[Ask], rows: int, outputs: list[list[Any]]) -> Iterable[Sequence[list[Any]]]:
    """Give each request its own rows of every output."""
    if rows == len(asks):
        return zip(*[[[row] for row in output] for output in outputs], strict=True)
    ends = list(accumulate([ask.rows.rows for ask in asks], initial=0))
    return [[output[start:end] for output in outputs] for start, end in pairwise(ends)]


class ThreadLane:
    """Runs the batches of one arm on a thread, one at a time; what arrives meanwhile makes the next batch."""

    def __init__(self, run: Callable[[list[Ask]], list[Ask]], opened: Opened, loop: asyncio.AbstractEventLoop) -> None:
        self._run, self._opened, self._loop = run, opened, loop
        self._waiting: deque[Ask] = deque()
        self._running = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    def submit(self, ask: Ask, rows: int, done: object) -> None:
        """Queue one request; the gate has seen to it that not too many wait."""
        self._opened.hold()
        self._waiting.append(ask)
        self._next()

    def _next(self) -> None:
        if self._running or not self._waiting:
            return
        batch = [self._waiting.popleft()]
        rows = batch[0].rows.rows
        while self._waiting and rows + self._waiting[0].rows.rows <= MAX_BATCH_ROWS:
            batch.append(self._waiting.popleft())
            rows += batch[-1].rows.rows
        self._start(batch)

    def _start(self, batch: list[Ask]) -> None:
        self._running += 1
        self._thread.submit(self._run, batch).add_done_callback(
            lambda ran: self._loop.call_soon_threadsafe(self._finished, batch, ran)
        )

    def _finished(self, batch: list[Ask], ran: Future[list[Ask]]) -> None:
        self._running -= 1
        failed = ran.exception()
        if failed is not None and len(batch) > 1:
            # One bad item must not fail the others: each is tried by itself.
            for ask in batch:
                self._start([ask])
            return
        for ask in batch:
            self._opened.release()
            ask.done(failed or ask)
        self._next()


class Endpoint:
    """An endpoint as this worker serves it."""

    def __init__(
        self, state: EndpointState, stable: LoadedArm, canary: LoadedArm | None, features: FeatureReader
    ) -> None:
        self.name, self.stable, self.canary = state.name, stable, canary
        self.binding: FeatureBinding | None = state.features
        self._features = features
        self.common = stable.layout.matrix and state.features is None
        self._split = Split(state.salt, state.canary_share)

    @property
    def arms(self) -> list[LoadedArm]:
        """The arms that are loaded."""
        return [self.stable] if self.canary is None else [self.stable, self.canary]

    def route(self, unit: bytes) -> LoadedArm:
        """Give the arm that answers this unit."""
        canary = self.canary
        return canary if canary is not None and self._split.canary(unit) else self.stable

    def pinned(self, version: str) -> LoadedArm:
        """Give the arm of a model version; raises NotFound naming those that are loaded."""
        for arm in self.arms:
            if arm.version == version:
                return arm
        loaded = ", ".join(arm.version for arm in self.arms)
        raise NotFound(f"endpoint {self.name!r} serves no version {version!r}; loaded: {loaded}", endpoint=self.name)

    def filled(
        self, columns: dict[str, list[Any]], needed: Sequence[str], at_us: int | None = None
    ) -> dict[str, list[Any]]:
        """Add the columns that the pinned feature view knows and the request left out, read by the key column.

        Only those that the arm needs: the other arm may take more. *at_us* is the time of the event, when the request
        tells it.
        """
        binding = self.binding
        if binding is None:
            return columns
        missing = [name for name in binding.columns if name in needed and name not in columns]
        if missing and binding.key not in columns:
            raise InvalidRequest(
                f"columns {', '.join(missing)} come from {binding.view}, which is read by the column {binding.key!r}: "
                "send it, or send the columns themselves"
            )
        if missing:
            found = self._features.read(binding.view, columns[binding.key], at_us)
            columns |= {name: [None if row is None else row.get(name) for row in found] for name in missing}
        if binding.key in columns and binding.key not in needed:
            columns = {name: values for name, values in columns.items() if name != binding.key}
        return columns
