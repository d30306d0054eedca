"""What the control plane does without being asked: take in, deliver, decide, tidy up."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from functools import partial

from mainspring.core.errors import Conflict, MainspringError, NotFound
from mainspring.core.events import Recorded
from mainspring.core.refs import Ref
from mainspring.planes.embedded import Platform
from mainspring.runtime.outbox import Outbox, Subscription
from mainspring.runtime.periodic import Periodic
from mainspring.runtime.scheduler import Firing, Scheduler
from mainspring.runtime.telemetry.metrics import Metrics
from mainspring.runtime.timers import Every

logger = logging.getLogger(__name__)

_SERVED_KINDS = ("ReleaseDeployed", "CanaryPromoted", "ReleaseRolledBack")
_ALARM_KINDS = ("DriftDetected", "PerformanceDropped")
_COMPACT_EVERY_S = 3600.0


class Background:
    """The threads behind the API."""

    def __init__(self, platform: Platform, metrics: Metrics) -> None:
        self._platform = platform
        self._taken_in = metrics.counter("mainspring_ingested_total", "Facts taken in from the spools.", "kind")
        settings = platform.settings
        self._periodic = [Periodic("ingest", self._ingest, settings.ingest_interval_s)]
        subscriptions = [Subscription(name="served", handler=self.follow, kinds=_SERVED_KINDS)]
        if settings.policy_interval_s > 0:
            policies = Periodic("policies", self._policies, settings.policy_interval_s)
            self._periodic.append(policies)
            # The monitors look in the worker plane: what they find need not wait for the next turn here.
            subscriptions.append(
                Subscription(name="alarmed", handler=lambda event: policies.wake(), kinds=_ALARM_KINDS, history=False)
            )
        self._outbox = Outbox(platform.database, subscriptions)
        self._scheduler = Scheduler(platform.database, {"compact": self._compact})

    def start(self) -> None:
        """Publish what is served, make good what was decided but not done, and begin."""
        self._platform.releases.republish()
        self._platform.triggers.drive()
        self._scheduler.set("compact-log", kind="compact", schedule=Every(_COMPACT_EVERY_S))
        self._outbox.start()
        self._scheduler.start()
        for periodic in self._periodic:
            periodic.start()

    def stop(self) -> None:
        """End in order; what is under way is finished."""
        for periodic in self._periodic:
            periodic.stop()
        self._scheduler.stop()
        self._outbox.stop()

    def follow(self, event: Recorded) -> None:
        """Let the champion and the watch follow what an endpoint serves; an overtaken event changes nothing."""
        platform, endpoint = self._platform, Ref.parse(event.body["endpoint"], kind="endpoint").name
        release, model = event.body["release"], Ref.parse(event.body["model"], kind="model")
        if platform.releases.get(endpoint).stable != release or model.version is None:
            return
        platform.registry.set_alias(model.name, "champion", model.version, f"{release} serves {endpoint}")
        # A release that was deployed by hand has no reference, and is not watched.
        with contextlib.suppress(NotFound):
            platform.monitoring.watch(endpoint, release)

    def _ingest(self) -> bool:
        found = self._platform.predictions.ingest()
        self._taken_in.labels("prediction").add(found.predictions)
        self._taken_in.labels("label").add(found.labels)
        return found.predictions + found.labels > 0

    def _policies(self) -> bool:
        platform = self._platform
        self._look("triggers", platform.triggers.tick)
        for rollout in platform.rollouts.active():
            self._look(f"rollout of {rollout.endpoint}", partial(platform.rollouts.look, rollout.endpoint))
        return False

    def _look(self, what: str, look: Callable[[], object]) -> None:
        """Look at one thing; what is wrong with it must not keep the others from being looked at."""
        try:
            look()
        except Conflict:
            # Somebody looks at the same by hand at this moment; then there is nothing to do.
            logger.debug("%s: somebody else looks at it", what)
        except MainspringError as error:
            logger.warning("%s: %s", what, error)

    def _compact(self, firing: Firing) -> None:
        for endpoint in self._platform.releases.list():
            for table in (f"log/{endpoint.name}", f"labels/{endpoint.name}"):
                if self._platform.tables.exists(table):
                    self._platform.tables.compact(table)
