"""The table of endpoints of one worker, replaced whole when the control plane publishes a new state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import msgspec

from mainspring.core.errors import NotFound
from mainspring.runtime.telemetry.metrics import Metrics
from mainspring.serving.engine.hot import Endpoint, Gate, LoadedArm, Opened
from mainspring.serving.engine.log import PredictionLog
from mainspring.serving.engine.meters import Meters
from mainspring.serving.engine.session import LOAD_FAILURES, Session, open_session
from mainspring.serving.features import FeatureReader
from mainspring.serving.model import Arm, EndpointState, ServingState


class LoadFailure(msgspec.Struct, frozen=True):
    """An endpoint that could not be brought to the published state, and why; what it served before stays on."""

    endpoint: str
    state: EndpointState
    reason: str


class Table:
    """What a worker serves now. Only the loop's thread changes it; models are opened and closed on another one."""

    def __init__(self, log: PredictionLog, features: FeatureReader, gate: Gate, metrics: Metrics) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self._meters = Meters(metrics)
        self.failures: list[LoadFailure] = []
        self.version = -1
        self.gate, self.log, self.features = gate, log, features
        self.changed: list[Callable[[], None]] = []
        self._states: dict[str, EndpointState] = {}
        self._opened: dict[bytes, Opened] = {}
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="model-loader")

    def endpoint(self, name: str) -> Endpoint:
        """Find an endpoint; raises NotFound naming those that there are."""
        try:
            return self.endpoints[name]
        except KeyError:
            known = ", ".join(sorted(self.endpoints)[:20]) or "none; deploy one with `mainspring deploy`"
            raise NotFound(f"there is no endpoint {name!r}; served here: {known}", endpoint=name) from None

    async def apply(self, state: ServingState, version: int) -> bool:
        """Open what is new in *state*, switch to it in one step, then let go of what it no longer needs.

        An endpoint whose models cannot be opened keeps what it served; `failures` tells why. Gives False when an
        endpoint failed that had not failed the same way before.
        """
        known = {failure.endpoint: failure.state for failure in self.failures}
        failures: list[LoadFailure] = []
        states: dict[str, EndpointState] = {}
        opened: dict[bytes, Opened] = {}
        for wanted in state.endpoints:
            try:
                await self._open(wanted, opened)
                states[wanted.name] = wanted
            except LOAD_FAILURES as failed:
                failures.append(LoadFailure(wanted.name, wanted, str(failed)))
                if wanted.name in self._states:
                    states[wanted.name] = self._states[wanted.name]
                    await self._open(states[wanted.name], opened)
        self._switch(states, opened)
        self.failures, self.version = failures, version
        return all(known.get(failure.endpoint) == failure.state for failure in failures)

    def close(self) -> None:
        """Close every model."""
        self._switch({}, {})
        self._loader.shutdown()

    async def _open(self, endpoint: EndpointState, opened: dict[bytes, Opened]) -> None:
        for arm in _arms(endpoint):
            key = _key(arm)
            if key in opened:
                continue
            there = self._opened.get(key)
            if there is None:
                session = await asyncio.get_running_loop().run_in_executor(self._loader, _open_arm, arm)
                there = Opened(session, self._close_later)
            opened[key] = there

    def _switch(self, states: dict[str, EndpointState], opened: dict[bytes, Opened]) -> None:
        # The table holds what is in it; requests that wait for a child hold that too, and the last of them closes it.
        for one in opened.values():
            one.hold()
        before = self._opened
        self.endpoints = {name: self._endpoint(state, opened) for name, state in states.items()}
        self._meters.keep(
            {(name, one.name, one.version) for name, point in self.endpoints.items() for one in point.arms}
        )
        used = {_key(arm) for state in states.values() for arm in _arms(state)}
        self._states, self._opened = states, {key: one for key, one in opened.items() if key in used}
        for react in self.changed:
            react()
        for one in [*before.values(), *(one for key, one in opened.items() if key not in used)]:
            one.release()

    def _endpoint(self, state: EndpointState, opened: dict[bytes, Opened]) -> Endpoint:
        def arm(name: Literal["stable", "canary"], wanted: Arm) -> LoadedArm:
            meter = self._meters.of((state.name, name, wanted.version))
            return LoadedArm(
                state.name, name, wanted, opened=opened[_key(wanted)], log=self.log, meter=meter, gate=self.gate
            )

        canary = arm("canary", state.canary) if state.canary is not None else None
        return Endpoint(state, arm("stable", state.stable), canary, self.features)

    def _close_later(self, session: Session) -> None:
        if not session.inline:
            self._loader.submit(session.close)


def _arms(endpoint: EndpointState) -> list[Arm]:
    return [endpoint.stable] if endpoint.canary is None else [endpoint.stable, endpoint.canary]


def _key(arm: Arm) -> bytes:
    return msgspec.msgpack.encode((arm.path, arm.digest, arm.engine, arm.signature))


def _open_arm(arm: Arm) -> Session:
    return open_session(arm.path, engine=arm.engine, signature=arm.signature, trusted=arm.trusted)
