"""The verbs of evaluation datasets: make one, merge records into it, read it as it is and as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import uuid4

import msgspec

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.filters import parse_filter, parse_order
from mainspring.core.operations import operation
from mainspring.datasets.evaluation import store
from mainspring.datasets.evaluation.events import (
    EvaluationDatasetCreated,
    EvaluationDatasetDeleted,
    EvaluationRecordsChanged,
)
from mainspring.datasets.evaluation.merging import (
    begun,
    content_after,
    digest_of,
    inputs_hash,
    merged,
    types_after,
)
from mainspring.datasets.evaluation.model import (
    MAX_NAME_CHARS,
    MAX_PAGE,
    MAX_RECORDS_PAGE,
    MAX_TAG_CHARS,
    MAX_TAG_KEY_CHARS,
    USER_TAG,
    EvaluationDataset,
    EvaluationDatasetPage,
    EvaluationDatasetVersion,
    EvaluationRecordPage,
    Merged,
    RecordDraft,
    Removed,
)
from mainspring.datasets.evaluation.search import store as search_store
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit

Names = list[str]
Drafts = list[RecordDraft]
Versions = list[EvaluationDatasetVersion]

_NOTHING = f"{0:064x}"


class EvaluationDatasets:
    """Evaluation datasets, kept in *database*.

    *known_experiment* is called with the id of each experiment that a dataset is said to belong to, and raises NotFound
    when there is none.
    """

    def __init__(
        self, database: Database, known_experiment: Callable[[str], object], clock: Clock | None = None
    ) -> None:
        self.database, self.clock = database, clock or SystemClock()
        self._known_experiment = known_experiment

    @operation("POST /evaluation-datasets")
    def create(
        self, name: str, experiments: Names | None = None, tags: dict[str, str] | None = None
    ) -> EvaluationDataset:
        """Create a dataset without records; several may have one name. *experiments* are the ids of those it is for.

        Raises NotFound for an unknown experiment.
        """
        _check(name, "name", MAX_NAME_CHARS)
        kept, now = _checked_tags(tags or {}), self._now()
        self._check_experiments(experiments or [])
        by = kept.get(USER_TAG)
        fresh = EvaluationDataset(
            id=f"d-{uuid4().hex}",
            name=name,
            version=0,
            digest=digest_of(name, _NOTHING),
            records=0,
            created=now,
            updated=now,
            created_by=by,
            updated_by=by,
            tags=kept,
        )
        with self.database.begin() as connection:
            store.insert_dataset(connection, fresh, _NOTHING)
            store.add_experiments(connection, fresh.id, experiments or [])
            emit(connection, EvaluationDatasetCreated(dataset=fresh.id, name=name, experiments=experiments or []))
        return fresh

    @operation("GET /evaluation-datasets")
    def search(
        self,
        where: str = "",
        experiments: Names | None = None,
        order_by: Names | None = None,
        limit: int = 100,
        page: str | None = None,
    ) -> EvaluationDatasetPage:
        """Find datasets, newest first: ``name LIKE 'qa%' AND tags.team = 'ads'``, of *experiments* by their ids.

        Raises InvalidRequest for what cannot be read.
        """
        _check_limit(limit, MAX_PAGE)
        condition = parse_filter(where, search_store.ENTITIES)
        order = [parse_order(text, search_store.ENTITIES) for text in order_by or []]
        offset = _read_page(page)
        kept = [id for id in experiments if id.isprintable()] if experiments else None
        with self.database.read() as connection:
            found = search_store.search(connection, kept, condition, order, limit + 1, offset)
        return EvaluationDatasetPage(found[:limit], str(offset + limit) if len(found) > limit else None)

    @operation("GET /evaluation-datasets/{dataset}")
    def get(self, dataset: str) -> EvaluationDataset:
        """Show a dataset by its id; raises NotFound."""
        with self.database.read() as connection:
            return store.require(connection, dataset)

    @operation("DELETE /evaluation-datasets/{dataset}")
    def delete(self, dataset: str) -> None:
        """Delete a dataset with its records in all versions; raises NotFound."""
        with self.database.begin() as connection:
            found, _ = store.lock(connection, dataset)
            store.delete_dataset(connection, dataset)
            emit(connection, EvaluationDatasetDeleted(dataset=dataset, name=found.name))

    # Records

    @operation("POST /evaluation-datasets/{dataset}/records")
    def merge(self, dataset: str, records: Drafts) -> Merged:
        """Add records, or merge them into those of the same inputs: all of them, or none.

        Outputs are replaced; expectations and tags are added to, key by key. What changed makes the next version.
        Raises NotFound.
        """
        hashes = [inputs_hash(draft.inputs) for draft in records]
        now = self._now()
        with self.database.begin() as connection:
            found, content = store.lock(connection, dataset)
            version = found.version + 1
            before = store.standing_by_hash(connection, dataset, list(dict.fromkeys(hashes)))
            after = dict(before)
            position = store.last_position(connection, dataset)
            for hash, draft in zip(hashes, records, strict=True):
                if hash in after:
                    after[hash] = merged(after[hash], draft, version, now)
                else:
                    position += 1
                    after[hash] = begun(draft, dataset, version, position, now)
            added = [one for hash, one in after.items() if hash not in before]
            changed = {hash: one for hash, one in after.items() if one is not before.get(hash)}
            done = Merged(len(added), len(records) - len(added), version)
            if not changed:
                return msgspec.structs.replace(done, version=found.version)
            ended = [before[hash] for hash in changed if hash in before]
            store.end_records(connection, dataset, [one.id for one in ended], version)
            store.insert_records(connection, changed)
            content = content_after(content, changed.values(), ended)
            by = next((one.updated_by for one in reversed(changed.values()) if one.updated_by), found.updated_by)
            fields = types_after(found.fields, records)
            store.change(connection, dataset, fields=fields, updated_by=by)
            traces = [one.source.id for one in added if one.source and one.source.type == "TRACE" and one.source.id]
            self._advance(
                connection, found, content, found.records + len(added),
                EvaluationRecordsChanged(
                    dataset=dataset, version=version, digest=digest_of(found.name, content), added=len(added),
                    changed=len(ended), traces=list(dict.fromkeys(traces)),
                ),
            )  # fmt: skip
            return done

    @operation("GET /evaluation-datasets/{dataset}/records")
    def records(
        self, dataset: str, version: int | None = None, limit: int = 1000, page: str | None = None
    ) -> EvaluationRecordPage:
        """List records in the order in which they first came, as they are or as they were in a *version*.

        Raises NotFound.
        """
        _check_limit(limit, MAX_RECORDS_PAGE)
        after = _read_page(page)
        with self.database.read() as connection:
            found = store.require(connection, dataset)
            if version is not None and not 0 <= version <= found.version:
                raise NotFound(
                    f"evaluation dataset {dataset} has no version {version}: the last is {found.version}",
                    dataset=dataset,
                    version=version,
                )
            listed = store.records_page(connection, dataset, version, after, limit + 1)
        following = str(listed[limit - 1].position) if len(listed) > limit else None
        return EvaluationRecordPage(listed[:limit], following)

    @operation("POST /evaluation-datasets/{dataset}/records/remove")
    def remove(self, dataset: str, records: Names) -> Removed:
        """Remove records by their ids; those that are not there count for nothing. Earlier versions keep them.

        Raises NotFound for an unknown dataset.
        """
        with self.database.begin() as connection:
            found, content = store.lock(connection, dataset)
            named = [id for id in dict.fromkeys(records) if id.isprintable()]
            gone = store.standing_by_id(connection, dataset, named)
            if not gone:
                return Removed(0, found.version)
            version = found.version + 1
            store.end_records(connection, dataset, [one.id for one in gone], version)
            content = content_after(content, [], gone)
            self._advance(
                connection, found, content, found.records - len(gone),
                EvaluationRecordsChanged(
                    dataset=dataset, version=version, digest=digest_of(found.name, content), removed=len(gone)
                ),
            )  # fmt: skip
            return Removed(len(gone), version)

    @operation("GET /evaluation-datasets/{dataset}/versions")
    def versions(self, dataset: str) -> Versions:
        """List the versions of a dataset, the newest first; raises NotFound."""
        with self.database.read() as connection:
            store.require(connection, dataset)
            return store.versions_of(connection, dataset)

    def version_with(self, dataset: str, digest: str) -> int | None:
        """Give the latest version of a dataset that had this digest, None when there is none."""
        if not (dataset.isprintable() and digest.isprintable()):
            return None
        with self.database.read() as connection:
            return store.version_with(connection, dataset, digest)

    # Tags and experiments

    @operation("PATCH /evaluation-datasets/{dataset}/tags")
    def set_tags(self, dataset: str, tags: dict[str, str]) -> EvaluationDataset:
        """Set tags, replacing those of the same key; raises NotFound."""
        kept = _checked_tags(tags)
        with self.database.begin() as connection:
            store.lock(connection, dataset)
            store.set_tags(connection, dataset, kept)
            return store.require(connection, dataset)

    @operation("DELETE /evaluation-datasets/{dataset}/tags/{key:path}")
    def delete_tag(self, dataset: str, key: str) -> None:
        """Remove a tag; raises NotFound when the dataset has none of this key."""
        with self.database.begin() as connection:
            store.lock(connection, dataset)
            if not store.delete_tag(connection, dataset, key):
                raise NotFound(f"No tag with key {key!r} for evaluation dataset {dataset}", dataset=dataset, key=key)

    @operation("GET /evaluation-datasets/{dataset}/experiments")
    def experiments(self, dataset: str) -> Names:
        """List the ids of the experiments that a dataset is for, in the order in which they were added."""
        with self.database.read() as connection:
            return store.experiments_of(connection, dataset) if dataset.isprintable() else []

    @operation("POST /evaluation-datasets/{dataset}/experiments")
    def add_experiments(self, dataset: str, experiments: Names) -> EvaluationDataset:
        """Say that a dataset is for more experiments, by their ids; raises NotFound, also for one of these."""
        self._check_experiments(experiments)
        with self.database.begin() as connection:
            store.lock(connection, dataset)
            store.add_experiments(connection, dataset, experiments)
            store.change(connection, dataset, updated=self._now())
            return store.require(connection, dataset)

    @operation("POST /evaluation-datasets/{dataset}/experiments/remove")
    def remove_experiments(self, dataset: str, experiments: Names) -> EvaluationDataset:
        """Say that a dataset is not for these experiments any longer; raises NotFound."""
        with self.database.begin() as connection:
            store.lock(connection, dataset)
            if store.remove_experiments(connection, dataset, experiments):
                store.change(connection, dataset, updated=self._now())
            return store.require(connection, dataset)

    # Steps

    def _advance(
        self,
        connection: store.Connection,
        found: EvaluationDataset,
        content: str,
        records: int,
        happened: EvaluationRecordsChanged,
    ) -> None:
        now, version = self._now(), happened.version
        store.change(
            connection, found.id, version=version, content=content, digest=happened.digest, records=records, updated=now
        )
        store.insert_version(connection, EvaluationDatasetVersion(found.id, version, happened.digest, records, now))
        emit(connection, happened)

    def _check_experiments(self, experiments: Sequence[str]) -> None:
        for experiment in experiments:
            self._known_experiment(experiment)

    def _now(self) -> datetime:
        # To the millisecond, as clients name moments, so that a search by one finds it.
        now = self.clock.now()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _check(text: str, what: str, most: int) -> None:
    if not text or len(text) > most or not text.isprintable():
        raise InvalidRequest(
            f"the {what} {text[:80]!r} of an evaluation dataset: expected 1 to {most} printable characters"
        )


def _checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    for key, value in tags.items():
        _check(key, "key of a tag", MAX_TAG_KEY_CHARS)
        if len(value) > MAX_TAG_CHARS:
            raise InvalidRequest(f"the tag {key!r} of an evaluation dataset has more than {MAX_TAG_CHARS} characters")
    return {key: _storable(value) for key, value in tags.items()}


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _check_limit(limit: int, most: int) -> None:
    if not 1 <= limit <= most:
        raise InvalidRequest(f"Invalid value {limit} for the most results of a page: expected 1 to {most}")


def _read_page(page: str | None) -> int:
    if not page:
        return 0
    if not page.isascii() or not page.isdigit() or len(page) > 18:
        raise InvalidRequest(f"Invalid page token {page[:80]!r}: hand back the token as it was given")
    return int(page)
