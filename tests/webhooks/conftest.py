"""Webhooks of one database, with a receiver on loopback and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.events import Event
from mainspring.protocols.mlflow.webhook_events import MlflowVocabulary
from mainspring.storage.secrets import SecretBox
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit
from mainspring.webhooks.delivering import Deliveries
from mainspring.webhooks.sending import Sender
from mainspring.webhooks.service import Webhooks
from mainspring.webhooks.vocabulary import Journal
from tests.webhooks.receiver import Receiver, receiving

S = TypeVar("S")


class BellRung(Event, frozen=True):
    """Something that tests make happen."""

    bell: str

    def makes(self) -> list[str]:
        return [f"bell:{self.bell}"]


class DoorOpened(Event, frozen=True):
    """Something else."""

    door: str


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def service(database: Database, tmp_path: Path, clock: ManualClock) -> Webhooks:
    sender = Sender(private_targets=True, timeout_s=5)
    return Webhooks(database, SecretBox(tmp_path / "secret.key"), [Journal(), MlflowVocabulary()], sender, clock)


@pytest.fixture
def deliveries(service: Webhooks, clock: ManualClock) -> Deliveries:
    return Deliveries(service, clock=clock)


@pytest.fixture
def happen(database: Database) -> Callable[[Event], int]:
    def happen(event: Event) -> int:
        with database.begin() as connection:
            return emit(connection, event)

    return happen
