"""The verbs that make runs of others and correct histories: fork, clone, rewind; and one metric against another."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import msgspec

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import InvalidRequest
from mainspring.core.events import Event
from mainspring.core.ids import new_id
from mainspring.core.operations import operation
from mainspring.storage.sql.database import Database, Transaction
from mainspring.storage.sql.journal import emit
from mainspring.tracking import store as records
from mainspring.tracking.editing import store
from mainspring.tracking.editing.events import MetricPointsDeleted, RunCloned, RunForked
from mainspring.tracking.editing.joining import join
from mainspring.tracking.editing.model import Clone, Corrected, Joined
from mainspring.tracking.events import RunStarted
from mainspring.tracking.experiments.store import require_active
from mainspring.tracking.limits import check_batch, check_texts
from mainspring.tracking.model import MAX_HISTORY, Run, RunStatus, run_ref
from mainspring.tracking.organising.model import ARCHIVED, RUN_NAME, STARRED
from mainspring.tracking.paging import bounded

FORKED_FROM, FORKED_AT, CLONED_FROM = "mainspring.forked_from", "mainspring.forked_at", "mainspring.cloned_from"
COMMAND, SCRIPT = "mainspring.command", "mlflow.source.name"
_OWN_TAGS = (FORKED_FROM, FORKED_AT, CLONED_FROM, RUN_NAME, STARRED, ARCHIVED)
_STEPS = range(-(2**63), 2**63)


class RunEditor:
    """Makes runs of others, and corrects what runs have measured."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self.database = database
        self.clock = clock or SystemClock()

    @operation("POST /runs/{run}/fork")
    def fork_run(self, run: str, at_step: int, name: str | None = None, token: str | None = None) -> Run:
        """Start a run that has the history of another one up to a step, to go on from there in another way.

        It has its parameters, tags, inputs and code too; its artifacts stay where they are. Points are copied, so every
        client sees one whole history, and neither run changes with the other. Found as ``forked_from = 'RUN'``. A
        second call with the same *token* returns the first fork. Raises NotFound, and Conflict when the run is deleted.
        """
        _check_step(at_step)

        def work(connection: Transaction) -> Run:
            source = self._source(connection, run)
            named = name or f"{source.name} from {at_step}"
            fresh, known = self._begin(connection, source, named, "running", token)
            if known:
                return fresh
            store.copy_texts(connection, records.run_params, run, fresh.id)
            store.copy_texts(connection, records.run_tags, run, fresh.id, without=_OWN_TAGS)
            records.set_tags(connection, fresh.id, {FORKED_FROM: run, FORKED_AT: str(at_step)})
            store.copy_inputs(connection, run, fresh.id)
            store.copy_origin(connection, run, fresh.id)
            store.copy_points(connection, run, fresh.id, at_step)
            return self._told(connection, fresh, RunForked(run=fresh.ref, source=source.ref, at_step=at_step))

        return self.database.carry_out(work)

    @operation("POST /runs/{run}/clone")
    def clone_run(
        self, run: str, params: dict[str, str] | None = None, name: str | None = None, token: str | None = None
    ) -> Clone:
        """Make a run ready that does what another one did, with some parameters edited; nothing is executed yet.

        It waits (``scheduled``) with the code, environment, tags and inputs of the other one, without its metrics and
        artifacts. A second call with the same *token* returns the first clone. Raises NotFound, and Conflict when the
        run is deleted.
        """
        edited = params or {}
        check_batch([], edited, {})

        def work(connection: Transaction) -> Clone:
            source = self._source(connection, run)
            before = store.texts(connection, records.run_params, run)
            tags = store.texts(connection, records.run_tags, run)
            fresh, known = self._begin(connection, source, name or f"{source.name} again", "scheduled", token)
            wanted = before | edited
            clone = Clone(fresh, wanted, command_with(tags, before, edited))
            if known:
                return clone
            records.insert_params(connection, fresh.id, wanted)
            store.copy_texts(connection, records.run_tags, run, fresh.id, without=(*_OWN_TAGS, COMMAND))
            own = {CLONED_FROM: run}
            if clone.command is not None:
                own[COMMAND] = shlex.join(clone.command)
            records.set_tags(connection, fresh.id, own)
            store.copy_inputs(connection, run, fresh.id)
            store.copy_origin(connection, run, fresh.id)
            cloned = RunCloned(run=fresh.ref, source=source.ref, edited=sorted(edited))
            return msgspec.structs.replace(clone, run=self._told(connection, fresh, cloned))

        return self.database.carry_out(work)

    @operation("POST /runs/{run}/rewind")
    def rewind_run(self, run: str, step: int) -> Corrected:
        """Take a run back to a step: what every metric measured after it is removed, so that it can go on from there.

        For a training that restarts from a checkpoint. Again it changes nothing. Raises NotFound, and Conflict when the
        run is deleted.
        """
        return self._cut(run, None, step)

    @operation("POST /runs/{run}/points/delete")
    def delete_metric_points(self, run: str, key: str, after_step: int) -> Corrected:
        """Remove the points of one metric after a step; its latest point is then the last one left.

        A metric that has none left is gone. Again it changes nothing. Raises NotFound, and Conflict when the run is
        deleted.
        """
        return self._cut(run, key, after_step)

    @operation("GET /runs/{run}/joined")
    def join_metrics(
        self, run: str, key: str, x: str, limit: int = MAX_HISTORY, after_step: int | None = None
    ) -> Joined:
        """Read one metric against another one, such as ``loss`` against ``epoch``, at the steps that have both.

        *after_step* is the ``next_step`` of the page before. Raises NotFound for an unknown run.
        """
        wanted = bounded(limit, MAX_HISTORY)
        with self.database.read() as connection:
            records.require_run(connection, run)
            return join(connection, run, key, x, after_step, wanted)

    def _cut(self, run: str, key: str | None, after_step: int) -> Corrected:
        _check_step(after_step)

        def work(connection: Transaction) -> Corrected:
            records.lock_run(connection, run)
            cuts = store.cut_off(connection, run, key, after_step)
            removed = sum(cut.points for cut in cuts)
            if removed:
                told = MetricPointsDeleted(run=run_ref(run), key=key, after_step=after_step, points=removed)
                emit(connection, told)
            return Corrected(run, removed, len(cuts), [cut.key for cut in cuts if cut.emptied])

        return self.database.carry_out(work)

    def _source(self, connection: Transaction, run: str) -> Run:
        records.lock_run(connection, run)
        return records.require_run(connection, run)

    def _begin(
        self, connection: Transaction, source: Run, name: str, status: RunStatus, token: str | None
    ) -> tuple[Run, bool]:
        check_texts({"name": name}, "run")
        fresh = Run(
            new_id(), name, source.experiment, status, self.clock.now(), parent=source.parent, user=source.user,
            experiment_id=source.experiment_id, location=source.location,
        )  # fmt: skip
        known = records.existing_run(connection, fresh, token)
        if known is not None:
            return known, True
        require_active(records.require_experiment(connection, source.experiment))
        records.insert_run(connection, fresh, token)
        return fresh, False

    def _told(self, connection: Transaction, fresh: Run, event: Event) -> Run:
        parent = None if fresh.parent is None else run_ref(fresh.parent)
        emit(connection, RunStarted(run=fresh.ref, experiment=fresh.experiment, parent=parent))
        emit(connection, event)
        return records.require_run(connection, fresh.id)


def command_with(tags: Mapping[str, str], before: Mapping[str, str], edited: Mapping[str, str]) -> list[str] | None:
    """Give the command line of a run with edited parameters, where ``--KEY VALUE`` or ``KEY=VALUE`` has the old ones.

    What the command did not name is added as ``--KEY VALUE``. None when no command, and no script, was recorded.
    """
    words = _recorded(tags)
    if words is None:
        return None
    for key, value in edited.items():
        words = _with(words, key, before.get(key), value)
    return words


def _recorded(tags: Mapping[str, str]) -> list[str] | None:
    if COMMAND in tags:
        try:
            return shlex.split(tags[COMMAND])
        except ValueError:  # A quote that was cut off with what stood behind it.
            return None
    script = tags.get(SCRIPT, "")
    return ["python", script] if script.endswith(".py") else None


def _with(words: list[str], key: str, old: str | None, new: str) -> list[str]:
    flags = {f"--{key}", f"--{key.replace('_', '-')}", f"-{key}" if len(key) == 1 else f"--{key}"}
    for at, word in enumerate(words):
        name, equals, _ = word.partition("=")
        if equals and (name in flags or name == key):
            return [*words[:at], f"{name}={new}", *words[at + 1 :]]
        if word in flags and at + 1 < len(words) and (old is None or words[at + 1] == old):
            return [*words[: at + 1], new, *words[at + 2 :]]
    return [*words, f"--{key.replace('_', '-')}", new]


def _check_step(step: Any) -> None:
    if step not in _STEPS:
        raise InvalidRequest(f"the step {step} does not fit in 64 bits", step=step)
