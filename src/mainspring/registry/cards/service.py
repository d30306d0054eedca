"""The verbs of cards: write one from what is known, edit it, read any revision of it; and the files of a version."""

from __future__ import annotations

from collections.abc import Callable

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import InvalidData, InvalidRequest, NotFound
from mainspring.core.operations import operation
from mainspring.registry import store as registry_store
from mainspring.registry.cards import store
from mainspring.registry.cards.events import CardChanged
from mainspring.registry.cards.front_matter import check_front_matter
from mainspring.registry.cards.model import Card, FileEntry, Runs
from mainspring.registry.cards.writing import write_card
from mainspring.registry.model import ModelVersion
from mainspring.registry.scanning import store as scan_store
from mainspring.storage.objects.store import ObjectStore
from mainspring.storage.objects.tree import tree_entries
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit

MAX_CARD_CHARS = 1_000_000


class Cards:
    """What versions say of themselves: Markdown with YAML front matter, every revision kept."""

    def __init__(
        self, database: Database, objects: ObjectStore, runs: Runs | None = None, clock: Clock | None = None
    ) -> None:
        self.database, self.objects, self.runs, self.clock = database, objects, runs, clock or SystemClock()

    @operation("GET /models/{name}/versions/{version}/card")
    def get_card(self, name: str, version: int, revision: int | None = None) -> Card:
        """Get the card of a version, or an earlier revision of it; raises NotFound, also when it has none."""
        for card in self.list_cards(name, version):
            if revision in (None, card.revision):
                return card
        which = "no card" if revision is None else f"no card of revision {revision}"
        raise NotFound(
            f"model:{name}@{version} has {which}; `mainspring model make-card {name} {version}` writes one from what "
            "is known of it"
        )

    @operation("GET /models/{name}/versions/{version}/cards")
    def list_cards(self, name: str, version: int) -> list[Card]:
        """List the revisions of a version's card, the newest first; raises NotFound for an unknown version."""
        with self.database.read() as connection:
            return store.revisions_of(connection, registry_store.require_version(connection, name, version))

    @operation("PUT /models/{name}/versions/{version}/card")
    def set_card(self, name: str, version: int, text: str) -> Card:
        """Give a version another card; the text that it has already changes nothing.

        Raises NotFound, InvalidData for front matter that is no YAML mapping, InvalidRequest when it is too long.
        """
        if len(text) > MAX_CARD_CHARS:
            raise InvalidRequest(f"a card has at most {MAX_CARD_CHARS} characters; this one has {len(text)}")
        if (wrong := check_front_matter(text)) is not None:
            raise InvalidData(f"the card's front matter, between the first two lines of ---, {wrong}")
        return self._revise(name, version, lambda found: text)

    @operation("POST /models/{name}/versions/{version}/card/make")
    def make_card(self, name: str, version: int) -> Card:
        """Write the card of a version from what is known: run, data, parameters, metrics, signature, files, licence.

        What only people know is named as to be written; what they wrote already stays. Raises NotFound.
        """
        with self.database.read() as connection:
            found = registry_store.require_version(connection, name, version)
            model = registry_store.require_model(connection, name)
            scan = scan_store.find(connection, name, version, found.ref)
            reports = registry_store.reports_of(connection, name, version, 1)
        run = None if self.runs is None or found.run is None else self.runs.facts(found.run)
        files = self._files(found)
        report = reports[0] if reports else None
        return self._revise(name, version, lambda now: write_card(model, now, files, run, scan, report))

    @operation("GET /models/{name}/versions/{version}/files")
    def list_files(self, name: str, version: int) -> list[FileEntry]:
        """List the files of a version with their digests; none when they are not held here. Raises NotFound."""
        with self.database.read() as connection:
            found = registry_store.require_version(connection, name, version)
        return self._files(found)

    def _files(self, version: ModelVersion) -> list[FileEntry]:
        if version.digest is None:
            return []
        entries = tree_entries(self.objects, version.digest)
        return [FileEntry(path=entry.path, digest=entry.digest, size=entry.size) for entry in entries]

    def _revise(self, name: str, version: int, write: Callable[[ModelVersion], str]) -> Card:
        with self.database.begin() as connection:
            registry_store.lock_model(connection, name)
            found = registry_store.require_version(connection, name, version)
            text = write(found)
            if text != found.card:
                revision = store.revise(connection, found, text, self.clock.now())
                emit(connection, CardChanged(model=found.ref, revision=revision))
                found = registry_store.require_version(connection, name, version)
            return store.revisions_of(connection, found)[0]
