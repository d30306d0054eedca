"""What was deleted comes back as it was, and a ref never means two things."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mainspring.core.actor import acting_as
from mainspring.core.clock import ManualClock
from mainspring.core.errors import AlreadyExists, NotFound
from mainspring.registry.catalogue.service import Catalogue
from mainspring.registry.history.service import Histories
from mainspring.registry.lifecycle.service import ModelLifecycle
from mainspring.registry.scanning.service import Scans
from mainspring.registry.service import Registry
from mainspring.retention.objects.sweeping import unreferred
from mainspring.storage.objects.store import ObjectStore, open_objects
from mainspring.storage.objects.tree import put_tree, tree_entries
from mainspring.storage.sql.database import Database
from tests.registry.graphs import columns_folder


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_objects(f"file://{tmp_path / 'objects'}")


@pytest.fixture
def registry(database: Database, objects: ObjectStore, tmp_path: Path) -> Registry:
    made = Registry(database, objects, clock=ManualClock())
    tree = put_tree(objects, columns_folder(tmp_path / "given"))
    made.create_model("m", "about it", {"team": "ads"})
    for number in (1, 2):
        made.register("m", tree, metrics={"auc": 0.9}, tags={"n": str(number)}, token=f"t{number}", trusted=number == 2)
    made.set_stage("m", 2, "production")
    made.set_alias("m", "champion", 2)
    return made


@pytest.fixture
def models(registry: Registry, reached: Callable[[ModelLifecycle], ModelLifecycle]) -> ModelLifecycle:
    return reached(ModelLifecycle(Catalogue(registry)))


def test_a_version_comes_back_as_it_was_without_its_aliases(
    registry: Registry, models: ModelLifecycle, objects: ObjectStore
) -> None:
    before = registry.get_version("m", 2)
    with acting_as("ann", "local"):
        models.delete_version("m", 2)
    with pytest.raises(NotFound):
        registry.get_version("m", 2)
    (deleted,) = models.list_deleted_models()
    assert (deleted.name, deleted.version, deleted.versions, deleted.actor) == ("m", 2, 1, "ann")
    assert registry.register("m", before.digest).version == 3, "its number is not given to another"
    restored = models.restore_version("m", 2)
    assert (restored.aliases, before.aliases) == ([], ["champion"])
    for field in ("digest", "info", "metrics", "tags", "stage", "trusted", "created", "size_bytes"):
        assert getattr(restored, field) == getattr(before, field), field
    assert Scans(registry.database, objects).get_scan("m", 2).verdict == "clean"
    assert models.list_deleted_models() == []
    with pytest.raises(NotFound, match="no version 2 of model m was deleted"):
        models.restore_version("m", 2)
    assert Histories(registry.database).state("m").stages == {1: "development", 2: "production", 3: "development"}


def test_a_model_comes_back_with_all_that_it_had(registry: Registry, models: ModelLifecycle) -> None:
    before = registry.get_model("m")
    models.delete_model("m")
    with pytest.raises(NotFound):
        registry.get_model("m")
    restored = models.restore_model("m")
    assert (restored.description, restored.tags, restored.latest) == (before.description, before.tags, before.latest)
    assert (restored.aliases, before.aliases) == ({}, {"champion": 2})
    assert [version.tags for version in registry.list_versions("m")] == [{"n": "2"}, {"n": "1"}]
    histories = Histories(registry.database)
    assert histories.state("m").stages == {1: "development", 2: "production"}
    assert [change.kind for change in histories.changes("m")][:2] == ["restored", "deleted"]


def test_a_name_that_was_given_again_is_not_taken_back(registry: Registry, models: ModelLifecycle) -> None:
    models.delete_model("m")
    registry.create_model("m")
    with pytest.raises(AlreadyExists, match="rename it first"):
        models.restore_model("m")
    models.rename_model("m", "other")
    assert models.restore_model("m").latest == 2
    assert registry.get_model("other").latest is None


def test_a_deleted_version_goes_along_when_its_model_is_renamed(registry: Registry, models: ModelLifecycle) -> None:
    models.delete_version("m", 1)
    models.rename_model("m", "n")
    assert models.restore_version("n", 1).ref == "model:n@1"


def test_what_is_forgotten_does_not_come_back(registry: Registry, models: ModelLifecycle) -> None:
    models.delete_version("m", 1)
    models.forget_deleted_model("m", 1)
    with pytest.raises(NotFound, match="list-deleted"):
        models.restore_version("m", 1)
    with pytest.raises(NotFound):
        models.forget_deleted_model("m")
    models.delete_model("m")
    models.forget_deleted_model("m")
    with pytest.raises(NotFound, match="no model m was deleted"):
        models.restore_model("m")


def test_what_can_be_restored_keeps_its_files(registry: Registry, models: ModelLifecycle, objects: ObjectStore) -> None:
    digest = registry.get_version("m", 1).digest
    models.delete_model("m")
    later = datetime.now(UTC) + timedelta(days=400)
    kept = {one.digest for one in unreferred(registry.database, objects, later)}
    assert digest not in kept
    assert not kept & {entry.digest for entry in tree_entries(objects, digest)}
    models.forget_deleted_model("m")
    free = {one.digest for one in unreferred(registry.database, objects, later)}
    assert digest in free
    assert {entry.digest for entry in tree_entries(objects, digest)} <= free
