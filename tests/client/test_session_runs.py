"""Runs that a session logs to: here and at a distance, through outages, and beyond the end of the session."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mainspring
from mainspring.client.session import Session, connect
from mainspring.core.errors import InvalidRequest, NotFound
from tests.client.control import Control

READY_WITHIN_S = 60.0


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the setting ``cache`` says."""
    monkeypatch.setenv("MAINSPRING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    """A control plane that is not started yet."""
    made = Control(tmp_path / "home")
    yield made
    made.kill()


def waiting(spool: Path) -> list[Path]:
    """What has not arrived yet."""
    return [path for path in spool.rglob("*.*") if path.is_dir() and (path / "log").is_dir()]


def log_all(session: Session) -> str:
    with session.start_run("churn", "first", params={"depth": 3}, tags={"team": "ads"}) as run:
        run.log_metrics({"loss": 0.5}, step=1)
        run.log_metric("loss", 0.25, step=2)
        run.log_param("rate", 0.1)
    return run.run


def check_all(session: Session, run: str) -> None:
    details = session.tracking.get_run(run)
    assert (details.run.name, details.run.status) == ("first", "finished")
    assert details.params == {"depth": "3", "rate": "0.1"}
    assert details.tags["team"] == "ads"
    assert session.tracking.metric_history(run, "loss").values == [0.5, 0.25]


def test_a_run_is_logged_in_this_process(tmp_path: Path) -> None:
    with mainspring.open(str(tmp_path / "home")) as session:
        check_all(session, log_all(session))
        assert waiting(tmp_path / "home" / "run-spool") == []


def test_a_run_is_logged_at_a_distance_and_an_outage_in_the_middle_loses_nothing(cache: Path, control: Control) -> None:
    control.start()
    with mainspring.connect(control.url) as session:
        check_all(session, log_all(session))
        run = session.start_run("churn")
        for step in range(400):
            run.log_metric("loss", float(step), step)
        assert run.flush()
        control.kill()
        for step in range(400, 800):
            run.log_metric("loss", float(step), step)
        assert not run.flush(timeout_s=0.2)
        control.start()
        assert run.end(timeout_s=60.0)
        history = session.tracking.metric_history(run.run, "loss")
        assert history.steps == list(range(800))
        assert session.tracking.get_run(run.run).run.status == "finished"
    assert waiting(cache) == []


def test_what_nobody_took_before_the_session_closed_is_sent_by_the_next(cache: Path, control: Control) -> None:
    away = mainspring.connect(control.url)
    run = away.start_run("churn", params={"depth": 3})
    run.log_metric("loss", 1.0)
    assert not run.end(timeout_s=0.1)
    away.close()
    assert len(waiting(cache)) == 1
    control.start()
    with mainspring.connect(control.url) as session:
        with session.start_run("churn"):
            pass
        _until(lambda: _is_known(session, run.run))
        _until(lambda: waiting(cache) == [])
        assert session.tracking.get_run(run.run).run.status == "finished"
        assert session.tracking.metric_history(run.run, "loss").values == [1.0]


@pytest.mark.parametrize(("error", "status"), [(None, "finished"), (ValueError("x"), "failed")])
def test_a_session_that_closes_ends_the_runs_that_it_started(
    tmp_path: Path, error: Exception | None, status: str
) -> None:
    home = str(tmp_path / "home")
    try:
        with mainspring.open(home) as session:
            run = session.start_run("churn")
            other = session.start_run("churn")
            other.close()
            if error is not None:
                raise error
    except ValueError:
        pass
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("run-")] == []
    with mainspring.open(home) as session:
        assert session.tracking.get_run(run.run).run.status == status
        assert session.tracking.get_run(other.run).run.status == "running"


def test_each_control_plane_has_a_folder_of_its_own_without_the_password_in_its_name(tmp_path: Path) -> None:
    places = ["http://ml:7700", "http://ml:7701", "https://ml:7700", "http://me:secret@ml:7700", "http://ML:7700/"]
    for place in places:
        session = connect(place, str(tmp_path))
        session.start_run("churn").end(timeout_s=0.0)
        session.close()
    folders = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(folders) == 3
    assert not any("secret" in name or "me-" in name for name in folders)


def test_a_name_that_cannot_be_is_refused_before_anything_is_logged(tmp_path: Path) -> None:
    with mainspring.open(str(tmp_path / "home")) as session:
        with pytest.raises(InvalidRequest, match="experiment"):
            session.start_run("not a name")
        assert waiting(tmp_path) == []


def _is_known(session: Session, run: str) -> bool:
    try:
        return session.tracking.get_run(run).run.status == "finished"
    except NotFound:
        return False


def _until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
