"""One whole turn on small tables: over HTTP, with every process of the platform."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from mainspring.core.settings import Settings
from mainspring.loop.model import LoopReport
from mainspring.loop.narrator import Silent
from mainspring.loop.table import split
from mainspring.loop.turn import Request, turn
from tests.loop import tables


@pytest.fixture(scope="module")
def drifting(tmp_path_factory: pytest.TempPathFactory) -> LoopReport:
    """The document of a table whose columns come to mean the opposite halfway through the replay."""
    settings = Settings(home=tmp_path_factory.mktemp("drifting"))
    return turn(settings, split(tables.flip(3_000, at=0.65), "class", time=None), Request(name="flip"), Silent())


@pytest.mark.slow
def test_a_retrained_model_takes_over_and_pays(drifting: LoopReport) -> None:
    """Slow: it starts a platform and replays 1,800 requests."""
    assert drifting.live > drifting.frozen
    assert drifting.difference_interval[0] > 0
    assert "promoted" in {one.outcome for one in drifting.retrainings}
    assert drifting.retrainings[0].trigger in ("performance", "drift")
    assert drifting.champion_first == "model:flip@1"
    assert drifting.champion_last != drifting.champion_first


@pytest.mark.slow
def test_every_row_is_answered_once(drifting: LoopReport) -> None:
    """Slow: see above."""
    assert drifting.rows == {"earlier": 1_200, "later": 1_800}
    assert (drifting.requests.sent, drifting.requests.failed, drifting.requests.rows) == (1_800, 0, 1_800)
    assert [one.rows[0] for one in drifting.windows] == [50 * number for number in range(36)]


@pytest.mark.slow
def test_the_document_names_evidence_of_every_decision(drifting: LoopReport) -> None:
    """Slow: see above."""
    alarms = {alarm.ref for alarm in drifting.alarms}
    first = drifting.retrainings[0]
    assert alarms & set(first.evidence)
    for alarm in drifting.alarms:
        assert alarm.effect is not None
        assert alarm.effect >= alarm.threshold
        assert alarm.p_value is not None
        assert alarm.p_value <= alarm.budget
    by = {decision.by for decision in drifting.decisions}
    assert by == {"gate", "rollout"}
    gates = [one for one in drifting.decisions if one.by == "gate"]
    assert {check["name"] for check in gates[0].evidence["checks"]} >= {"better_than_champion", "holdout_rows"}
    # What serves after the change may be worse than a constant: a candidate is held against it, not against that.
    assert "not_worse_than_baseline" not in {check["name"] for check in gates[0].evidence["checks"]}
    assert len(gates) == len([one for one in drifting.retrainings if one.outcome != "failed"])
    document = msgspec.json.decode(msgspec.json.encode(drifting))
    wanted = {"dataset", "metric", "champion_first", "champion_last", "live", "frozen", "alarms", "retrainings"}
    assert wanted | {"decisions", "requests", "seconds"} <= document.keys()


@pytest.mark.slow
def test_a_prediction_leads_back_to_its_rows_and_its_run(drifting: LoopReport) -> None:
    """Slow: see above."""
    kinds = {ref.partition(":")[0] for ref in drifting.traced}
    assert kinds >= {"prediction", "release", "model", "dataset", "run"}
    assert drifting.dataset in drifting.traced


@pytest.mark.slow
def test_nothing_is_retrained_where_nothing_changes(tmp_path: Path) -> None:
    """Slow: see above."""
    table = split(tables.independent(2_000, seed=3), "class", time=None)
    report = turn(Settings(home=tmp_path), table, Request(name="still"), Silent())
    assert report.retrainings == []
    assert report.live == report.frozen
    assert report.champion_last == report.champion_first
    assert report.requests.failed == 0
