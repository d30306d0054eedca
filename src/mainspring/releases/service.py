"""The verbs of releases: put a model behind an endpoint, try it on a share of the traffic, go back."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import AlreadyExists, Conflict, Forbidden, InvalidRequest
from mainspring.core.operations import operation
from mainspring.core.refs import Ref, check_name, ref
from mainspring.features.model import FeatureView
from mainspring.registry.quality import metric_named
from mainspring.registry.signature import Task
from mainspring.releases import changing, store
from mainspring.releases.binding import bind
from mainspring.releases.events import EndpointCreated
from mainspring.releases.model import Candidate, Change, Endpoint, EndpointStatus, Release
from mainspring.releases.serving_state import Folders, endpoint_state
from mainspring.releases.stages import Stage, stages_after
from mainspring.serving.model import FeatureBinding, ServingState
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit

MAX_CHANGES = 1_000
Changes = list[Change]
Endpoints = list[Endpoint]
ReleaseList = list[Release]
ModelRefs = list[str]


class Models(Protocol):
    """Finds model versions."""

    def candidate(self, model: str) -> Candidate:
        """Give what the registry knows of ``model:name@version`` or ``model:name@alias``; raises NotFound."""
        ...


class Views(Protocol):
    """Finds feature views."""

    def readable(self, view: str) -> FeatureView:
        """Give the version that a ref stands for; raises NotFound, Conflict when it cannot be read online yet."""
        ...


class Publisher(Protocol):
    """Tells the data plane what to serve."""

    def publish(self, state: ServingState) -> None:
        """Make *state* current, durably and whole."""
        ...


class Stages(Protocol):
    """Keeps the stages of model versions."""

    def set_stage(self, model: str, stage: Stage) -> None:
        """Record the stage of a model version; the same stage again changes nothing."""
        ...


class Releases:
    """Endpoints in *database*.

    Before a change is committed, the files of its model are in place; after it, the new state is published whole, and
    the stages of the models follow. A verb that failed after its commit (a full disk) is finished by calling it again
    with its token, or by `republish`.
    """

    def __init__(
        self,
        database: Database,
        *,
        models: Models,
        views: Views,
        folders: Folders,
        publisher: Publisher,
        stages: Stages,
        clock: Clock | None = None,
    ) -> None:
        self.database = database
        self.clock = clock or SystemClock()
        self._models, self._views = models, views
        self._folders = folders
        self._publisher = publisher
        self._stages = stages
        self._publishing = threading.Lock()

    @operation("POST /endpoints")
    def create_endpoint(self, name: str, task: Task | None = None, metric: str | None = None) -> Endpoint:
        """Make an endpoint that serves nothing yet; one of the same name, task and metric is given back as it is.

        Raises InvalidRequest for a bad name or a metric of another task, AlreadyExists when task or metric differ.
        """
        check_name(name, "endpoint")
        if metric is not None:
            metric_named(metric, task)
        with self.database.begin() as connection:
            if store.insert_endpoint(connection, name, task, metric, self.clock.now()):
                emit(connection, EndpointCreated(endpoint=ref("endpoint", name)))
            found = store.find_endpoint(connection, name)
            if (found.task, found.metric) != (task, metric):
                raise AlreadyExists(f"endpoint {name} exists, for task {found.task}, metric {found.metric}", name=name)
            return found

    @operation("GET /endpoints/{endpoint}")
    def get(self, endpoint: str) -> Endpoint:
        """Get an endpoint in one line; raises NotFound."""
        with self.database.read() as connection:
            return store.find_endpoint(connection, endpoint)

    @operation("GET /endpoints")
    def list(self) -> Endpoints:
        """List all endpoints by name."""
        with self.database.read() as connection:
            return store.find_endpoints(connection)

    @operation("GET /endpoints/{endpoint}/status")
    def status(self, endpoint: str) -> EndpointStatus:
        """Get an endpoint with its stable, canary and previous release in full; raises NotFound."""
        with self.database.read() as connection:
            return store.find_status(connection, endpoint)

    @operation("GET /endpoints/{endpoint}/releases")
    def releases(self, endpoint: str) -> ReleaseList:
        """List the releases of an endpoint, the newest first; raises NotFound."""
        with self.database.read() as connection:
            store.find_endpoint(connection, endpoint)
            return store.find_releases(connection, endpoint)

    @operation("GET /endpoints/{endpoint}/history")
    def history(self, endpoint: str, limit: int = 100) -> Changes:
        """List what changed at an endpoint, the newest first; raises NotFound."""
        if not 1 <= limit <= MAX_CHANGES:
            raise InvalidRequest(f"limit is {limit}, expected 1 to {MAX_CHANGES}", limit=limit)
        with self.database.read() as connection:
            store.find_endpoint(connection, endpoint)
            return store.find_changes(connection, endpoint, limit)

    @operation("POST /endpoints/{endpoint}/releases")
    def deploy(
        self,
        endpoint: str,
        model: str,
        canary: float | None = None,
        configuration: dict[str, Any] | None = None,
        token: str | None = None,
        features: FeatureBinding | None = None,
    ) -> Release:
        """Pin a model version with what it was made from, and serve it: to all, or to the share *canary* of the units.

        *features* is the view that fills the columns which requests leave out; without it, the one that the model
        version was registered with, else for a canary that of the stable release. The endpoint is made when it is not
        there. A second call with the same *token* gives the first release and changes nothing. Raises NotFound for an
        unknown model or view, InvalidRequest for a share outside of 0 to 1 or features that the model does not take,
        Forbidden for a model with code of unknown origin, and Conflict when a canary runs already, when there is no
        stable release to compare a canary with, when the canary reads other features, when the view was never
        materialised, or when the endpoint serves another task.
        """
        check_name(endpoint, "endpoint")
        if canary is not None:
            _check_share(canary)
        if token is not None and (done := self._deployed(token, endpoint)):
            self._settle([done.model])
            return done
        candidate = self._candidate(model)
        wanted = features or candidate.features or (None if canary is None else self._stable_features(endpoint))
        candidate = msgspec.structs.replace(candidate, features=self._bound(wanted, candidate))
        self._folders.materialise(candidate.digest)
        with self.database.begin() as connection:
            now = self.clock.now()
            if store.insert_endpoint(connection, endpoint, candidate.task, candidate.metric, now):
                emit(connection, EndpointCreated(endpoint=ref("endpoint", endpoint)))
            status = store.find_status(connection, endpoint, lock=True)
            if token is not None and (done := store.find_release_by_token(connection, token)):
                return done  # Another call with this token committed since we looked.
            release = changing.pin(connection, status, candidate, configuration or {}, token, now)
            changing.start(connection, status, release, canary, now)
        self._settle([release.model, *([status.stable.model] if status.stable else [])])
        return release

    @operation("POST /endpoints/{endpoint}/canary/share")
    def set_share(self, endpoint: str, share: float, release: str | None = None, reason: str = "") -> Endpoint:
        """Give the canary a larger share; the units that it has stay with it. The share that it has changes nothing.

        *release* names the canary that is meant. Raises InvalidRequest for a share outside of 0 to 1, Conflict when
        that canary does not run or has a larger share.
        """
        _check_share(share)
        with self.database.begin() as connection:
            status = store.find_status(connection, endpoint, lock=True)
            _, canary = changing.running(status)
            _check_meant(canary, release)
            if share != status.endpoint.canary_share:
                changing.grow(connection, status, share, reason, self.clock.now())
        self._settle([])
        return self.get(endpoint)

    @operation("POST /endpoints/{endpoint}/canary/promote")
    def promote_canary(self, endpoint: str, release: str | None = None, reason: str = "") -> Endpoint:
        """Give the canary all traffic.

        *release* names the canary that is meant; when it is the stable release already, nothing changes. Raises
        Conflict when that canary does not run.
        """
        with self.database.begin() as connection:
            status = store.find_status(connection, endpoint, lock=True)
            if release is None or status.stable is None or release != status.stable.ref:
                _, canary = changing.running(status)
                _check_meant(canary, release)
                changing.promote(connection, status, reason, self.clock.now())
        self._settle(_models(status))
        return self.get(endpoint)

    @operation("POST /endpoints/{endpoint}/canary/drop")
    def drop_canary(self, endpoint: str, release: str | None = None, reason: str = "") -> Endpoint:
        """Take the traffic of the canary back to the stable release.

        *release* names the canary that is meant; when it serves nothing any more, nothing changes. Raises Conflict
        when no canary runs, or when the one that is meant was promoted.
        """
        with self.database.begin() as connection:
            status = store.find_status(connection, endpoint, lock=True)
            if release is not None and status.stable is not None and release == status.stable.ref:
                raise Conflict(f"{release} is no canary any more, it was promoted: roll {endpoint} back instead")
            if release is None or (status.canary is not None and release == status.canary.ref):
                changing.drop(connection, status, reason, self.clock.now())
        self._settle(_models(status))
        return self.get(endpoint)

    @operation("POST /endpoints/{endpoint}/rollback")
    def rollback(self, endpoint: str, to: int | None = None, reason: str = "", token: str | None = None) -> Endpoint:
        """Undo what changed last, in one snapshot: a canary is dropped; else the release before is restored.

        The release comes back with everything that it pinned. Rolling back twice restores what was rolled back first;
        *to* names any other release by its number, and ends a canary as well. A second call with the same *token*
        changes nothing. Raises NotFound, and Conflict when there is nothing to go back to; while the files of what is
        gone back to cannot be laid out, it raises why, and changes nothing.
        """
        self._lay_out_earlier(endpoint, to)
        with self.database.begin() as connection:
            status = store.find_status(connection, endpoint, lock=True)
            if token is None or not store.is_done(connection, token):
                now = self.clock.now()
                if status.canary is not None:
                    changing.drop(connection, status, reason, now, token if to is None else None)
                if status.canary is None or to is not None:
                    changing.restore(connection, status, to, reason, now, token)
            after = store.find_endpoint(connection, endpoint)
        self._settle([*_models(status), *([after.model] if after.model else [])])
        return after

    def state(self) -> ServingState:
        """Give everything that is served now, with the files of every arm in place where they can be had."""
        with self.database.read() as connection:
            version = store.last_number(connection)
            statuses = [store.find_status(connection, found.name) for found in store.find_endpoints(connection)]
        states = [endpoint_state(status, self._folders) for status in statuses]
        return ServingState(version=version, endpoints=[state for state in states if state is not None])

    def republish(self) -> None:
        """Publish the state and set every stage once more: what a control plane does when it starts."""
        self._settle(None)

    def _candidate(self, model: str) -> Candidate:
        candidate = self._models.candidate(str(Ref.parse(model, kind="model")))
        if candidate.engine == "process" and not candidate.trusted:
            raise Forbidden(
                f"{candidate.model} would run code of unknown origin: if you know it, `mainspring model trust` it first"
            )
        return candidate

    def _stable_features(self, endpoint: str) -> FeatureBinding | None:
        """Give the features that a canary reads when nobody says which: the present ones, whatever columns it takes."""
        with self.database.read() as connection:
            stable = store.find_served(connection, endpoint)
        if stable is None or stable.pinned.features is None:
            return None
        return msgspec.structs.replace(stable.pinned.features, columns=[])

    def _bound(self, wanted: FeatureBinding | None, candidate: Candidate) -> FeatureBinding | None:
        if wanted is None:
            return None
        return bind(wanted, self._views.readable(wanted.view), candidate.signature, candidate.model)

    def _deployed(self, token: str, endpoint: str) -> Release | None:
        with self.database.read() as connection:
            done = store.find_release_by_token(connection, token)
        if done is not None and done.endpoint != endpoint:
            raise Conflict(f"token {token!r} was used for {done.ref} already: take a new one", token=token)
        return done

    def _lay_out_earlier(self, endpoint: str, to: int | None) -> None:
        with self.database.read() as connection:
            status = store.find_status(connection, endpoint)
            earlier = status.previous if to is None else store.find_release(connection, endpoint, to)
        if earlier is not None and (status.canary is None or to is not None):
            self._folders.materialise(earlier.pinned.digest)

    def _settle(self, models: Iterable[str] | None) -> None:
        """Publish what is committed, and set the stages of these models (None: of all)."""
        # State and stages are read inside the lock: of two changes at once, whoever comes last tells of both.
        with self._publishing:
            self._publisher.publish(self.state())
            with self.database.read() as connection:
                stages = stages_after(store.find_moves(connection, models))
            wanted = stages if models is None else set(models)
            for model, stage in stages.items():
                if model in wanted:
                    self._stages.set_stage(model, stage)


def _models(status: EndpointStatus) -> ModelRefs:
    return [release.model for release in (status.stable, status.canary) if release is not None]


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise InvalidRequest(f"a canary takes a share between 0 and 1, such as 0.05; this one is {share}", share=share)


def _check_meant(canary: Release, release: str | None) -> None:
    if release is not None and release != canary.ref:
        raise Conflict(f"{canary.ref} is the canary of {canary.endpoint} now, not {release}", canary=canary.ref)
