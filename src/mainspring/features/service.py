"""Feature views: define them, make training sets from them, and read the same features online."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

import msgspec
import polars as pl

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import Conflict, InvalidData, InvalidRequest, NotFound
from mainspring.core.operations import operation
from mainspring.core.refs import Ref, check_name
from mainspring.core.units import parse_duration
from mainspring.datasets.columns import NUMBERS
from mainspring.datasets.model import DatasetVersion
from mainspring.datasets.service import Datasets
from mainspring.features.asof import compute, microseconds, span_of
from mainspring.features.events import FeaturesMaterialised, FeatureViewDefined
from mainspring.features.model import Feature, FeatureView, Materialisation, OnlineRow
from mainspring.features.online import OnlineReader, StoredRow, StoredView, encode_row, encode_view, row_key, view_key
from mainspring.features.store import FeatureStore
from mainspring.storage.kv.store import KeyValueStore
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit

_BATCH = 10_000
# Inside of a class with a verb called list, the type needs other names.
Keys = list[list[Any]]
Rows = list[OnlineRow]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEY_TYPES = ("int8", "int16", "int32", "int64", "string", "boolean", "date")


class TrainingSet(msgspec.Struct, frozen=True):
    """The labels with the features that were known at each label's time, and what they were made from."""

    frame: pl.DataFrame
    view: FeatureView
    dataset: DatasetVersion


class Features:
    """The verbs of feature views. Threads may share one."""

    def __init__(self, database: Database, datasets: Datasets, kv: KeyValueStore, clock: Clock | None = None) -> None:
        self.database = database
        self.datasets = datasets
        self.kv = kv
        self.clock = clock or SystemClock()
        self.store = FeatureStore()
        self.reader = OnlineReader(kv)

    @operation("POST /feature-views/{name}/versions")
    def define(
        self,
        name: str,
        dataset: str,
        keys: list[str],
        time_column: str,
        features: list[Feature],
        max_age: str | None = None,
        token: str | None = None,
    ) -> FeatureView:
        """Define the next version of a feature view over a dataset (``dataset:name``, with ``@version`` to pin one).

        A definition that the latest version has already gives that version. Raises NotFound for the dataset,
        InvalidData naming columns that it does not have or that cannot serve, InvalidRequest for a bad duration.
        """
        check_name(name, "feature view")
        source = self.datasets.resolve(dataset)
        _check_definition(source, keys, time_column, features, max_age)
        pinned = str(Ref.parse(dataset, kind="dataset"))
        with self.database.begin() as connection:
            if token is not None and (known := self.store.of_token(connection, token)):
                return known
            latest = self.store.latest(connection, name)
            view = FeatureView(
                name=name,
                version=latest.version if latest else 0,
                dataset=pinned,
                keys=keys,
                time_column=time_column,
                features=features,
                max_age=max_age,
                created=latest.created if latest else self.clock.now(),
            )
            if latest == view:
                return latest
            view = msgspec.structs.replace(view, version=view.version + 1, created=self.clock.now())
            self.store.insert(connection, view, token)
            emit(connection, FeatureViewDefined(view=name, version=view.version, dataset=source.ref))
        return view

    @operation("GET /feature-views")
    def list(self) -> list[FeatureView]:
        """List every version of every feature view, by name, the newest first."""
        with self.database.read() as connection:
            return self.store.list(connection)

    @operation("GET /feature-views/{name}/versions/{version}")
    def version(self, name: str, version: int) -> FeatureView:
        """Show a version; raises NotFound."""
        with self.database.read() as connection:
            found = self.store.find(connection, name, version)
        if found is None:
            raise NotFound(f"feature view {name!r} has no version {version}", name=name, version=version)
        return found

    @operation("GET /feature-views/{name}")
    def get(self, name: str) -> FeatureView:
        """Show the latest version of a feature view; raises NotFound."""
        with self.database.read() as connection:
            found = self.store.latest(connection, name)
        if found is None:
            raise NotFound(f"there is no feature view {name!r}", name=name)
        return found

    def resolve(self, view: str) -> FeatureView:
        """Give the version that ``feature_view:name@2``, ``feature_view:name`` (the latest) or ``name`` stands for."""
        parsed = Ref.parse(view, kind="feature_view")
        if parsed.alias is not None:
            raise InvalidRequest(f"{view!r} has an alias, and feature views have versions only, such as @1", view=view)
        return self.get(parsed.name) if parsed.version is None else self.version(parsed.name, parsed.version)

    def readable(self, view: str) -> FeatureView:
        """Give the version as `resolve` does; raises Conflict while nothing of it can be read online."""
        found = self.resolve(view)
        if self.reader.view(found.ref) is None:
            raise Conflict(
                f"{found.ref} was never materialised, so nothing of it can be read online: "
                f"`mainspring feature materialise {found.name} {found.version}` does that",
                view=found.ref,
            )
        return found

    def training_set(
        self, view: str, labels: pl.DataFrame | str, *, time_column: str, dataset: str | None = None
    ) -> TrainingSet:
        """Add to each label the features of its key that were known at its time, in the order of the labels.

        *labels* is a frame or the ref of a dataset, with the key columns of the view and *time_column*; *dataset* pins
        the version of the view's dataset. An event at exactly the label's time is known, a later one never is. Raises
        InvalidData when columns are missing, cannot be compared, or would have the name of a feature.
        """
        found = self.resolve(view)
        frame = self.datasets.rows(self.datasets.resolve(labels)) if isinstance(labels, str) else labels
        if taken := [f.name for f in found.features if f.name in frame.columns]:
            raise InvalidData(
                f"the labels have columns with the names of features: {', '.join(taken)}; rename them", columns=taken
            )
        source = self.datasets.resolve(dataset or found.dataset)
        computed = compute(found, self._history(found, source), frame, time_column)
        return TrainingSet(frame.with_columns(computed.columns), found, source)

    def _history(self, view: FeatureView, source: DatasetVersion) -> pl.DataFrame:
        names = dict.fromkeys([*view.keys, view.time_column, *(feature.column for feature in view.features)])
        return self.datasets.rows(source, [*names])

    @operation("POST /feature-views/{name}/versions/{version}/materialisations")
    def materialise(self, name: str, version: int, until: datetime | None = None) -> Materialisation:
        """Write the features of every key, as of an instant (default: now), where they can be read online.

        Readers see the old values of a key or the new ones. Keys that the dataset no longer has become unknown. Windows
        end at the instant: materialise as often as they should move. Raises Conflict when a later instant is
        materialised already.
        """
        view = self.version(name, version)
        instant = until or self.clock.now()
        if instant.tzinfo is None:
            raise InvalidRequest("the instant has no time zone: write it like 2026-01-31T12:00:00Z")
        as_of_us = microseconds(instant - _EPOCH)
        stored = self.reader.view(view.ref)
        if stored is not None and stored.as_of_us > as_of_us:
            later = (_EPOCH + timedelta(microseconds=stored.as_of_us)).isoformat()
            raise Conflict(f"{view.ref} is materialised as of {later} already, which is later", view=view.ref)
        source = self.datasets.resolve(view.dataset)
        count = self._put(view, self._history(view, source), instant, as_of_us)
        done = Materialisation(
            view=name, version=version, until=instant, dataset=source.ref, keys=count, created=self.clock.now()
        )
        with self.database.begin() as connection:
            self.store.record(connection, done)
            emit(
                connection,
                FeaturesMaterialised(view=name, version=version, dataset=source.ref, until=instant, keys=count),
            )
        return done

    def _put(self, view: FeatureView, history: pl.DataFrame, instant: datetime, as_of_us: int) -> int:
        keys = history.select(view.keys).drop_nulls().unique(maintain_order=True)
        questions = keys.with_columns(pl.lit(instant).cast(pl.Datetime("us", "UTC")).alias("\0at"))
        computed = compute(view, history, questions, "\0at")
        frame = keys.with_columns(computed.event_us, *computed.columns) if keys.height else keys
        # The view goes last: only with it do rows of an older instant end.
        items = _items(view, frame, as_of_us)
        while batch := [*islice(items, _BATCH)]:
            self.kv.put_many(batch)
        names = [feature.name for feature in view.features]
        head = StoredView(view.ref, view.keys, names, [_end(feature, view) for feature in view.features], as_of_us)
        self.kv.put_many([(view_key(view.ref), encode_view(head))])
        return keys.height

    @operation("POST /feature-views/{name}/versions/{version}/online")
    def read_online(self, name: str, version: int, keys: Keys) -> Rows:
        """Read the materialised features of keys, each the list of its key columns' values; raises NotFound.

        A last value that has come to its maximum age is missing, also when it was not yet at the materialisation.
        """
        view = self.version(name, version)
        if wrong := [key for key in keys if len(key) != len(view.keys)]:
            raise InvalidRequest(f"{wrong[0]!r} is no key of {view.ref}: expected values of {', '.join(view.keys)}")
        rows = self.reader.read(view.ref, keys, microseconds(self.clock.now() - _EPOCH))
        return [
            OnlineRow(key, _plain(row.values), _instant(row.event_us), _instant(row.as_of_us))
            for key, row in zip(keys, rows, strict=True)
        ]


def _end(feature: Feature, view: FeatureView) -> int | None:
    span = span_of(feature, view) if feature.aggregate == "last" else None
    return None if span is None else microseconds(span)


def _items(view: FeatureView, frame: pl.DataFrame, as_of_us: int) -> Iterator[tuple[bytes, bytes]]:
    width = len(view.keys)
    for row in frame.iter_rows():
        key, event_us, values = row[:width], row[width], list(row[width + 1 :])
        yield row_key(view.ref, key), encode_row(StoredRow(as_of_us, event_us, values))


def _plain(values: dict[str, Any] | None) -> dict[str, Any] | None:
    if values is None:
        return None
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in values.items()}


def _instant(us: int | None) -> datetime | None:
    return None if us is None else _EPOCH + timedelta(microseconds=us)


def _check_definition(
    source: DatasetVersion, keys: Sequence[str], time_column: str, features: Sequence[Feature], max_age: str | None
) -> None:
    types = source.types
    if not keys or not features:
        raise InvalidRequest("a feature view needs at least one key column and one feature")
    wanted = dict.fromkeys([*keys, time_column, *(feature.column for feature in features)])
    if absent := [name for name in wanted if name not in types]:
        raise InvalidData(f"{source.ref} has no column {', '.join(absent)}", columns=absent)
    if bad := [name for name in keys if types[name] not in _KEY_TYPES]:
        raise InvalidData(f"{', '.join(bad)} cannot be a key: expected integers, text, booleans or dates", columns=bad)
    if types[time_column] not in ("datetime", "date"):
        raise InvalidData(f"the time column {time_column!r} is {types[time_column]}: expected instants or dates")
    names = [feature.name for feature in features]
    if twice := sorted({name for name in names if names.count(name) > 1 or name in keys}):
        raise InvalidData(f"features need names of their own: {', '.join(twice)}", features=twice)
    for feature in features:
        number = types[feature.column] in (*NUMBERS, "boolean") or types[feature.column].startswith("decimal")
        if feature.aggregate not in ("last", "count") and not number:
            raise InvalidData(
                f"feature {feature.name!r} is the {feature.aggregate} of column {feature.column!r}, which is "
                f"{types[feature.column]}: expected numbers",
                feature=feature.name,
            )
    for duration in [max_age, *(feature.window for feature in features)]:
        if duration is not None and parse_duration(duration) <= timedelta(0):
            raise InvalidRequest(f"{duration!r} is not longer than nothing", duration=duration)
