"""What the control plane does by itself: it takes in, follows what is served, decides, and makes good after a crash."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mainspring.core.actor import acting_as
from mainspring.core.errors import InvalidData
from mainspring.core.settings import Settings
from mainspring.monitoring.events import DriftDetected
from mainspring.pipelines.model import Pipeline, Step
from mainspring.planes.background import Background
from mainspring.planes.embedded import Platform
from mainspring.runtime.snapshots import Watcher
from mainspring.runtime.spool import SpoolWriter
from mainspring.runtime.telemetry.metrics import Metrics
from mainspring.serving.model import decode_state
from mainspring.storage.sql.journal import emit
from mainspring.triggers.model import Policy, ScheduleRule
from tests.holds.running import eventually
from tests.predictions import facts
from tests.serving import models


@pytest.fixture
def platform(database_url: str, tmp_path: Path) -> Iterator[Platform]:
    settings = Settings(
        home=str(tmp_path / "home"), database_url=database_url, ingest_interval_s=0.02, policy_interval_s=0.02
    )
    with Platform(settings) as opened:
        assert isinstance(opened, Platform)
        yield opened


@contextmanager
def running(platform: Platform, metrics: Metrics | None = None) -> Iterator[Background]:
    background = Background(platform, metrics or Metrics())
    background.start()
    try:
        yield background
    finally:
        background.stop()


def register(platform: Platform, folder: Path, number: int) -> str:
    model = models.sum_model(folder / f"m{number}", number) / "model.onnx"
    return platform.import_model("sums", model, token=f"m{number}").ref


def champion(platform: Platform) -> str | None:
    version = platform.registry.get_model("sums").aliases.get("champion")
    return None if version is None else f"model:sums@{version}"


def test_the_champion_follows_what_is_served_to_all(platform: Platform, tmp_path: Path) -> None:
    first, second = (register(platform, tmp_path, number) for number in (1, 2))
    with running(platform):
        platform.releases.deploy("sums", first)
        eventually(lambda: champion(platform) == first)
        canary = platform.releases.deploy("sums", second, canary=0.1)
        platform.releases.promote_canary("sums", canary.ref)
        eventually(lambda: champion(platform) == second)
        platform.releases.rollback("sums")
        eventually(lambda: champion(platform) == first)
    moves = platform.registry.alias_history("sums", "champion")
    assert "serves sums" in moves[0].reason


def test_an_event_that_was_overtaken_changes_nothing(platform: Platform, tmp_path: Path) -> None:
    first, second = (register(platform, tmp_path, number) for number in (1, 2))
    platform.releases.deploy("sums", first)
    platform.releases.deploy("sums", second)
    background = Background(platform, Metrics())
    oldest, newest = reversed(platform.lineage.events(kind="ReleaseDeployed"))
    background.follow(newest)
    assert champion(platform) == second
    background.follow(oldest)
    assert champion(platform) == second
    background.follow(newest)
    assert len(platform.registry.alias_history("sums", "champion")) == 1


def test_a_protected_champion_stays_and_what_serves_is_a_request(platform: Platform, tmp_path: Path) -> None:
    first, second = (register(platform, tmp_path, number) for number in (1, 2))
    platform.registry.set_alias("sums", "champion", 1)
    platform.promotions.protect("sums", "champion", approvals=1)
    platform.releases.deploy("sums", second)
    (deployed,) = platform.lineage.events(kind="ReleaseDeployed")
    background = Background(platform, Metrics())
    for _ in range(2):
        background.follow(deployed)
    assert champion(platform) == first
    assert platform.registry.get_version("sums", 2).stage == "production", "what is served is in production"
    (request,) = platform.promotions.list_requests("sums")
    assert (request.version, "serves sums" in request.reason) == (2, True)
    with acting_as("somebody else", "local"):
        platform.promotions.approve("sums", 2)
    assert champion(platform) == second


def test_events_from_while_it_was_down_are_followed_after_the_start(platform: Platform, tmp_path: Path) -> None:
    first = register(platform, tmp_path, 1)
    platform.releases.deploy("sums", first)
    assert champion(platform) is None
    with running(platform):
        eventually(lambda: champion(platform) == first)


def test_what_the_data_plane_wrote_is_taken_in_and_counted(platform: Platform) -> None:
    metrics = Metrics()
    writer = SpoolWriter(platform.home / "spool" / "data-1")
    with running(platform, metrics):
        one = facts.item()
        writer.append_many([facts.batch(one), facts.label(one.id, "yes")])
        eventually(lambda: msgspec.to_builtins(platform.predictions.log_counts("churn")) == {
            "predictions": 1, "labels": 1
        })  # fmt: skip
        eventually(lambda: b'mainspring_ingested_total{kind="label"} 1' in metrics.render())
    writer.close()


def test_a_start_publishes_again_what_is_served(platform: Platform, tmp_path: Path) -> None:
    platform.releases.deploy("sums", register(platform, tmp_path, 1))
    for file in (platform.home / "snapshots").glob("*.snap"):
        file.unlink()
    (platform.home / "snapshots" / "current").unlink()
    shutil.rmtree(platform.home / "models")
    with running(platform):
        snapshot = Watcher(platform.home / "snapshots").current()
        assert snapshot is not None
        (endpoint,) = decode_state(snapshot.payload).endpoints
        assert Path(endpoint.stable.path).is_dir()


def test_rollouts_are_looked_at(platform: Platform, tmp_path: Path) -> None:
    first, second = (register(platform, tmp_path, number) for number in (1, 2))
    platform.releases.deploy("sums", first)
    rollout = platform.rollouts.start("sums", second)
    with running(platform):
        # Only a look finds out that somebody took the canary away by hand.
        platform.releases.drop_canary("sums", rollout.release)
        eventually(lambda: platform.rollouts.active() == [])


def schedule(platform: Platform, endpoint: str) -> None:
    pipeline = Pipeline("again", [Step(name="only", function="json:dumps")])
    policy = Policy(pipeline=pipeline, drift=None, performance=None, schedule=ScheduleRule(every_s=0.01))
    platform.triggers.set_policy(endpoint, policy)


def test_triggers_fire_and_start_their_pipeline(platform: Platform, tmp_path: Path) -> None:
    platform.releases.deploy("sums", register(platform, tmp_path, 1))
    schedule(platform, "sums")
    with running(platform):
        firing = eventually(lambda: next(iter(platform.triggers.firings("sums")), None))
        assert firing.trigger == "schedule"
        eventually(lambda: [job.pipeline for job in platform.pipelines.list()][:1] == ["again"])


def test_triggers_that_fail_do_not_keep_rollouts_waiting(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Any:
        raise InvalidData("a policy makes no sense")

    monkeypatch.setattr(platform.triggers, "tick", broken)
    first, second = (register(platform, tmp_path, number) for number in (1, 2))
    platform.releases.deploy("sums", first)
    rollout = platform.rollouts.start("sums", second)
    with running(platform):
        platform.releases.drop_canary("sums", rollout.release)
        eventually(lambda: platform.rollouts.active() == [])
    assert "triggers failed 1 times in a row" in caplog.text
    assert "a policy makes no sense" in caplog.text


def test_an_alarm_is_decided_upon_at_once(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platform.settings = msgspec.structs.replace(platform.settings, policy_interval_s=3600)
    ticks: list[int] = []
    drift = DriftDetected(
        endpoint="endpoint:sums", release="release:sums@1", report="report:r", alarms=["alarm:a"], columns=["a"]
    )
    monkeypatch.setattr(platform.triggers, "tick", lambda: ticks.append(1))
    with running(platform):
        eventually(lambda: ticks)
        with platform.database.begin() as connection:
            emit(connection, drift)
        eventually(lambda: len(ticks) == 2, "the next look is an hour away", within_s=20)


def test_without_an_interval_policies_are_only_looked_at_on_request(platform: Platform, tmp_path: Path) -> None:
    platform.settings = msgspec.structs.replace(platform.settings, policy_interval_s=0)
    first = register(platform, tmp_path, 1)
    platform.releases.deploy("sums", first)
    schedule(platform, "sums")
    with running(platform):
        eventually(lambda: champion(platform) == first)
        assert platform.triggers.firings("sums") == []


@pytest.mark.parametrize("after_s", [0.0, 0.1])
def test_what_was_deleted_goes_by_itself_only_where_that_is_set(tmp_path: Path, after_s: float) -> None:
    settings = Settings(home=str(tmp_path / "home"), policy_interval_s=0, garbage_after_s=after_s)
    with Platform(settings) as platform:
        assert isinstance(platform, Platform)
        run = platform.tracking.create_run("e").id
        platform.runs.delete_run(run)
        with running(platform) as background:
            if after_s:
                eventually(lambda: platform.tracking.search_runs(lifecycle="deleted").runs == [], "it is still there")
            assert ("garbage" in [timer.name for timer in background._scheduler.timers()]) == bool(after_s)
        assert len(platform.tracking.search_runs(lifecycle="deleted").runs) == (0 if after_s else 1)
