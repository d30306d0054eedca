"""The past of a model is told as it was, whatever it is called now and whatever was deleted since."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mainspring.core.actor import acting_as
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.registry.catalogue.service import Catalogue
from mainspring.registry.history.service import Histories
from mainspring.registry.service import Registry
from mainspring.storage.objects.store import open_objects
from mainspring.storage.sql.database import Database


@pytest.fixture
def registry(database: Database, tmp_path: Path) -> Registry:
    return Registry(database, open_objects(f"file://{tmp_path / 'objects'}"))


@pytest.fixture
def catalogue(registry: Registry) -> Catalogue:
    made = Catalogue(registry)
    for name in ("m", "m@", "ma", "m2"):  # What lies beside it in any order must not come in.
        if "@" not in name:
            registry.create_model(name)
            made.record(name, "s3://bucket/1")
    return made


@pytest.fixture
def histories(database: Database, reached: Callable[[Histories], Histories]) -> Histories:
    return reached(Histories(database))


def pointing(histories: Histories, name: str, at: datetime | None = None) -> dict[str, int]:
    return {alias: one.version for alias, one in histories.state(name, at).aliases.items()}


def test_an_alias_is_known_at_every_moment(registry: Registry, catalogue: Catalogue, histories: Histories) -> None:
    catalogue.record("m", "s3://bucket/2")
    with acting_as("ann", "http 127.0.0.1"):
        registry.set_alias("m", "champion", 1, "the first")
    with acting_as("bob", "mlflow 127.0.0.1"):
        catalogue.point("m", "champion", 2)
    with acting_as("ann", "local"):
        registry.set_alias("m", "best", 1)
        registry.delete_alias("m", "champion", "none is good")
    moves = [change for change in histories.changes("m") if change.kind == "alias"]
    assert [(one.alias, one.version, one.previous, one.actor, one.origin) for one in moves] == [
        ("champion", None, 2, "ann", "local"),
        ("best", 1, None, "ann", "local"),
        ("champion", 2, 1, "bob", "mlflow 127.0.0.1"),
        ("champion", 1, None, "ann", "http 127.0.0.1"),
    ]
    removed, best, second, first = moves
    assert pointing(histories, "m", first.at - timedelta(microseconds=1)) == {}
    assert pointing(histories, "m", first.at) == {"champion": 1}
    assert pointing(histories, "m", second.at - timedelta(microseconds=1)) == {"champion": 1}
    assert pointing(histories, "m", second.at) == {"champion": 2}
    assert pointing(histories, "m", best.at) == {"champion": 2, "best": 1}
    assert pointing(histories, "m", removed.at) == pointing(histories, "m") == {"best": 1}
    was = histories.state("m", second.at).aliases["champion"]
    assert (was.since, was.actor, was.origin) == (second.at, "bob", "mlflow 127.0.0.1")


def test_stages_are_known_at_every_moment(registry: Registry, catalogue: Catalogue, histories: Histories) -> None:
    registry.set_stage("m", 1, "production", "by hand")
    catalogue.record("m", "s3://bucket/2")
    catalogue.bring("m", 2, "production", archive_others=True)
    changes = histories.changes("m")
    first = next(change for change in changes if change.reason == "by hand")
    assert histories.state("m", first.at).stages == {1: "production"}
    assert histories.state("m").stages == {1: "archived", 2: "production"}
    assert {change.what for change in histories.changes("m", first.at)} == {
        "model:m@1 was registered",
        "model:m@1 came from development to production",
    }


def test_a_promotion_is_told_with_what_it_went_by(
    registry: Registry, catalogue: Catalogue, histories: Histories
) -> None:
    registry.promote("m", 1, force="nobody else")
    moved = next(change for change in histories.changes("m") if change.kind == "alias")
    assert (moved.alias, moved.version, moved.reason) == ("champion", 1, "forced: nobody else")
    assert histories.state("m").stages == {1: "production"}


def test_what_was_deleted_was_there(registry: Registry, catalogue: Catalogue, histories: Histories) -> None:
    registry.set_alias("m", "champion", 1)
    before = datetime.now(UTC)
    catalogue.delete_version("m", 1)
    assert (histories.state("m").stages, pointing(histories, "m")) == ({}, {})
    catalogue.delete_model("m")
    assert (histories.state("m", before).stages, pointing(histories, "m", before)) == (
        {1: "development"},
        {"champion": 1},
    )


def test_a_model_keeps_its_past_when_it_is_renamed(
    registry: Registry, catalogue: Catalogue, histories: Histories
) -> None:
    registry.set_alias("m", "champion", 1)
    before = datetime.now(UTC)
    catalogue.rename("m", "n")
    registry.create_model("m")
    catalogue.record("m", "s3://bucket/new")
    registry.set_alias("n", "next", 1)
    assert (pointing(histories, "n"), histories.state("n").known_as) == ({"champion": 1, "next": 1}, "n")
    was = histories.state("n", before)
    assert (was.known_as, was.aliases["champion"].version) == ("m", 1)
    assert (histories.state("m").aliases, histories.state("m").stages) == ({}, {2: "development"})
    assert pointing(histories, "m", before) == {"champion": 1}
    assert [change.kind for change in histories.changes("n")] == ["alias", "renamed", "alias", "registered"]


def test_times_without_a_zone_are_in_utc(catalogue: Catalogue, histories: Histories) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    assert histories.state("m", now).stages == {1: "development"}


def test_what_never_was_is_not_found(catalogue: Catalogue, histories: Histories) -> None:
    with pytest.raises(NotFound, match="nothing happened to a model nobody"):
        histories.changes("nobody")
    with pytest.raises(NotFound, match="up to 2001-01-01"):
        histories.state("m", datetime(2001, 1, 1, tzinfo=UTC))
    with pytest.raises(InvalidRequest):
        histories.changes("m", limit=0)
