"""One journey over the platform, the same wherever it runs: from rows to what serves, back, and up the lineage."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from mainspring.core.errors import NotFound
from mainspring.core.settings import Settings
from mainspring.features.model import Feature
from mainspring.loop.retraining import PIPELINE, Plan
from mainspring.pipelines.model import Job
from mainspring.planes.up import environment
from mainspring.registry.gate_model import GatePolicy
from tests.planes.platforms import Opened, opened, opened_here

__all__ = ["opened"]

# Here a canary need not be better, nor the machine quick.
LENIENT = GatePolicy(margin=-1.0, beat_baseline=False, max_p99_ms=None, max_memory_bytes=None)


def orders(rows: int = 400) -> pl.DataFrame:
    chance = np.random.default_rng(7)
    amount = chance.normal(size=rows)
    late = amount + 0.4 * chance.normal(size=rows) > 0
    return pl.DataFrame(
        {
            "customer": [f"c{number % 40}" for number in range(rows)],
            "amount": amount,
            "carrier": chance.choice(["sea", "air", "rail"], rows),
            "late": pl.Series(np.where(late, "yes", "no")),
        }
    )


def turned(opened: Opened, dataset: str, token: str) -> Job:
    """A turn of the pipeline, run to its end."""
    plan = Plan(name="orders", target="late", dataset=dataset, key="customer", recent=200, gate=LENIENT)
    pipelines = opened.session.pipelines
    job = pipelines.start(PIPELINE, msgspec.to_builtins(plan), token=token)
    assert pipelines.start(PIPELINE, msgspec.to_builtins(plan), token=token).id == job.id
    opened.run_jobs()
    found = pipelines.get(job.id)
    assert (found.status, found.error) == ("done", None)
    return found


def journey(opened: Opened) -> None:
    session = opened.session
    version = session.import_dataset("orders", orders(), check=False)
    assert (version.ref, version.rows) == ("dataset:orders@1", 400)
    assert session.import_dataset("orders", orders(), check=False).ref == version.ref
    assert session.datasets.check("orders", 1).passed

    first = turned(opened, version.ref, "first")
    assert first.step("release").result["outcome"] == "deployed"
    model = session.registry.resolve("model:orders@champion")
    assert (model.ref, model.stage, model.dataset) == ("model:orders@1", "production", "dataset:orders-training@1")
    assert [report.ref for report in session.registry.list_reports("orders", 1)] == [
        first.step("gate").result["report"]
    ]
    assert serves(opened) == ("release:orders@1", "model:orders@1", None)

    second = turned(opened, version.ref, "second")
    assert second.step("release").result["outcome"] == "canary"
    assert serves(opened) == ("release:orders@1", "model:orders@1", "release:orders@2")
    session.releases.promote_canary("orders", "release:orders@2", reason="as good")
    assert serves(opened) == ("release:orders@2", "model:orders@2", None)
    session.releases.rollback("orders", reason="not so good after all")
    assert serves(opened) == ("release:orders@1", "model:orders@1", None)
    assert session.registry.resolve("model:orders@2").stage == "rolled_back"
    assert [change.action for change in session.releases.history("orders")][:2] == ["rolled_back", "canary_promoted"]

    above = {edge.source for edge in session.trace("release:orders@1").edges}
    assert {"model:orders@1", "dataset:orders@1", "dataset:orders-training@1", model.run} <= above
    below = {edge.target for edge in session.trace("dataset:orders@1", "down").edges}
    assert {"model:orders@1", "model:orders@2", "release:orders@2"} <= below
    kinds = [event.kind for event in session.lineage.events("release:orders@2")]
    assert {"ReleaseCreated", "CanaryStarted", "CanaryPromoted"} <= set(kinds)
    with pytest.raises(NotFound, match="no event names model:orders@9"):
        session.trace("model:orders@9")


def serves(opened: Opened) -> tuple[str, str, str | None]:
    """What the data plane is told to serve; the registry of releases says the same."""
    (endpoint,) = opened.served().endpoints
    status = opened.session.releases.get("orders")
    published = (endpoint.stable.release, endpoint.stable.model, endpoint.canary and endpoint.canary.release)
    assert published == (status.stable, status.model, status.canary)
    return published


def features(opened: Opened) -> None:
    """A feature view of the orders, read back from the online store."""
    rows = orders().with_columns(at=pl.datetime(2024, 1, 1) + pl.duration(hours=pl.int_range(400)))
    opened.session.import_dataset("history", rows, check=False, key=["customer", "at"], time="at")
    view = opened.session.features.define(
        "spending", "dataset:history", ["customer"], "at", [Feature(name="amount", column="amount")]
    )
    opened.session.features.materialise("spending", view.version)
    (row,) = opened.session.features.read_online("spending", view.version, [["c3"]])
    last = rows.filter(pl.col("customer") == "c3").sort("at")["amount"][-1]
    assert row.values is not None and row.values["amount"] == pytest.approx(last)


@pytest.mark.slow  # Two trainings in a process of their own.
def test_the_journey_is_the_same_wherever_the_platform_runs(opened: Opened) -> None:
    journey(opened)
    features(opened)


@pytest.mark.slow  # Two trainings in a process of their own, with every byte over HTTP.
def test_the_journey_on_s3_postgresql_and_redis_needs_only_other_urls(
    s3_url: str, postgresql_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, query = s3_url.split("?")
    settings = Settings(
        home=str(tmp_path),
        database_url=postgresql_url,
        objects_url=f"{bucket}objects?{query}",
        tables_url=f"{bucket}tables?{query}",
        kv_url=redis_url,
        policy_interval_s=0,
    )
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    with opened_here(settings) as made:
        journey(made)
        features(made)
        kept = {path.name for path in made.home.iterdir()}
    assert kept <= {"models", "snapshots", "spool"}, "what is kept is elsewhere"
