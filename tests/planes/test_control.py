"""The control plane as a process: it answers, counts, finishes what it has begun, and says why it cannot start."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import polars as pl
import psutil
import pytest

from mainspring.client.session import SERVICES
from mainspring.core.settings import Settings
from tests.holds.running import eventually
from tests.planes.platforms import Opened, opened_remote


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Opened]:
    with opened_remote(Settings(home=str(tmp_path / "home"), policy_interval_s=0)) as opened:
        yield opened


def url(control: Opened, path: str) -> str:
    return f"http://127.0.0.1:{control.settings.port}{path}"


def test_every_service_has_its_operations_in_the_document(control: Opened) -> None:
    paths = httpx2.get(url(control, "/openapi.json")).json()["paths"]
    tags = {operation["tags"][0] for path in paths.values() for operation in path.values()}
    assert tags >= {place.partition(":")[2] for place in SERVICES.values()}


def test_calls_are_counted_by_operation_and_status(control: Opened) -> None:
    control.session.datasets.list()
    assert httpx2.get(url(control, "/datasets/none")).status_code == 404
    shown = httpx2.get(url(control, "/metrics")).text
    assert 'status="200"' in shown and 'status="404"' in shown
    assert "mainspring_ingested_total" in shown


def test_a_page_of_another_site_is_refused(control: Opened) -> None:
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}):
        assert httpx2.get(url(control, "/datasets"), headers=headers).status_code == 403


def test_calls_that_run_are_finished_before_it_stops(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path / "home"), policy_interval_s=0)
    answers: list[httpx2.Response] = []
    with opened_remote(settings) as control:
        rows = 400_000
        buffer = io.BytesIO()
        pl.DataFrame({"a": range(rows), "b": [f"text {number}" for number in range(rows)]}).write_csv(buffer)
        body = {"digest": control.session.objects.put_bytes(buffer.getvalue()), "check": False}

        def call() -> None:
            answers.append(httpx2.post(url(control, "/datasets/rows/versions"), json=body, timeout=60))

        calling = threading.Thread(target=call)
        calling.start()
        # Nobody stops it before the call is there: reading so many rows takes the processor a while.
        worked = processor_seconds(control.settings.port)
        eventually(lambda: processor_seconds(control.settings.port) > worked + 0.05)
        assert not answers
    calling.join(60)
    assert [answer.status_code for answer in answers] == [200]
    with opened_remote(settings) as control:
        assert [version.rows for version in control.session.datasets.versions("rows")] == [rows]


def processor_seconds(port: int) -> float:
    """What the process that listens at a port has used so far."""
    (process,) = [
        found for found in psutil.Process().children()
        if any(one.laddr.port == port and one.status == "LISTEN" for one in found.net_connections())
    ]  # fmt: skip
    return float(sum(process.cpu_times()[:2]))


def test_a_port_that_is_taken_is_told_in_its_log(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        variables = {"MAINSPRING_HOME": str(tmp_path / "home"), "MAINSPRING_PORT": str(port)}
        done = subprocess.run(
            [sys.executable, "-m", "mainspring.planes.control"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    last = json.loads(done.stderr.strip().splitlines()[-1])
    assert (last["code"], last["level"]) == ("unavailable", "error")
    assert f"cannot listen on 127.0.0.1:{port}" in last["event"]
