"""What the control plane does without being asked: take in, deliver, decide, tidy up."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

from mainspring.core.errors import Conflict, GateRefused, NotFound
from mainspring.core.events import Recorded
from mainspring.core.refs import Ref
from mainspring.planes.embedded import Platform
from mainspring.runtime.outbox import Outbox, Subscription
from mainspring.runtime.periodic import Periodic, each
from mainspring.runtime.scheduler import Firing, Scheduler
from mainspring.runtime.telemetry.metrics import Metrics
from mainspring.runtime.timers import Every
from mainspring.webhooks.delivering import Deliveries

_SERVED_KINDS = ("ReleaseDeployed", "CanaryPromoted", "ReleaseRolledBack")
_ALARM_KINDS = ("DriftDetected", "PerformanceDropped")
_COMPACT_EVERY_S = 3600.0
_GARBAGE_EVERY_S = 3600.0
_GARBAGE_TURN_S = 5.0


class Background:
    """The threads behind the API."""

    def __init__(
        self, platform: Platform, metrics: Metrics, turn: AbstractContextManager[object] | None = None
    ) -> None:
        """Do it for *platform*; each piece of work is done inside of *turn*, where that is given."""
        self._platform = platform
        self._turn = turn or contextlib.nullcontext()
        self._stopping = False
        self._taken_in = metrics.counter("mainspring_ingested_total", "Facts taken in from the spools.", "kind")
        settings = platform.settings
        self._periodic = [Periodic("ingest", self._ingest, settings.ingest_interval_s)]
        subscriptions = [Subscription(name="served", handler=self.follow, kinds=_SERVED_KINDS)]
        if settings.policy_interval_s > 0:
            triggers = Periodic("triggers", self._triggers, settings.policy_interval_s)
            self._periodic += [triggers, Periodic("rollouts", self._rollouts, settings.policy_interval_s)]
            # The monitors look in the worker plane: what they find need not wait for the next turn here.
            subscriptions.append(
                Subscription(name="alarmed", handler=lambda event: triggers.wake(), kinds=_ALARM_KINDS, history=False)
            )
        self._deliveries = Deliveries(platform.webhooks, self._turn)
        self._outbox = Outbox(platform.database, subscriptions, news=self._deliveries.wake)
        self._scheduler = Scheduler(platform.database, {"compact": self._compact, "garbage": self._garbage})

    def start(self) -> None:
        """Publish what is served, make good what was decided but not done, and begin."""
        self._platform.releases.republish()
        self._platform.triggers.drive()
        self._scheduler.set("compact-log", kind="compact", schedule=Every(_COMPACT_EVERY_S))
        if self._platform.settings.garbage_after_s > 0:
            every_s = min(self._platform.settings.garbage_after_s, _GARBAGE_EVERY_S)
            self._scheduler.set("garbage", kind="garbage", schedule=Every(every_s))
        else:
            with contextlib.suppress(NotFound):
                self._scheduler.cancel("garbage")
        self._outbox.start()
        self._scheduler.start()
        self._deliveries.start()
        for periodic in self._periodic:
            periodic.start()

    def stop(self) -> None:
        """End in order; what is under way is finished."""
        self._stopping = True
        for periodic in self._periodic:
            periodic.stop()
        self._deliveries.stop()
        self._scheduler.stop()
        self._outbox.stop()

    def follow(self, event: Recorded) -> None:
        """Let the champion and the watch follow what an endpoint serves; an overtaken event changes nothing."""
        with self._turn:
            self._follow(event)

    def _follow(self, event: Recorded) -> None:
        platform, endpoint = self._platform, Ref.parse(event.body["endpoint"], kind="endpoint").name
        release, model = event.body["release"], Ref.parse(event.body["model"], kind="model")
        if platform.releases.get(endpoint).stable != release or model.version is None:
            return
        # A champion that is protected stays: what serves now is a request that waits for whoever has to agree.
        with contextlib.suppress(GateRefused):
            platform.registry.set_alias(model.name, "champion", model.version, f"{release} serves {endpoint}")
        # A release that was deployed by hand has no reference, and is not watched.
        with contextlib.suppress(NotFound):
            platform.monitoring.watch(endpoint, release)

    def _ingest(self) -> bool:
        with self._turn:
            found = self._platform.predictions.ingest()
        self._taken_in.labels("prediction").add(found.predictions)
        self._taken_in.labels("label").add(found.labels)
        return found.predictions + found.labels > 0

    def _triggers(self) -> bool:
        with self._turn:
            self._platform.triggers.tick()
        return False

    def _rollouts(self) -> bool:
        rollouts = self._platform.rollouts
        with self._turn:
            each("rollout of", [rollout.endpoint for rollout in rollouts.active()], rollouts.look)
        return False

    def _garbage(self, firing: Firing) -> None:
        settings, finished = self._platform.settings, False
        while not finished and not self._stopping:
            with self._turn, contextlib.suppress(Conflict):  # Somebody collects by hand.
                finished = self._platform.garbage.collect_garbage(
                    older_than=f"{settings.garbage_after_s}s",
                    object_age=f"{settings.garbage_object_age_s}s",
                    budget_s=_GARBAGE_TURN_S,
                ).finished

    def _compact(self, firing: Firing) -> None:
        with self._turn:
            for endpoint in self._platform.releases.list():
                for table in (f"log/{endpoint.name}", f"labels/{endpoint.name}"):
                    if self._platform.tables.exists(table):
                        self._platform.tables.compact(table)
