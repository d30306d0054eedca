"""A platform for testing is emptied whole and fast, and no platform that holds data can ever be one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import polars as pl
import pytest

from mainspring.core.errors import Conflict, InvalidRequest
from mainspring.core.settings import Settings
from mainspring.planes.embedded import Platform
from mainspring.planes.emptying import Emptying
from mainspring.planes.testing_home import claim, is_claimed, unclaim
from mainspring.runtime.snapshots import Watcher
from mainspring.runtime.spool import SpoolWriter
from mainspring.serving.model import decode_state
from mainspring.storage.sql.database import open_database
from tests.predictions import facts
from tests.serving import models


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    url = database_url if database_url.startswith("postgresql") else ""
    return Settings(home=str(tmp_path / "home"), database_url=url)


@pytest.fixture
def emptying(settings: Settings) -> Iterator[Emptying]:
    claim(settings)
    with Platform(settings) as platform:
        assert isinstance(platform, Platform)
        yield Emptying(platform)


def fill(platform: Platform, folder: Path) -> list[str]:
    """Something of every kind; gives the refs that were made."""
    trips = platform.import_dataset("trips", pl.DataFrame({"key": [1, 2], "x": [0.5, 1.5]}), key="key")
    run = platform.tracking.create_run("sums")
    platform.tracking.put_artifact(run.id, "a/b.txt", b"x")
    model = platform.import_model("sums", models.sum_model(folder / "sums", 1) / "model.onnx", run=run.id)
    release = platform.releases.deploy("sums", model.ref)
    platform.kv.put_many([(b"key", b"value")])
    writer = SpoolWriter(platform.home / "spool" / "before")
    writer.append_many([facts.batch(facts.item(), endpoint="sums")])
    writer.close()
    platform.predictions.ingest()
    return [trips.ref, model.ref, release.ref]


def test_everything_is_gone_and_can_be_made_again_under_the_same_names(emptying: Emptying, tmp_path: Path) -> None:
    platform = emptying.platform
    made = fill(platform, tmp_path)
    for _ in range(2):
        emptying.empty()
        assert platform.datasets.list() == platform.releases.list() == platform.registry.list_models() == []
        assert [found.name for found in platform.tracking.list_experiments()] == ["Default"]
        assert platform.tracking.search_runs().runs == []
        assert list(platform.objects.list()) == list(platform.kv.scan()) == []
        assert not platform.tables.exists("log/sums")
        state = Watcher(platform.home / "snapshots").current()
        assert state is not None and decode_state(state.payload).endpoints == []
        assert fill(platform, tmp_path) == made
        state = Watcher(platform.home / "snapshots").current()
        assert state is not None and [found.name for found in decode_state(state.payload).endpoints] == ["sums"]
        assert platform.predictions.log_counts("sums").predictions == 1


def test_what_waited_in_the_spool_does_not_come_after(emptying: Emptying, tmp_path: Path) -> None:
    platform = emptying.platform
    fill(platform, tmp_path)
    writer = SpoolWriter(platform.home / "spool" / "data-1")
    writer.append_many([facts.batch(facts.item(), endpoint="sums")])
    emptying.empty()
    assert platform.predictions.ingest().predictions == 0
    writer.append_many([facts.batch(facts.item(), endpoint="sums")])
    writer.close()
    assert platform.predictions.ingest().predictions == 1


def test_it_takes_a_moment(emptying: Emptying, tmp_path: Path) -> None:
    took = []
    for _ in range(3):
        fill(emptying.platform, tmp_path)
        started = time.perf_counter()
        emptying.empty()
        took.append(time.perf_counter() - started)
    # 50 ms where nothing else runs on the machine.
    assert min(took) < 0.15


def test_only_what_was_claimed_for_testing_can_be_emptied(settings: Settings) -> None:
    with Platform(settings) as platform:
        assert isinstance(platform, Platform)
        with pytest.raises(Conflict, match="not one for testing"):
            Emptying(platform)
    with pytest.raises(Conflict, match="holds data"):
        claim(settings)
    assert not is_claimed(settings)


def test_a_claimed_home_may_be_started_again_until_it_is_used_for_real(settings: Settings) -> None:
    claim(settings)
    Platform(settings).close()
    claim(settings)
    unclaim(Path(settings.home))
    with pytest.raises(Conflict, match="holds data"):
        claim(settings)


def test_a_database_with_tables_is_refused(settings: Settings, tmp_path: Path) -> None:
    other = msgspec.structs.replace(settings, home=str(tmp_path / "other"))
    if not settings.database_url:
        other = msgspec.structs.replace(other, database_url=f"sqlite:///{tmp_path / 'held.db'}")
    held = open_database(other.database_url)
    held.create_all()
    held.close()
    with pytest.raises(Conflict, match=r"the database .* holds data"):
        claim(other)


@pytest.mark.parametrize("name", ["objects_url", "tables_url", "kv_url"])
def test_stores_outside_of_the_home_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest, match=name):
        claim(Settings(home=str(tmp_path / "home"), **{name: "s3://bucket/prefix"}))  # type: ignore[arg-type]
