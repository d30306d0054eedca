"""The verbs that keep runs in order: names, groups, notes, stars, archive, deletion."""

from __future__ import annotations

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import Conflict, InvalidRequest
from mainspring.core.operations import operation
from mainspring.storage.sql.database import Database
from mainspring.tracking import store as records
from mainspring.tracking.lifecycle.service import RunLifecycle
from mainspring.tracking.limits import check_texts
from mainspring.tracking.model import MAX_TAG_CHARS, Run
from mainspring.tracking.organising import store
from mainspring.tracking.organising.model import ARCHIVED, GROUP, NOTE, RUN_NAME, STARRED, RunGroup


class RunOrganiser:
    """Renames, groups, marks, deletes and restores runs."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self.database = database
        self.clock = clock or SystemClock()
        self._lifecycle = RunLifecycle(database, self.clock)

    @operation("POST /runs/{run}/rename")
    def rename_run(self, run: str, name: str) -> Run:
        """Give a run another name; names need not be unique. Raises NotFound, and Conflict when it is deleted."""
        if not name.strip():
            raise InvalidRequest("a run needs a name of at least one character", run=run)
        return self.database.carry_out(self._lifecycle.changing(run, name=name, tags={RUN_NAME: name}))

    @operation("DELETE /runs/{run}")
    def delete_run(self, run: str) -> Run:
        """Delete a run so that it can be restored until it is collected as garbage.

        One that is deleted stays so. Raises NotFound.
        """
        self._lifecycle.delete(run)
        return self._get(run)

    @operation("POST /runs/{run}/restore")
    def restore_run(self, run: str) -> Run:
        """Restore a deleted run; one that is in use stays so.

        Raises NotFound, and Conflict when its experiment is deleted: restore that first.
        """
        with self.database.read() as connection:
            owner = records.require_experiment(connection, records.require_run(connection, run).experiment)
        if owner.deleted is not None:
            raise Conflict(f"the experiment {owner.name!r} of run {run} is deleted: restore it first", run=run)
        self._lifecycle.restore(run)
        return self._get(run)

    @operation("PUT /runs/{run}/group")
    def group_run(self, run: str, group: str | None = None) -> Run:
        """Put a run into the group of this name, or into none. Raises NotFound, and Conflict when it is deleted.

        It is searched as ``group = 'sweep 7'``.
        """
        return self._mark(run, GROUP, group or None)

    @operation("GET /run-groups")
    def list_groups(self, experiments: list[str] | None = None) -> list[RunGroup]:
        """List the groups of runs, each with how many runs in use are in it; *experiments* narrows them."""
        with self.database.read() as connection:
            return store.groups(connection, experiments or [])

    @operation("PUT /runs/{run}/note")
    def note_run(self, run: str, text: str) -> Run:
        """Write a note of a run in Markdown instead of the one before; an empty one removes it.

        MLflow's clients have it as the tag ``mlflow.note.content``. Raises NotFound, and Conflict when it is deleted.
        """
        return self._mark(run, NOTE, text or None)

    @operation("PUT /runs/{run}/star")
    def star_run(self, run: str, starred: bool = True) -> Run:
        """Star a run, or take its star away. Raises NotFound, and Conflict when it is deleted.

        It is searched as ``starred = 'true'``.
        """
        return self._mark(run, STARRED, "true" if starred else None)

    @operation("PUT /runs/{run}/archive")
    def archive_run(self, run: str, archived: bool = True) -> Run:
        """Put a run away, so that listings hide it, or fetch it back; nothing of it is deleted.

        Raises NotFound, and Conflict when it is deleted.
        """
        return self._mark(run, ARCHIVED, self.clock.now().isoformat() if archived else None)

    def _mark(self, run: str, key: str, value: str | None) -> Run:
        check_texts({} if value is None else {key: value}, "tag", MAX_TAG_CHARS)
        with records.writing(self.database, run) as connection:
            if value is None:
                records.delete_tag(connection, run, key)
            else:
                records.set_tags(connection, run, {key: value})
            return records.require_run(connection, run)

    def _get(self, run: str) -> Run:
        with self.database.read() as connection:
            return records.require_run(connection, run)
