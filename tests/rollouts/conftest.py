"""Real releases, and arms whose traffic the test makes up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.errors import NotFound
from mainspring.features.model import FeatureView
from mainspring.registry.signature import Field, Signature
from mainspring.releases.model import Candidate
from mainspring.releases.service import Releases
from mainspring.releases.stages import Stage
from mainspring.rollouts.model import ArmReading, Asked, Reading
from mainspring.rollouts.sequential import Clusters, Sample
from mainspring.rollouts.service import Rollouts
from mainspring.serving.model import ServingState
from mainspring.storage.sql.database import Database

SIGNATURE = Signature(inputs=[Field("age", "double")], outputs=[Field("label", "long")])


class Surroundings:
    """The rooms around releases, as small as they can be: models 1 to 3 of churn, folders, a publisher, stages."""

    def __init__(self, folder: Path) -> None:
        self.folder_of_all = folder
        self.state = ServingState()
        self.stages: dict[str, Stage] = {}

    def candidate(self, model: str) -> Candidate:
        if model not in [f"model:churn@{version}" for version in (1, 2, 3)]:
            raise NotFound(f"no model {model}")
        return Candidate(model=model, digest="sha256:" + "0" * 64, engine="onnx", signature=SIGNATURE, task="binary")

    def readable(self, view: str) -> FeatureView:
        raise NotFound(f"no feature view {view}")

    def materialise(self, digest: str) -> Path:
        return self.folder_of_all

    def folder(self, digest: str) -> Path:
        return self.folder_of_all

    def publish(self, state: ServingState) -> None:
        self.state = state

    def set_stage(self, model: str, stage: Stage) -> None:
        self.stages[model] = stage


class Behaviour:
    """How one arm behaves: its error rate, its latency in milliseconds, its share of wrong answers, its lost units."""

    def __init__(self, errors: float = 0.01, latency_ms: float = 10.0, wrong: float = 0.2, lost: float = 0.0) -> None:
        self.errors, self.latency_ms, self.wrong, self.lost = errors, latency_ms, wrong, lost


class Traffic:
    """Deals requests to the arms as the endpoint's share says, and counts what they do."""

    def __init__(self, releases: Releases) -> None:
        self.releases = releases
        self.random = np.random.default_rng(3)
        self.arms = {"stable": Behaviour(), "canary": Behaviour()}
        self.labelled = 1.0
        self.canary_users: int | None = None  # From how many users, all alike, the canary's requests come.
        self.of_one_user = 0  # How many of the canary's requests, all of them failing, come from one user.
        self.clear()

    def clear(self) -> None:
        self.counts: dict[str, list[int]] = {arm: [0, 0, 0] for arm in self.arms}
        self.latencies: dict[str, list[np.ndarray]] = {arm: [np.empty(0)] for arm in self.arms}
        self.wrong: dict[str, int] = dict.fromkeys(self.arms, 0)
        self.labels: dict[str, int] = dict.fromkeys(self.arms, 0)
        self.step: datetime | None = None

    def send(self, requests: int) -> None:
        share = self.releases.get("churn").canary_share
        canary = int(self.random.binomial(requests, share))
        for arm, dealt in (("canary", canary), ("stable", requests - canary)):
            behaviour = self.arms[arm]
            rows = int(self.random.binomial(dealt, 1 - behaviour.lost))
            labels = int(self.random.binomial(rows, self.labelled))
            self.counts[arm][0] += rows
            self.counts[arm][1] += int(self.random.binomial(rows, behaviour.errors))
            self.counts[arm][2] += rows
            self.latencies[arm].append(behaviour.latency_ms * self.random.lognormal(0, 0.4, rows) * 1000)
            self.labels[arm] += labels
            self.wrong[arm] += int(self.random.binomial(labels, behaviour.wrong))

    def read(self, endpoint: str, asked: Asked) -> Reading:
        if asked.step_since != self.step:
            self.step = asked.step_since
            for counts in self.counts.values():
                counts[2] = 0
        stable, canary = (self._arm(arm, asked.slow_us, asked.quantile) for arm in ("stable", "canary"))
        return Reading(stable=stable, canary=canary)

    def _arm(self, arm: str, slow_us: int | None, quantile: float) -> ArmReading:
        latencies = np.concatenate(self.latencies[arm])
        (requests, errors, _), theirs = self.counts[arm], self.of_one_user if arm == "canary" else 0
        users = requests + bool(theirs)
        squares = float(theirs**2)
        clusters = Clusters(users, errors + bool(theirs), requests + squares, errors + squares, errors + squares)
        if arm == "canary" and self.canary_users is not None:
            each, failed, users = requests / self.canary_users, errors / self.canary_users, self.canary_users
            means = users * failed / max(1.0, each)
            clusters = Clusters(users, means, users * each**2, users * each * failed, users * failed**2)
        return ArmReading(
            requests=requests + theirs,
            errors=errors + theirs,
            assigned=self.counts[arm][2],
            slow=0 if slow_us is None else int((latencies > slow_us).sum()),
            latency_us=float(np.quantile(latencies, quantile)) if len(latencies) else None,
            losses=Sample.of_events(self.wrong[arm], self.labels[arm]),
            clusters={"errors": clusters},
        )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path)


@pytest.fixture
def releases(database: Database, surroundings: Surroundings, clock: ManualClock) -> Releases:
    around = surroundings
    releases = Releases(
        database, models=around, views=around, folders=around, publisher=around, stages=around, clock=clock
    )
    releases.deploy("churn", "model:churn@1")
    return releases


@pytest.fixture
def traffic(releases: Releases) -> Traffic:
    return Traffic(releases)


@pytest.fixture
def rollouts(
    database: Database,
    releases: Releases,
    traffic: Traffic,
    clock: ManualClock,
    reached: Callable[[Rollouts], Rollouts],
) -> Rollouts:
    return reached(Rollouts(database, releases, traffic, clock))
