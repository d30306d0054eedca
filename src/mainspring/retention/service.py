"""The verbs of retention: remove for good what was deleted long enough ago, and the objects that nothing refers to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import Conflict, InvalidRequest, NotFound
from mainspring.core.events import Event
from mainspring.core.operations import operation
from mainspring.core.units import parse_duration
from mainspring.retention.events import ExperimentCollected, LoggedModelsCollected, RunsCollected
from mainspring.retention.model import Garbage, Wanted
from mainspring.retention.objects.sweeping import discard, unreferred
from mainspring.retention.records import store
from mainspring.storage.objects.store import ObjectStore
from mainspring.storage.sql.database import Database, Transaction
from mainspring.storage.sql.journal import emit

DEFAULT_AGE = "30d"
_CONDEMNED_AT_ONCE = 200
_OWNERS_AT_ONCE = 50
_ROWS_AT_ONCE = 2_000
_MAX_NAMED = 1_000
_MIN_PAUSE_S, _MAX_PAUSE_S = 0.002, 0.05


class GarbageCollector:
    """Removes what was deleted: records from *database* in small transactions, then bytes from *objects*."""

    def __init__(self, database: Database, objects: ObjectStore, clock: Clock | None = None) -> None:
        self.database = database
        self.objects = objects
        self.clock = clock or SystemClock()
        self._turn = threading.Lock()

    @operation("POST /garbage/collect")
    def collect_garbage(
        self,
        older_than: str | None = None,
        experiments: list[str] | None = None,
        runs: list[str] | None = None,
        dry_run: bool = False,
        object_age: str = "1d",
        budget_s: float = 20.0,
    ) -> Garbage:
        """Remove for good what was deleted longer than *older_than* ago: all, or the *experiments* and *runs* named.

        An experiment goes with its runs, traces and logged models; its name is free at once. *older_than* is ``30d`` by
        default, and nothing for what is named; empty lists name nothing, which finishes what was begun. Then objects go
        that nothing refers to and nobody stored within *object_age*, and the space of the database is given back. A
        call ends after some *budget_s*: call until it is ``finished``. It may be broken off at any moment. *dry_run*
        only counts. Raises NotFound, and Conflict for what is in use or while another collection works.
        """
        wanted = self._wanted(older_than, experiments, runs)
        before = self.clock.now() - parse_duration(object_age)
        if dry_run:
            return self._counted(wanted, before)
        if not self._turn.acquire(blocking=False):
            raise Conflict("another collection works at this moment: wait for it to end")
        try:
            return self._within(budget_s, [lambda: self._remove_records(wanted), lambda: self._remove_bytes(before)])
        finally:
            self._turn.release()

    def _wanted(self, older_than: str | None, names: Sequence[str] | None, ids: Sequence[str] | None) -> Wanted:
        for what, given in (("experiments", names), ("runs", ids)):
            if given is not None and len(given) > _MAX_NAMED:
                raise InvalidRequest(f"{len(given)} {what} were named: name up to {_MAX_NAMED} at once")
        named = names is not None or ids is not None
        before = self.clock.now() - parse_duration(older_than or ("0s" if named else DEFAULT_AGE))
        with self.database.read() as connection:
            found = store.ids_of_experiments(connection, names or [])
            wanted = [found.get(name, name) for name in names or []]
            for kind, given in (("experiments", wanted), ("runs", ids or [])):
                missing, in_use = store.unfit(connection, kind, given)
                if missing:
                    raise NotFound(f"of the {kind} named, {', '.join(missing[:5])} is not there", missing=missing)
                if in_use:
                    raise Conflict(
                        f"of the {kind} named, {', '.join(in_use[:5])} is in use: delete it first, and it can be "
                        "restored until it is removed for good",
                        in_use=in_use,
                    )
        return Wanted(before, wanted if names is not None else None, ids)

    def _counted(self, wanted: Wanted, before: datetime) -> Garbage:
        with self.database.read() as connection:
            counts = store.counts(connection, wanted)
        unused = unreferred(self.database, self.objects, before, without=wanted)
        counts |= {"objects": len(unused), "object_bytes": sum(found.size for found in unused)}
        return Garbage.counting(counts, dry_run=True)

    def _within(self, budget_s: float, parts: Sequence[Callable[[], Iterator[Garbage]]]) -> Garbage:
        total, spent_s = Garbage(dry_run=False), 0.0
        for part in parts:
            steps = part()  # What it does before its first step has to be done whole, so it is not counted.
            while True:
                started = time.monotonic()
                step = next(steps, None)
                if step is None:
                    break
                total += step
                # Others write too: as long as this held the writer, it leaves it to them.
                time.sleep(min(time.monotonic() - started, _MAX_PAUSE_S))
                spent_s += time.monotonic() - started
                if spent_s > budget_s:
                    return total + Garbage(dry_run=False, finished=False)
        return total

    def _remove_records(self, wanted: Wanted) -> Iterator[Garbage]:
        self._condemn(wanted)
        return self._remove_condemned()

    def _condemn(self, wanted: Wanted) -> None:
        def some_experiments(connection: Transaction) -> list[Event]:
            found = store.condemn_experiments(connection, wanted, _CONDEMNED_AT_ONCE)
            return [ExperimentCollected(experiment=name, id=id) for name, id in found]

        def some_runs(connection: Transaction) -> list[Event]:
            found = store.condemn_runs(connection, wanted, _CONDEMNED_AT_ONCE)
            return [RunsCollected(runs=found)] if found else []

        def some_models(connection: Transaction) -> list[Event]:
            found = store.condemn_models(connection, wanted, _CONDEMNED_AT_ONCE)
            return [LoggedModelsCollected(models=found)] if found else []

        def told(some: Callable[[Transaction], list[Event]], connection: Transaction) -> bool:
            events = some(connection)
            for event in events:
                emit(connection, event)
            return bool(events)

        for some in (some_experiments, some_runs, some_models):
            while self.database.carry_out(partial(told, some)):
                time.sleep(_MIN_PAUSE_S)

    def _remove_condemned(self) -> Iterator[Garbage]:
        removed: set[str] = set()
        for kind in store.OWNERS:
            while ids := self._next(kind):
                for rows in store.owned_by(kind, ids):
                    count = _ROWS_AT_ONCE
                    while count == _ROWS_AT_ONCE:
                        count = self.database.carry_out(partial(store.remove_rows, rows=rows, limit=_ROWS_AT_ONCE))
                        if count:  # Each step goes on, so that each call does.
                            removed.add(rows.table.name)
                            yield Garbage.counting({rows.counted_as: count})
                removed.add(kind)
                gone = self.database.carry_out(partial(store.remove_owners, kind=kind, ids=ids))
                yield Garbage.counting({kind: gone})
        if given := self.database.give_back(sorted(removed)):
            yield Garbage.counting({"database_bytes": given})

    def _next(self, kind: str) -> list[str]:
        with self.database.read() as connection:
            return store.condemned(connection, kind, _OWNERS_AT_ONCE)

    def _remove_bytes(self, before: datetime) -> Iterator[Garbage]:
        unused = unreferred(self.database, self.objects, before)
        gone = discard(self.database, self.objects, unused, before)
        return (Garbage.counting({"objects": count, "object_bytes": size}) for count, size in gone)
