"""The verbs of the catalogue: record, search, describe, move, rename and delete models and versions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from mainspring.core.errors import AlreadyExists, Corrupt, InvalidData, NotFound, Unsupported
from mainspring.core.filters import Filter, Order
from mainspring.core.refs import Ref, check_free_name, ref
from mainspring.registry import store as registry_store
from mainspring.registry import transitions
from mainspring.registry.adding import add_version, note_untagged
from mainspring.registry.cards.events import CardChanged
from mainspring.registry.cards.store import revise
from mainspring.registry.catalogue import store
from mainspring.registry.deleted import store as deleted_store
from mainspring.registry.events import ModelDeleted, ModelRenamed, ModelVersionDeleted
from mainspring.registry.importing import import_model
from mainspring.registry.model import CHAMPION, Model, ModelVersion, Stage
from mainspring.registry.protection import guard
from mainspring.registry.scanning.guarding import let_pass, look_through
from mainspring.registry.scanning.model import ScanReport
from mainspring.registry.service import Registry
from mainspring.registry.signature import ModelInfo
from mainspring.storage.objects.tree import tree_entries
from mainspring.storage.sql.journal import emit


class _Content(msgspec.Struct, frozen=True):
    digest: str | None
    size_bytes: int = 0
    info: ModelInfo | None = None
    unservable: str | None = None


class Catalogue:
    """The models and versions of a registry, as a catalogue."""

    def __init__(self, registry: Registry) -> None:
        self.registry, self.database, self.clock = registry, registry.database, registry.clock

    # Finding

    def search_models(
        self, where: Filter, order: Sequence[Order], *, without: Mapping[str, str], limit: int, offset: int = 0
    ) -> list[Model]:
        """Find models by name and tags, in the order of their names after *order*, but none with a tag of *without*.

        Raises InvalidRequest for a field that models do not have.
        """
        with self.database.read() as connection:
            return store.search_models(connection, where, order, without, limit, offset)

    def search_versions(
        self, where: Filter, order: Sequence[Order], *, without: Mapping[str, str], limit: int, offset: int = 0
    ) -> list[ModelVersion]:
        """Find versions by name, number, run, source and tags, the newest of a model first after *order*.

        Raises InvalidRequest for a field that versions do not have.
        """
        with self.database.read() as connection:
            return store.search_versions(connection, where, order, without, limit, offset)

    def latest_by_stage(self, names: Sequence[str]) -> dict[str, list[ModelVersion]]:
        """Give the latest version in each stage for each of some models."""
        with self.database.read() as connection:
            return store.latest_by_stage(connection, names)

    # Recording and describing

    def record(
        self,
        name: str,
        source: str,
        *,
        tree: str | None = None,
        location: str | None = None,
        run: str | None = None,
        logged: str | None = None,
        run_link: str | None = None,
        card: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> ModelVersion:
        """Make a version of what *source* names: the model in *tree* where its files are held here, else a record only.

        A tree that is no model which can be served is a record too, which says why. Raises NotFound when there is no
        such model, and UnsafeModel when a pickle in the tree would run commands or code.
        """
        content, now = self._content(source, tree), self.clock.now()
        scan = self._scanned(name, tree, content.digest)
        draft = ModelVersion(
            name=name,
            version=0,
            digest=content.digest,
            engine=None if content.info is None else content.info.engine,
            info=content.info,
            size_bytes=content.size_bytes,
            created=now,
            unservable=content.unservable,
            source=source,
            location=location or source,
            logged=logged,
            run_link=run_link,
            run=None if run is None else str(Ref.parse(run, kind="run")),
            metrics={} if content.info is None else content.info.metrics,
            card=card,
            tags=dict(tags or {}),
        )
        with self.database.begin() as connection:
            if not registry_store.lock_model(connection, name):
                registry_store.require_model(connection, name)
            return add_version(connection, draft, now, scan=scan)

    def describe(self, name: str, version: int, card: str) -> ModelVersion:
        """Change the card of a version, of which earlier revisions are kept; raises NotFound."""
        now = self.clock.now()
        with self.database.begin() as connection:
            registry_store.lock_model(connection, name)
            found = registry_store.require_version(connection, name, version)
            if card != found.card:
                emit(connection, CardChanged(model=found.ref, revision=revise(connection, found, card, now)))
            return registry_store.require_version(connection, name, version)

    def delete_model_tag(self, name: str, key: str) -> None:
        """Remove a tag of a model; nothing when there is none. Raises NotFound for an unknown model."""
        with self.database.begin() as connection:
            model = registry_store.require_model(connection, name)
            if store.delete_model_tag(connection, name, key):
                note_untagged(connection, ref("model", name), model, key)

    def delete_version_tag(self, name: str, version: int, key: str) -> None:
        """Remove a tag of a version; nothing when there is none. Raises NotFound for an unknown version."""
        with self.database.begin() as connection:
            found = registry_store.require_version(connection, name, version)
            if store.delete_version_tag(connection, name, version, key):
                note_untagged(connection, found.ref, registry_store.require_model(connection, name), key)

    # Moving

    def point(self, name: str, alias: str, version: int) -> None:
        """Point an alias to a version: as a promotion when it is the champion's of a model with gates.

        A model has gates once they were evaluated for a version of it, or once its champion is protected; then whoever
        moves its champion or brings a version of it to production goes by them. Raises GateRefused, ApprovalNeeded,
        NotFound.
        """
        if alias == CHAMPION and self._is_gated(name):
            self.registry.promote(name, version)
        else:
            self.registry.set_alias(name, alias, version)

    def bring(self, name: str, version: int, stage: Stage, *, archive_others: bool = False) -> ModelVersion:
        """Bring a version to a stage, and the others that are there to the archive with *archive_others*.

        Raises GateRefused as `point` does, NotFound.
        """
        promoted = stage == "production" and self._is_gated(name)
        if promoted:
            self.registry.promote(name, version)
        now = self.clock.now()
        with self.database.begin() as connection:
            registry_store.lock_model(connection, name)
            found = registry_store.require_version(connection, name, version)
            others = store.versions_in_stage(connection, name, stage) if archive_others else []
            for other in others:
                if other.version != version:
                    transitions.to_stage(connection, other, "archived", f"{found.ref} came to {stage}", now)
            transitions.to_stage(connection, found, stage, "", now)
            return registry_store.require_version(connection, name, version)

    # Renaming and deleting

    def rename(self, name: str, new_name: str) -> Model:
        """Give a model another name. Lineage leads from the refs of the new name to those of the former.

        What was said by the former refs stays so: releases serve on, and gates have to be evaluated again. Raises
        NotFound, AlreadyExists.
        """
        check_free_name(new_name, "model")
        now = self.clock.now()
        with self.database.begin() as connection:
            registry_store.lock_model(connection, name)
            model = registry_store.require_model(connection, name)
            if new_name == name:
                return model
            if not registry_store.insert_model(connection, Model(name=new_name, description="", created=now)):
                raise AlreadyExists(f"Registered Model (name={new_name}) already exists", name=new_name)
            store.delete_model(connection, new_name)
            numbers = store.version_numbers(connection, name)
            store.rename_model(connection, name, new_name)
            deleted_store.rename(connection, name, new_name)
            store.give_up_numbers(connection, name, max(numbers, default=0))
            registry_store.set_model(connection, new_name, {"updated": now})
            emit(connection, ModelRenamed(model=ref("model", new_name), was=ref("model", name)))
            for number in numbers:
                emit(connection, ModelRenamed(model=ref("model", new_name, number), was=ref("model", name, number)))
            return registry_store.require_model(connection, new_name)

    def delete_model(self, name: str) -> None:
        """Delete a model with its versions, tags and aliases; raises NotFound.

        Its histories stay, and its numbers are not given again: a ref never means two versions. What is deployed is
        served on. Until it is forgotten it can be restored.
        """
        with self.database.read() as connection:
            digests = store.digests_of(connection, name)
        self._renew(digests)
        with self.database.begin() as connection:
            registry_store.lock_model(connection, name)
            model = registry_store.require_model(connection, name)
            guard.check_removal(connection, name, list(model.aliases))
            self._remove_aliases(connection, model, list(model.aliases), "the model was deleted")
            numbers = store.version_numbers(connection, name)
            store.give_up_numbers(connection, name, max(numbers, default=0))
            deleted_store.keep(connection, name, None, self.clock.now())
            store.delete_model(connection, name)
            emit(connection, ModelDeleted(model=ref("model", name), versions=len(numbers)))

    def delete_version(self, name: str, version: int) -> None:
        """Delete a version and the aliases that point to it; raises NotFound. Otherwise as `delete_model`."""
        now = self.clock.now()
        self._renew([self.registry.get_version(name, version).digest])
        with self.database.begin() as connection:
            registry_store.lock_model(connection, name)
            found = registry_store.require_version(connection, name, version)
            model = registry_store.require_model(connection, name)
            guard.check_removal(connection, name, found.aliases)
            self._remove_aliases(connection, model, found.aliases, "the version was deleted")
            store.give_up_numbers(connection, name, version)
            deleted_store.keep(connection, name, version, now)
            store.delete_version(connection, name, version)
            registry_store.set_model(connection, name, {"updated": now})
            emit(connection, ModelVersionDeleted(model=found.ref, digest=found.digest))

    # Steps

    def _scanned(self, name: str, given: str | None, digest: str | None) -> ScanReport | None:
        if given is None or digest is None:
            return None
        scan = look_through(self.database, self.registry.objects, digest)
        with self.database.read() as connection:
            # What is trusted here as it is stays so in a copy of the version.
            known = store.is_trusted(connection, {given, digest})
        if not known:
            let_pass(self.database, name, scan)
        return scan

    def _content(self, source: str, tree: str | None) -> _Content:
        if tree is None:
            return _Content(None, unservable=f"its source {source!r} names no files that are held here")
        objects = self.registry.objects
        try:
            imported = import_model(objects, tree)
        except (InvalidData, Unsupported) as error:
            size = sum(entry.size for entry in tree_entries(objects, tree))
            return _Content(tree, size, unservable=str(error))
        return _Content(imported.digest, imported.size_bytes, imported.info)

    def _remove_aliases(
        self, connection: registry_store.Connection, model: Model, aliases: Sequence[str], reason: str
    ) -> None:
        for alias in aliases:
            transitions.unpoint(connection, model, alias, reason, self.clock.now())

    def _renew(self, digests: Iterable[str | None]) -> None:
        # A collection that is under way looks at one table after the other: what moves between them must be young.
        objects = self.registry.objects
        for digest in {one for one in digests if one is not None}:
            with contextlib.suppress(NotFound, Corrupt):
                for entry in tree_entries(objects, digest):
                    objects.renew(entry.digest)
                objects.renew(digest)

    def _is_gated(self, name: str) -> bool:
        with self.database.read() as connection:
            return store.is_gated(connection, name) or guard.is_protected(connection, name, CHAMPION)
