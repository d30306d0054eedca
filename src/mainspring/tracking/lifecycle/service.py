"""The verbs of runs as their clients drive them: any change at any time, deletion, and what was read and made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from mainspring.core.clock import Clock
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.ids import new_id
from mainspring.core.refs import ref
from mainspring.storage.sql.database import Database, Transaction, Work
from mainspring.storage.sql.journal import emit
from mainspring.tracking import store
from mainspring.tracking.events import (
    RunDeleted,
    RunFinished,
    RunMadeModel,
    RunReadDataset,
    RunRestored,
    RunResumed,
    RunStarted,
)
from mainspring.tracking.experiments import store as experiment_store
from mainspring.tracking.inputs import store as input_store
from mainspring.tracking.lifecycle import store as lifecycle_store
from mainspring.tracking.limits import check_texts
from mainspring.tracking.model import (
    ForeignDataset,
    Lifecycle,
    ModelLink,
    Run,
    RunDetails,
    RunStatus,
    run_ref,
)
from mainspring.tracking.paging import bounded
from mainspring.tracking.search import store as search_store
from mainspring.tracking.search.filters import Filter, Order
from mainspring.tracking.search.rows import RunRows, read_rows, read_run

MAX_PAGE = 50_000
MAX_LIST_CHARS = 1_000_000
_ENDS: tuple[RunStatus, ...] = ("finished", "failed", "killed")


class RunLifecycle:
    """Runs of experiments that are named by their ids."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def beginning(
        self,
        experiment: str,
        *,
        name: str,
        started: datetime | None = None,
        user: str | None = None,
        parent: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Work[RunDetails]:
        """Plan to start a run in the experiment with this id; a *parent* that is no run is left out.

        Raises InvalidRequest; the work raises NotFound, and Conflict when the experiment is deleted.
        """
        kept = dict(tags or {})
        check_texts(kept, "tag")
        check_texts({"name": name}, "run")
        now, run = self._clock.now(), new_id()

        def work(connection: Transaction) -> RunDetails:
            owner = experiment_store.find_owner(connection, experiment)
            if owner is None:
                raise NotFound(f"No Experiment with id={experiment} exists", experiment=experiment)
            experiment_store.require_active(owner)
            above = parent if parent is not None and lifecycle_store.run_exists(connection, parent) else None
            fresh = Run(
                run, name, owner.name, "running", started or now, parent=above, user=user,
                experiment_id=owner.id, location=owner.location,
            )  # fmt: skip
            store.insert_run(connection, fresh, None)
            store.set_tags(connection, fresh.id, kept)
            above_ref = None if above is None else run_ref(above)
            emit(connection, RunStarted(run=fresh.ref, experiment=owner.name, parent=above_ref))
            return RunDetails(fresh, tags=kept)

        return work

    def changing(
        self,
        run: str,
        *,
        name: str | None = None,
        status: RunStatus | None = None,
        ended: datetime | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Work[Run]:
        """Plan to change what is given.

        Raises InvalidRequest; the work raises NotFound, and Conflict when the run is deleted.
        """
        check_texts({"name": name or ""}, "run")
        check_texts(tags or {}, "tag")

        def work(connection: Transaction) -> Run:
            store.lock_run(connection, run)
            found = store.require_run(connection, run)
            lifecycle_store.change(connection, run, name=name, status=status, ended=ended)
            store.set_tags(connection, run, tags or {})
            if status is not None and status != found.status:
                if status in _ENDS:
                    emit(connection, RunFinished(run=found.ref, status=status))
                elif found.status in _ENDS:
                    emit(connection, RunResumed(run=found.ref))
            return store.require_run(connection, run)

        return work

    def delete(self, run: str) -> None:
        """Delete a run so that it can be restored; one that is deleted stays so. Raises NotFound."""
        self._set_deleted(run, deleted=True)

    def restore(self, run: str) -> None:
        """Restore a deleted run; one that is in use stays so. Raises NotFound."""
        self._set_deleted(run, deleted=False)

    def _set_deleted(self, run: str, *, deleted: bool) -> None:
        with self._database.begin() as connection:
            found = store.require_run(connection, run)
            if lifecycle_store.set_deleted(connection, run, self._clock.now() if deleted else None):
                emit(connection, RunDeleted(run=found.ref) if deleted else RunRestored(run=found.ref))

    def search(
        self,
        experiments: Sequence[str],
        where: Filter,
        order: Sequence[Order] = (),
        lifecycle: Lifecycle = "active",
        limit: int = 1_000,
        page: str | None = None,
    ) -> tuple[RunRows, str | None]:
        """Find runs of the experiments with these ids, newest first unless *order* says otherwise.

        Gives them as rows, and the token of the next page. Raises InvalidRequest for a page of another search.
        """
        within = search_store.of_experiments(experiments)
        with self._database.read() as connection:
            found, next_page = search_store.find_runs(
                connection, within, where, order, lifecycle=lifecycle, limit=bounded(limit, MAX_PAGE), page=page
            )
            return read_rows(connection, found), next_page

    def rows(self, run: str) -> RunRows:
        """Read a run, deleted or not, as rows. Raises NotFound."""
        with self._database.read() as connection:
            return read_run(connection, run)

    def log_inputs(self, run: str, datasets: Sequence[ForeignDataset], models: Sequence[str] = ()) -> None:
        """Note which datasets of elsewhere and which models a run reads; those that it has already stay as they are.

        Raises NotFound, and Conflict when the run is deleted.
        """
        with store.writing(self._database, run) as connection:
            found = store.require_run(connection, run)
            new = input_store.insert_inputs(connection, run, found.experiment_id, datasets)
            input_store.insert_models(connection, run, [ModelLink(model) for model in models], made=False)
            for dataset in new:
                read = dataset.ref or ref("foreign_dataset", f"{dataset.name}@{dataset.digest}")
                emit(connection, RunReadDataset(run=found.ref, dataset=read, context=dataset.context or ""))

    def log_outputs(self, run: str, models: Sequence[ModelLink]) -> None:
        """Note which models a run made. Raises NotFound, and Conflict when the run is deleted."""
        with store.writing(self._database, run) as connection:
            input_store.insert_models(connection, run, models, made=True)
            for link in models:
                emit(connection, RunMadeModel(run=run_ref(run), model=ref("logged_model", link.model)))

    def extend_tag(self, run: str, key: str, item: Mapping[str, Any]) -> None:
        """Add to a tag that holds a JSON list, which may grow beyond what a tag may have otherwise.

        Raises NotFound, Conflict when the run is deleted, and InvalidRequest for a tag that holds something else.
        """
        with store.writing(self._database, run) as connection:
            known = store.texts_of(connection, store.run_tags, [run])[run].get(key)
            try:
                listed = msgspec.json.decode(known, type=list[dict[str, Any]]) if known else []
            except msgspec.MsgspecError:
                raise InvalidRequest(f"the tag {key!r} of run {run} holds no list", run=run, key=key) from None
            text = msgspec.json.encode([*listed, item]).decode()
            check_texts({key: text}, "tag", MAX_LIST_CHARS)
            store.set_tags(connection, run, {key: text})

    def datasets(self, experiments: Sequence[str]) -> list[tuple[str, str, str, str | None]]:
        """List up to 1,000 datasets of elsewhere that runs of these experiments read.

        Each is the id of the experiment, a name, a digest and what it was read for.
        """
        with self._database.read() as connection:
            return input_store.summaries(connection, experiments)
