"""The verbs of experiments by their ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mainspring.core.clock import Clock
from mainspring.core.errors import AlreadyExists, InvalidRequest, NotFound
from mainspring.core.filters import AllOf, AnyOf, Field, Filter, Not, Order, parse_filter, parse_order
from mainspring.core.ids import new_id
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit
from mainspring.tracking import store as records
from mainspring.tracking.comparing.values import check
from mainspring.tracking.events import ExperimentCreated, ExperimentDeleted, ExperimentRenamed, ExperimentRestored
from mainspring.tracking.experiments import store
from mainspring.tracking.limits import check_texts
from mainspring.tracking.model import DEFAULT_EXPERIMENT, DEFAULT_ID, Experiment, Lifecycle
from mainspring.tracking.paging import bounded

MAX_NAME_CHARS = 500
MAX_TAG_CHARS = 20_000
MAX_PAGE = 50_000

_ENTITIES = {"tags": "tag", "tag": "tag", "attribute": "attribute", "attributes": "attribute"}
_NEWEST = [Order(Field("attribute", "creation_time"), True)]


def fresh_id(name: str) -> str:
    """Give the id of a new experiment: that of the default one is known to everybody."""
    return DEFAULT_ID if name == DEFAULT_EXPERIMENT else new_id()


class Experiments:
    """Experiments by their ids; their names may be any text here."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def create(self, name: str, tags: Mapping[str, str] | None = None, location: str | None = None) -> Experiment:
        """Create an experiment, with the URI of its artifacts where they are kept elsewhere.

        Raises AlreadyExists, also when the one of this name is deleted, and InvalidRequest.
        """
        _check_name(name)
        check_texts(tags or {}, "tag", MAX_TAG_CHARS)
        default = self.default()  # It is there from the start, so nothing may be older.
        if name == default.name:
            raise _exists(name, default)
        return self.add(name, tags, location)

    def add(self, name: str, tags: Mapping[str, str] | None = None, location: str | None = None) -> Experiment:
        """Add an experiment whose name and tags were checked. Raises AlreadyExists."""
        fresh = Experiment(fresh_id(name), name, self._clock.now(), dict(tags or {}), location=location)
        with self._database.begin() as connection:
            if not records.insert_experiment(connection, fresh):
                raise _exists(name, records.require_experiment(connection, name))
            emit(connection, ExperimentCreated(experiment=name))
        return fresh

    def get(self, id: str) -> Experiment:
        """Get an experiment, deleted or not. Raises NotFound."""
        with self._database.read() as connection:
            found = store.find_experiment(connection, id)
        if found is not None:
            return found
        if id == "0":
            return self.default()
        raise NotFound(f"No Experiment with id={id} exists", experiment=id)

    def get_by_name(self, name: str) -> Experiment:
        """Get an experiment by its name, deleted or not. Raises NotFound."""
        with self._database.read() as connection:
            found = records.find_experiments(connection, name=name) if name else []
        if found:
            return found[0]
        if name == DEFAULT_EXPERIMENT:
            return self.default()
        raise NotFound(f"Could not find experiment with name {name!r}", name=name)

    def default(self) -> Experiment:
        """Get the default experiment, which is there from the start: made when it is asked for first."""
        with self._database.read() as connection:
            found = records.find_experiments(connection, name=DEFAULT_EXPERIMENT)
            found = found or [one for one in [store.find_experiment(connection, DEFAULT_ID)] if one is not None]
        if found:
            return found[0]
        try:
            return self.add(DEFAULT_EXPERIMENT)
        except AlreadyExists:  # Somebody else asked at the same time.
            return self.get_by_name(DEFAULT_EXPERIMENT)

    def search(
        self,
        where: str = "",
        order_by: Sequence[str] | None = None,
        lifecycle: Lifecycle = "active",
        limit: int = 1_000,
        page: str | None = None,
    ) -> tuple[list[Experiment], str | None]:
        """Find experiments, newest first unless *order_by* says otherwise, and the token of the next page.

        Raises InvalidRequest for what cannot be read.
        """
        condition, order = read_search(where, order_by)
        self.default()
        with self._database.read() as connection:
            return store.search(
                connection, condition, order, lifecycle=lifecycle, limit=bounded(limit, MAX_PAGE), page=page
            )

    def rename(self, id: str, name: str) -> Experiment:
        """Give an experiment another name. Raises NotFound, AlreadyExists, and Conflict when it is deleted."""
        _check_name(name)
        self.get(id)
        with self._database.begin() as connection:
            found = store.require_active(store.lock_experiment(connection, id))
            if found.name != name:
                store.rename(connection, found, name, self._clock.now())
                emit(connection, ExperimentRenamed(experiment=found.name, renamed=name))
            return store.lock_experiment(connection, id)

    def delete(self, id: str) -> None:
        """Delete an experiment with its runs so that both can be restored. Raises NotFound, also when it is deleted."""
        self.get(id)
        with self._database.begin() as connection:
            found = store.lock_experiment(connection, id)
            if found.deleted is not None:
                raise NotFound(f"No Experiment with id={id} exists: it is deleted", experiment=id)
            store.set_deleted(connection, found, self._clock.now(), deleted=True)
            emit(connection, ExperimentDeleted(experiment=found.name))

    def restore(self, id: str) -> None:
        """Restore an experiment and the runs that were deleted with it. Raises NotFound when it is not deleted."""
        with self._database.begin() as connection:
            found = store.lock_experiment(connection, id)
            if found.deleted is None:
                raise NotFound(f"No Experiment with id={id} exists among those that are deleted", experiment=id)
            store.set_deleted(connection, found, self._clock.now(), deleted=False)
            emit(connection, ExperimentRestored(experiment=found.name))

    def set_tag(self, id: str, key: str, value: str) -> None:
        """Set a tag. Raises NotFound, Conflict when the experiment is deleted, and InvalidRequest."""
        check_texts({key: value}, "tag", MAX_TAG_CHARS)
        self.get(id)
        with self._database.begin() as connection:
            store.require_active(store.lock_experiment(connection, id))
            records.set_experiment_tags(connection, id, {key: value})
            store.touch(connection, id, self._clock.now())

    def delete_tag(self, id: str, key: str) -> None:
        """Remove a tag. Raises NotFound, also for the tag, and Conflict when the experiment is deleted."""
        self.get(id)
        with self._database.begin() as connection:
            store.require_active(store.lock_experiment(connection, id))
            if not store.delete_tag(connection, id, key):
                raise NotFound(f"No tag with name: {key} in experiment with id {id}", experiment=id, key=key)
            store.touch(connection, id, self._clock.now())


def read_search(where: str, order_by: Sequence[str] | None) -> tuple[Filter, list[Order]]:
    """Read what is searched for and in which order, newest first by default. Raises InvalidRequest."""
    order = [parse_order(text, _ENTITIES) for text in order_by or []] or _NEWEST
    return _checked(parse_filter(where, _ENTITIES)), order


def _check_name(name: str) -> None:
    if not name or len(name) > MAX_NAME_CHARS or "\0" in name:
        raise InvalidRequest(
            f"Invalid experiment name: {name[:100]!r}; expected 1 to {MAX_NAME_CHARS} characters", name=name
        )


def _exists(name: str, found: Experiment) -> AlreadyExists:
    if found.deleted is None:
        return AlreadyExists(f"Experiment {name!r} already exists: log to it, or take another name", name=name)
    return AlreadyExists(
        f"Experiment {name!r} already exists in deleted state: restore it (its id is {found.id}), take another "
        "name, or free this one with `mainspring gc`",
        name=name,
    )


def _checked(where: Filter) -> Filter:
    if isinstance(where, (AllOf, AnyOf)):
        return type(where)([_checked(part) for part in where.parts])
    if isinstance(where, Not):
        return Not(_checked(where.part))
    return check(where, store.kind_of(where.field))
