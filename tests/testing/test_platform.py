"""`mainspring.testing.server` runs a platform that any client's tests can empty, and that leaves nothing behind."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from pathlib import Path

import httpx2
import psutil
import pytest

import mainspring
from mainspring.core.errors import Unavailable
from mainspring.testing import Server, server

pytest_plugins = ["mainspring.testing.fixtures"]


def test_a_client_finds_it_empty_after_a_reset(mainspring_server: Server) -> None:
    for _ in range(3):
        with mainspring.connect(mainspring_server.url) as session:
            assert [found.name for found in session.tracking.list_experiments()] == ["Default"]
            session.tracking.create_experiment("mine")
            session.tracking.create_run("mine")
        mainspring_server.reset()


def test_it_serves_and_stops_serving(mainspring_server: Server, tmp_path: Path) -> None:
    from tests.serving import models

    for _ in range(2):
        with mainspring.connect(mainspring_server.url) as session:
            model = session.import_model("sums", models.sum_model(tmp_path / "m", 1) / "model.onnx")
            session.releases.deploy("sums", model.ref)
        where = f"{mainspring_server.data_url}/v2/models/sums/ready"
        assert httpx2.get(where).status_code == 200
        mainspring_server.reset()
        deadline = time.monotonic() + 30
        while httpx2.get(where).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_every_test_begins_with_an_empty_platform(mainspring_server: Server) -> None:
    assert httpx2.get(f"{mainspring_server.url}/experiments").json()[0]["name"] == "Default"
    assert httpx2.get(f"{mainspring_server.url}/models").json() == []


def test_nothing_is_left_when_the_block_ends(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with server(settings={"job_workers": 0}) as running:
        home = running.home
        assert home.is_dir()
    assert not home.exists()
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_a_home_that_holds_data_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    mainspring.open(str(tmp_path / "home")).close()
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    with pytest.raises(Unavailable, match="holds data"), server(tmp_path / "home"):
        pass
    assert [path for path in before if not path.exists()] == []


def test_a_platform_that_is_not_for_testing_has_no_reset(tmp_path: Path) -> None:
    from tests.holds.running import Up

    up = Up(tmp_path / "home", policy_interval_s=0)
    try:
        up.start()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(f"{up.ready['control']}/testing/reset", method="POST"))
        assert refused.value.code == 404
        refused.value.close()
    finally:
        up.close()
