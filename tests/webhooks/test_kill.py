"""What a killed control plane had promised to webhooks is kept by the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx2

from mainspring.core.settings import Settings
from mainspring.planes.up import environment
from tests.holds.running import eventually
from tests.servers import free_port
from tests.webhooks.receiver import Answer, Request, receiving


def control(settings: Settings) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "mainspring.planes.control"],
        env={**os.environ, **environment(settings)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def answers() -> bool:
        try:
            return httpx2.get(f"http://127.0.0.1:{settings.port}/health").status_code == 200
        except httpx2.TransportError:
            return False

    eventually(lambda: process.poll() is not None or answers(), "no control plane")
    return process


def test_what_was_on_its_way_when_the_control_plane_was_killed_arrives(tmp_path: Path) -> None:
    settings = Settings(
        home=str(tmp_path / "home"), policy_interval_s=0, port=free_port(), webhook_private_targets=True
    )
    url, held = f"http://127.0.0.1:{settings.port}", threading.Event()

    def hold(request: Request) -> Answer:
        held.wait(60)
        return 200, {}, b""

    with receiving() as receiver:
        receiver.check = hold
        first = control(settings)
        hook = {"name": "all", "url": receiver.url, "events": ["ModelCreated"]}
        webhook = httpx2.post(f"{url}/webhooks", json=hook).json()["id"]
        for number in range(5):
            assert httpx2.post(f"{url}/models", json={"name": f"m{number}"}).status_code == 200
        receiver.wait(1)
        first.send_signal(signal.SIGKILL)
        first.wait(30)
        receiver.check = None
        held.set()
        second = control(settings)
        try:
            receiver.wait(6)  # The one that was under way comes again: nobody knows whether it was heard.
            eventually(
                lambda: len(httpx2.get(f"{url}/webhooks/{webhook}/deliveries?state=delivered").json()) == 5,
                "not all were settled",
            )
        finally:
            second.send_signal(signal.SIGTERM)
            second.wait(30)
    told = [request.json["body"]["model"] for request in receiver.requests]
    assert told == ["model:m0", *(f"model:m{number}" for number in range(5))]
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 5
