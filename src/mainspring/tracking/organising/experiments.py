"""The verbs of experiments by their names, which may lie in folders: ``team/project/churn``."""

from __future__ import annotations

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import AlreadyExists, InvalidRequest
from mainspring.core.operations import operation
from mainspring.core.refs import check_path_name
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit
from mainspring.tracking import store as records
from mainspring.tracking.events import ExperimentRenamed
from mainspring.tracking.experiments import store as experiment_store
from mainspring.tracking.experiments.service import Experiments, read_search
from mainspring.tracking.limits import check_texts
from mainspring.tracking.model import Experiment, Lifecycle
from mainspring.tracking.organising import store
from mainspring.tracking.organising.model import ARCHIVED, NOTE, STARRED, Archived, ExperimentPage, Folder
from mainspring.tracking.paging import bounded


class ExperimentOrganiser:
    """Finds, renames, moves, deletes, restores and marks experiments; a name is any that one was given."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self.database = database
        self.clock = clock or SystemClock()
        self._by_id = Experiments(database, self.clock)

    @operation("POST /experiments/search")
    def search_experiments(
        self,
        where: str = "",
        under: str = "",
        lifecycle: Lifecycle = "active",
        archived: Archived = "hidden",
        order_by: list[str] | None = None,
        limit: int = 100,
        page: str | None = None,
    ) -> ExperimentPage:
        """Find experiments, newest first.

        *under* narrows them to a folder and its folders; *lifecycle* ``deleted`` lists those that can be restored.
        *where* is a filter such as ``name LIKE 'churn%' and tags.team = 'ads'``; *order_by* sorts otherwise.
        Raises InvalidRequest for what cannot be read.
        """
        condition, order = read_search(where, order_by)
        self._by_id.default()
        with self.database.read() as connection:
            within = store.shown_experiments(archived, under.strip("/"), self.database.dialect)
            found, next_page = experiment_store.search(
                connection, condition, order, lifecycle=lifecycle, limit=bounded(limit), page=page, within=within
            )
            return ExperimentPage(found, next_page)

    @operation("POST /experiments/adopt")
    def adopt_experiment(self, name: str) -> Experiment:
        """Get an experiment under the name that it has elsewhere, whatever that is: made when it is not there.

        Raises InvalidRequest for a name that nothing can have, Conflict when the experiment is deleted.
        """
        try:
            return self._by_id.create(name)
        except AlreadyExists:
            return experiment_store.require_active(self._by_id.get_by_name(name))

    @operation("GET /experiment-folders")
    def list_folders(self, under: str = "") -> list[Folder]:
        """List the folders that lie directly in a folder, each with how many experiments in use are below it."""
        with self.database.read() as connection:
            return store.folders(connection, under.strip("/"))

    @operation("POST /experiment-folders/move")
    def move_folder(self, folder: str, to: str) -> list[Experiment]:
        """Move every experiment below a folder, also deleted ones, to another one; all or none.

        Raises AlreadyExists when a name is taken there, InvalidRequest for a folder that cannot be or lies in itself.
        """
        source, target = folder.strip("/"), check_path_name(to.strip("/"), "folder")
        if not source or target == source or target.startswith(f"{source}/"):
            raise InvalidRequest(
                f"{folder!r} cannot move to {to!r}: name a folder that does not lie in it", folder=folder
            )
        now = self.clock.now()
        with self.database.begin() as connection:
            moved = store.experiments_below(connection, source)
            for one in moved:
                name = check_path_name(target + one.name[len(source) :], "experiment")
                experiment_store.rename(connection, one, name, now)
                emit(connection, ExperimentRenamed(experiment=one.name, renamed=name))
            return store.experiments_below(connection, target) if moved else []

    @operation("POST /experiments/{name:path}/rename")
    def rename_experiment(self, name: str, to: str) -> Experiment:
        """Give an experiment another name, perhaps in another folder; its runs stay with it.

        Raises NotFound, AlreadyExists, and Conflict when it is deleted.
        """
        return self._by_id.rename(self._id(name), check_path_name(to, "experiment"))

    @operation("DELETE /experiments/{name:path}")
    def delete_experiment(self, name: str) -> Experiment:
        """Delete an experiment with its runs so that both can be restored until they are collected as garbage.

        One that is deleted stays so. Raises NotFound.
        """
        found = self._get(name)
        if found.deleted is None:
            self._by_id.delete(found.id)
        return self._get(name)

    @operation("POST /experiments/{name:path}/restore")
    def restore_experiment(self, name: str) -> Experiment:
        """Restore an experiment and the runs that were deleted with it; one that is in use stays so.

        Raises NotFound.
        """
        found = self._get(name)
        if found.deleted is not None:
            self._by_id.restore(found.id)
        return self._get(name)

    @operation("PUT /experiments/{name:path}/note")
    def note_experiment(self, name: str, text: str) -> Experiment:
        """Write a note of an experiment in Markdown instead of the one before; an empty one removes it.

        MLflow's clients have it as the tag ``mlflow.note.content``. Raises NotFound, and Conflict when it is deleted.
        """
        return self._mark(name, NOTE, text or None)

    @operation("PUT /experiments/{name:path}/star")
    def star_experiment(self, name: str, starred: bool = True) -> Experiment:
        """Star an experiment, or take its star away. Raises NotFound, and Conflict when it is deleted."""
        return self._mark(name, STARRED, "true" if starred else None)

    @operation("PUT /experiments/{name:path}/archive")
    def archive_experiment(self, name: str, archived: bool = True) -> Experiment:
        """Put an experiment away, so that listings hide it, or fetch it back; nothing of it is deleted.

        Raises NotFound, and Conflict when it is deleted.
        """
        return self._mark(name, ARCHIVED, self.clock.now().isoformat() if archived else None)

    def _mark(self, name: str, key: str, value: str | None) -> Experiment:
        check_texts({} if value is None else {key: value}, "tag")
        id = self._id(name)
        with self.database.begin() as connection:
            experiment_store.require_active(experiment_store.lock_experiment(connection, id))
            store.set_or_remove_tag(connection, id, key, value)
            experiment_store.touch(connection, id, self.clock.now())
            return experiment_store.lock_experiment(connection, id)

    def _get(self, name: str) -> Experiment:
        with self.database.read() as connection:
            return records.require_experiment(connection, name)

    def _id(self, name: str) -> str:
        return self._get(name).id
