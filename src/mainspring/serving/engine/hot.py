"""The hot path of a prediction: route, check, batch, run, log, answer; no coroutine and no task per request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate, pairwise
from time import perf_counter_ns, time_ns
from typing import Any, Literal, Protocol

from mainspring.core.errors import InvalidRequest, MainspringError, NotFound
from mainspring.core.ids import new_id
from mainspring.predictions.model import PredictionBatch, PredictionItem, encode_fact
from mainspring.runtime.batching import Batcher
from mainspring.runtime.http.request import Request
from mainspring.serving.engine.checking import Rows
from mainspring.serving.engine.failures import FailureLog
from mainspring.serving.engine.log import PredictionLog
from mainspring.serving.engine.meters import Meter
from mainspring.serving.engine.routing import Split
from mainspring.serving.engine.session import Session
from mainspring.serving.features import FeatureReader
from mainspring.serving.model import Arm, EndpointState, FeatureBinding

MAX_BATCH_ROWS = 256
MAX_WAITING_ROWS = 16_384

Outputs = Sequence[list[Any]]
"""What a request is answered: a list for each output of the model, with an entry for each row."""

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

    __slots__ = ("arm", "event_us", "id", "outputs", "request", "rows", "started", "unit")

    arm: LoadedArm
    rows: Rows
    outputs: Outputs

    def __init__(self, request: Request, unit: str | None, event_us: int | None, started: int) -> None:
        self.id = new_id()
        self.request = request
        self.unit = unit
        self.event_us = event_us
        self.started = started

    def answered(self) -> None:
        """Send the answer; ``outputs`` is set."""
        raise AssertionError("a protocol says how its request is answered")

    def failed(self, error: MainspringError) -> None:
        """Send the refusal."""
        raise AssertionError("a protocol says how its request is refused")


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
        self._failures = FailureLog(endpoint, name, state.release)
        self._output_names = [output.name for output in self.outputs]
        loop = asyncio.get_running_loop()
        self._lane = self._inline_lane(loop) if self.session.inline else ThreadLane(self, opened, loop)

    def _inline_lane(self, loop: asyncio.AbstractEventLoop) -> Batcher[Ask, Outputs]:
        most, turn = 2 * self.gate.limit, self._log.turn
        return Batcher(
            self.run, self.ran, self.failed, loop=loop, turn=turn, max_batch_rows=MAX_BATCH_ROWS, max_waiting=most
        )

    def submit(self, ask: Ask, rows: Rows) -> None:
        """Queue a checked request for the next model run; raises OverLimit when too many wait."""
        ask.rows = rows
        self._lane.submit(ask, rows.rows)
        self.gate.waiting += rows.rows

    def run(self, asks: list[Ask]) -> list[Outputs]:
        """Run the model over the rows of all; gives the outputs of each. May be called on a thread."""
        if len(asks) > 1 and asks[0].rows.shape is not None:
            # Rows of a graph with free or fixed sizes cannot be put under one another: each gets a run of its own.
            return [self.run([ask])[0] for ask in asks]
        outputs = self.session.run([ask.rows for ask in asks])
        rows = sum([ask.rows.rows for ask in asks])
        for described, output in zip(self.outputs, outputs, strict=True):
            if type(output) is not list or len(output) != rows:
                raise MainspringError(
                    f"the model's output {described.name!r} has not one entry for each of the {rows} rows; "
                    "export the model with the rows as the first dimension of every output"
                )
        return _shares(asks, rows, outputs)

    def ran(self, asks: list[Ask], results: list[Outputs]) -> None:
        """Log what the model gave, and answer once it is in the log."""
        now, at_us = perf_counter_ns(), time_ns() // 1000
        items, latencies = [], []
        for ask, outputs in zip(asks, results, strict=True):
            ask.outputs = outputs
            latency_us = (now - ask.started) // 1000
            latencies.append(latency_us)
            taken = ask.rows
            values = taken.values if type(taken.values) is list else taken.values.tolist()
            items.append(
                PredictionItem(ask.id, at_us, ask.unit, ask.event_us, latency_us, 200, taken.rows, values, outputs)
            )
        try:
            fact = self._fact(items)
        except (TypeError, ValueError, OverflowError) as unwritable:
            self._refuse_unwritable(asks, results, unwritable)
            return

        def logged(failed: MainspringError | None) -> None:
            if failed is None:
                self._answer(asks, latencies)
            else:
                for ask in asks:
                    self.gate.waiting -= ask.rows.rows
                    self._refused(ask, failed)

        self._log.append_soon(fact, logged)

    def failed(self, ask: Ask, error: Exception) -> None:
        """Take note that the model failed on this request."""
        self.gate.waiting -= ask.rows.rows
        self.refuse(ask, error if isinstance(error, MainspringError) else MainspringError(f"the model failed: {error}"))

    def refuse(self, ask: Ask, error: MainspringError) -> None:
        """Log that this arm gave no prediction, and answer with the error."""
        latency_us = (perf_counter_ns() - ask.started) // 1000
        told = str(error)[:500]
        item = PredictionItem(
            ask.id, time_ns() // 1000, ask.unit, ask.event_us, latency_us, error.status, 1, [], [], told
        )
        self._log.append_soon(self._fact([item]), lambda unlogged: self._refused(ask, unlogged or error))

    def _answer(self, asks: list[Ask], latencies: list[int]) -> None:
        rows = 0
        for ask in asks:
            rows += ask.rows.rows
            try:
                ask.answered()
            except (TypeError, ValueError, LookupError) as unwritable:
                # The others of the batch still wait for their answers.
                ask.failed(MainspringError(f"the model's answer cannot be written: {unwritable}"))
        self.gate.waiting -= rows
        self.meter.answered(latencies, rows)

    def _refused(self, ask: Ask, error: MainspringError) -> None:
        self.meter.failed(error.status)
        if error.status >= 500:
            self._failures.tell(ask.request, ask.id, error)
        ask.failed(error)

    def _refuse_unwritable(self, asks: list[Ask], results: list[Outputs], error: Exception) -> None:
        if len(asks) == 1:
            self.failed(asks[0], MainspringError(f"the model's answer cannot be written: {error}"))
            return
        for ask, outputs in zip(asks, results, strict=True):
            self.ran([ask], [outputs])

    def _fact(self, items: list[PredictionItem]) -> bytes:
        state = self.state
        return encode_fact(
            PredictionBatch(
                self.endpoint,
                state.model,
                state.release,
                self.name,
                self.layout.logged_names,
                self._output_names,
                items,
            )
        )


def _shares(asks: list[Ask], rows: int, outputs: list[list[Any]]) -> list[Outputs]:
    """Give each request its own rows of every output."""
    if rows == len(asks):
        return list(zip(*[[[row] for row in output] for output in outputs], strict=True))
    ends = list(accumulate([ask.rows.rows for ask in asks], initial=0))
    return [[output[start:end] for output in outputs] for start, end in pairwise(ends)]


class Runs(Protocol):
    """What a lane works for: an arm, or whatever else runs requests and is told how they ended."""

    def run(self, asks: list[Ask]) -> list[Outputs]:
        """Run the model over all; gives the outputs of each."""
        ...

    def ran(self, asks: list[Ask], results: list[Outputs]) -> None:
        """Take the outputs of a run."""
        ...

    def failed(self, ask: Ask, error: Exception) -> None:
        """Take what went wrong with one."""
        ...


class ThreadLane:
    """Runs the batches of one arm on a thread, one at a time; what arrives meanwhile makes the next batch."""

    def __init__(self, arm: Runs, opened: Opened, loop: asyncio.AbstractEventLoop) -> None:
        self._arm, self._opened, self._loop = arm, opened, loop
        self._waiting: deque[Ask] = deque()
        self._running = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    def submit(self, ask: Ask, rows: int) -> None:
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
        self._thread.submit(self._arm.run, batch).add_done_callback(
            lambda ran: self._loop.call_soon_threadsafe(self._finished, batch, ran)
        )

    def _finished(self, batch: list[Ask], ran: Future[list[Outputs]]) -> None:
        self._running -= 1
        failed = ran.exception()
        if failed is not None and len(batch) > 1:
            # One bad item must not fail the others: each is tried by itself.
            for ask in batch:
                self._start([ask])
            return
        for _ in batch:
            self._opened.release()
        if failed is None:
            self._arm.ran(batch, ran.result())
        else:
            self._arm.failed(batch[0], failed if isinstance(failed, Exception) else RuntimeError(repr(failed)))
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
