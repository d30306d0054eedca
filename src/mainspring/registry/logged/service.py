"""The verbs of logged models: begin one, describe it, say that it is complete, find it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.filters import Filter
from mainspring.registry.logged import store
from mainspring.registry.logged.model import LoggedMetric, LoggedModel, LoggedStatus, MetricOrder, OnDataset
from mainspring.storage.sql.database import Database, Transaction, Work

_BAD_CHARACTERS = "/:.%\"'"


class LoggedModels:
    """The logged models of every experiment, kept in *database*."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self.database, self.clock = database, clock or SystemClock()

    def create(
        self,
        experiment: str,
        name: str | None = None,
        *,
        model_type: str | None = None,
        run: str | None = None,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> LoggedModel:
        """Begin a model in the experiment with this id; raises InvalidRequest for a name that it cannot have."""
        if name is not None and (not name or any(c in name for c in _BAD_CHARACTERS)):
            raise InvalidRequest(
                f"Invalid model name ({name!r}): it must not be empty nor have one of {_BAD_CHARACTERS}"
            )
        now, id = store.at_millisecond(self.clock.now()), f"m-{uuid.uuid4().hex}"
        model = LoggedModel(
            id=id,
            experiment=experiment,
            name=name or f"model-{id[-8:]}",
            created=now,
            updated=now,
            model_type=model_type,
            run=run,
            params=dict(params or {}),
            tags=dict(tags or {}),
        )
        with self.database.begin() as connection:
            store.insert(connection, model)
        return model

    def get(self, model: str, *, deleted: bool = False) -> LoggedModel:
        """Get a logged model, with *deleted* also one that was deleted; raises NotFound."""
        with self.database.read() as connection:
            return store.require(connection, model, deleted=deleted)

    def set_status(self, model: str, status: LoggedStatus) -> LoggedModel:
        """Say whether the files of a model are complete; raises NotFound."""
        with self.database.begin() as connection:
            store.require(connection, model)
            store.change(connection, model, status=status, updated=store.at_millisecond(self.clock.now()))
            return store.require(connection, model)

    def delete(self, model: str) -> None:
        """Delete a model; its files stay until they are collected. Raises NotFound."""
        now = store.at_millisecond(self.clock.now())
        with self.database.begin() as connection:
            store.require(connection, model)
            store.change(connection, model, deleted=now, updated=now)

    def log_params(self, model: str, params: Mapping[str, str]) -> None:
        """Set params of a model; raises NotFound, InvalidRequest when one has another value already."""
        with self.database.begin() as connection:
            known = store.lock(connection, model).params
            for key, value in params.items():
                if known.get(key, value) != value:
                    raise InvalidRequest(f"param {key!r} of model {model} is {known[key]!r}: params are written once")
            store.set_texts(connection, store.logged_model_params, model, dict(params))

    def set_tags(self, model: str, tags: Mapping[str, str]) -> LoggedModel:
        """Set tags of a model, replacing those of the same key; raises NotFound."""
        with self.database.begin() as connection:
            store.require(connection, model)
            store.set_texts(connection, store.logged_model_tags, model, dict(tags))
            return store.require(connection, model)

    def change_tag(self, model: str, key: str, change: Callable[[str | None], str]) -> None:
        """Set a tag to what *change* makes of its value, or of None where there is none; raises NotFound."""
        with self.database.begin() as connection:
            value = change(store.lock(connection, model).tags.get(key))
            store.set_texts(connection, store.logged_model_tags, model, {key: value})

    def delete_tag(self, model: str, key: str) -> None:
        """Remove a tag of a model; raises NotFound when it has none of this key."""
        with self.database.begin() as connection:
            store.require(connection, model)
            if not store.delete_tag(connection, model, key):
                raise NotFound(f"No tag with key {key!r} found for model with ID {model!r}.", model=model, key=key)

    def logging_metrics(self, model: str, metrics: Sequence[LoggedMetric]) -> Work[None]:
        """Plan to add values that were measured of a model; the work raises NotFound."""

        def work(connection: Transaction) -> None:
            store.require(connection, model)
            store.add_metrics(connection, model, metrics)

        return work

    def search(
        self,
        experiments: Sequence[str],
        where: Filter,
        *,
        datasets: Sequence[OnDataset] = (),
        order: Sequence[MetricOrder] = (),
        limit: int = 100,
        offset: int = 0,
    ) -> list[LoggedModel]:
        """Find models by attributes, params, tags and metrics, newest first after *order*.

        With *datasets*, metrics count only where they were measured on one of these; without a test of a metric, the
        models with any metric on them are found. Raises InvalidRequest for a field that logged models do not have.
        """
        with self.database.read() as connection:
            return store.search(connection, experiments, where, datasets, order, limit, offset)
