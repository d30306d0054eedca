"""A model of a hub brought into a session: downloaded here or read from a cache, then stored and registered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mainspring.registry.hub.cache import open_cache, path_of
from mainspring.registry.hub.choosing import choose
from mainspring.registry.hub.download import ENDPOINT, Hub
from mainspring.registry.hub.model import HubFile, HubRef, HubSnapshot
from mainspring.storage.objects.tree import TreeEntry, put_entries

if TYPE_CHECKING:
    from mainspring.registry.hub.service import HubModels
    from mainspring.registry.model import ModelVersion
    from mainspring.storage.objects.store import ObjectStore

CARD = "README.md"
_MAX_CARD_BYTES = 4 << 20


def import_hub_model(
    objects: ObjectStore,
    models: HubModels,
    name: str,
    source: str | Path,
    kept: Path,
    endpoint: str | None,
    token: str | None,
    include: Sequence[str],
    exclude: Sequence[str],
) -> ModelVersion:
    """Register the model that *source* names; *kept* is the folder below which downloads are kept."""
    if isinstance(source, str) and source.startswith("hf:"):
        with Hub(endpoint or ENDPOINT, token) as hub:
            snapshot = hub.snapshot(HubRef.parse(source))
            files = choose(snapshot.files, include, exclude)
            folder = hub.fetch(snapshot, files, kept / "hub")
        # The digests by which the cache keeps files are those that were checked.
        here = {file.path: file for file in open_cache(folder, snapshot.commit).files}
        files = [here[file.path] for file in files]
    else:
        path, _, revision = str(source).partition("@")
        folder = Path(path).absolute()
        snapshot = open_cache(folder, revision or None)
        files = choose(snapshot.files, include, exclude)
    return _register(objects, models, name, folder, snapshot, files)


def _register(
    objects: ObjectStore, models: HubModels, name: str, folder: Path, snapshot: HubSnapshot, files: list[HubFile]
) -> ModelVersion:
    from mainspring.registry.cards.front_matter import facts_of

    entries, card = [], ""
    for file in files:
        path = path_of(folder, snapshot, file)
        size = path.stat().st_size
        entries.append(TreeEntry(file.path, objects.put_file(path), size))
        if file.path == CARD and size <= _MAX_CARD_BYTES:
            card = path.read_text(encoding="utf-8", errors="replace").replace("\0", "")
    facts = facts_of(card)
    licence = snapshot.licence or facts.get("license_name") or facts.get("license")
    tags = {"license": licence} if licence else {}
    return models.register_hub_model(name, put_entries(objects, entries), snapshot.origin, card, tags)
