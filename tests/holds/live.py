"""Live traffic against a platform that is being killed: what was answered, what was acknowledged, what failed when."""

from __future__ import annotations

import random
import threading
import time
from typing import Any, NamedTuple

import httpx2


class Failure(NamedTuple):
    """A request that did not get what it asked for."""

    at: float
    what: str


class Traffic:
    """One client that predicts and labels without pause, in a thread of its own; a request is sent once."""

    def __init__(self, url: str, endpoint: str, rows: list[dict[str, Any]]) -> None:
        self.url, self.endpoint, self.rows = url, endpoint, rows
        self.answered: list[str] = []
        self.labels: dict[str, bool] = {}
        self.failures: list[Failure] = []
        self.answers_at: list[float] = []
        self._going = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic")

    def start(self) -> None:
        """Begin."""
        self._going.set()
        self._thread.start()

    def stop(self) -> None:
        """End after the request that is under way."""
        self._going.clear()
        if self._thread.is_alive():
            self._thread.join(30)

    def _run(self) -> None:
        chance, number = random.Random(0), 0
        client = httpx2.Client(base_url=self.url, timeout=10)
        while self._going.is_set():
            row = self.rows[number % len(self.rows)]
            number += 1
            try:
                self._ask(client, row, chance)
            except httpx2.TransportError as error:
                self.failures.append(Failure(time.monotonic(), type(error).__name__))
                client.close()
                client = httpx2.Client(base_url=self.url, timeout=10)
                time.sleep(0.01)
            time.sleep(0.005)
        client.close()

    def _ask(self, client: httpx2.Client, row: dict[str, Any], chance: random.Random) -> None:
        features = {name: value for name, value in row.items() if name != "target"}
        answer = client.post(f"/endpoints/{self.endpoint}/invocations", json={"dataframe_records": [features]})
        if answer.status_code != 200:
            self.failures.append(Failure(time.monotonic(), f"{answer.status_code} {answer.text[:200]}"))
            return
        self.answers_at.append(time.monotonic())
        id = answer.headers["x-prediction-id"]
        self.answered.append(id)
        if chance.random() < 0.5:
            self.labels[id] = False
            body = {"labels": [{"id": id, "value": row["target"]}]}
            label = client.post(f"/v2/endpoints/{self.endpoint}/labels", json=body)
            self.labels[id] = label.status_code == 200
            if label.status_code != 200:
                self.failures.append(Failure(time.monotonic(), f"label {label.status_code} {label.text[:200]}"))
