"""What is looked at and decided while rows are replayed: monitors, triggers and retrainings, canaries."""

from __future__ import annotations

import time

import msgspec

from mainspring.client.session import Session
from mainspring.core.errors import InvalidData
from mainspring.core.refs import ref
from mainspring.loop import words
from mainspring.loop.model import Alarm, Decision, Outcome, Retraining
from mainspring.loop.narrator import Stages
from mainspring.loop.platform import RunningPlatform
from mainspring.loop.policy import policy_of
from mainspring.loop.progress import Progress
from mainspring.loop.retraining import Plan
from mainspring.loop.table import Window
from mainspring.loop.waiting import until_finished, until_followed
from mainspring.monitoring.model import WindowReport
from mainspring.pipelines.model import Job
from mainspring.rollouts.model import Look
from mainspring.triggers.model import Firing, VolumeRule

_RETRAIN_EVERY_WINDOWS, _RETRAIN_SOONEST_WINDOWS = 4, 2


class Watch:
    """Looks at one endpoint when it is told to, lets the platform decide, and notes what it decided and why."""

    def __init__(self, platform: RunningPlatform, plan: Plan, stages: Stages, notes: list[str]) -> None:
        """Watch the endpoint of *plan*; what else is worth knowing goes to *notes*."""
        self.platform, self.plan, self.stages, self.notes = platform, plan, stages, notes
        self.name = plan.name
        self.alarms: list[Alarm] = []
        self.retrainings: list[Retraining] = []
        self.decisions: list[Decision] = []
        self.regular = False
        self.since_change: int | None = None
        self.told: set[tuple[str, str, str]] = set()
        self.checked: set[str] = set()

    def resume(self, before: Progress) -> None:
        """Take up what was noted before the process was killed."""
        self.alarms, self.retrainings, self.decisions = before.alarms, before.retrainings, before.decisions
        self.regular, self.told, self.checked = before.regular, set(before.told), set(before.checked)

    @property
    def canary_runs(self) -> bool:
        """Tell whether a retrained model is being tried."""
        return bool(self.retrainings) and self.retrainings[-1].outcome == "canary"

    def look(self, window: Window) -> None:
        """Let the monitors check what came in by the end of *window*, and the triggers decide about it."""
        with self.stages.stage("monitor"):
            self.platform.call(lambda session: session.monitoring.advance(self.name))
            # What it gave may be lost with a process that is killed; what it wrote is not.
            for report in reversed(self.platform.call(lambda session: session.monitoring.windows(self.name))):
                if report.id not in self.checked:
                    self.checked.add(report.id)
                    self._alarm(window, report)
            self.platform.call(lambda session: session.triggers.evaluate(self.name))
            fired = self.platform.call(lambda session: session.triggers.firings(self.name, limit=1))
        for firing in fired:
            if firing.job is not None and firing.job not in {done.job for done in self.retrainings}:
                self._retrain(window, firing, firing.job)

    def look_at_canary(self, window: Window) -> None:
        """Let the rollout decide on what the traffic has shown so far."""
        with self.stages.stage("canary") as step:
            look = self.platform.call(lambda session: _look_if_active(session, self.name))
            rollout = self.platform.call(lambda session: session.rollouts.status(self.name))
            if look is not None:
                self.decisions.append(
                    Decision(
                        window=window.number,
                        subject=rollout.candidate,
                        decision=look.decision,
                        by="rollout",
                        evidence=msgspec.to_builtins(look),
                    )
                )
            if rollout.active:
                step.progress(rollout.reason)
                return
            promoted = rollout.status == "promoted"
            if promoted:
                self._follow(window, rollout.candidate)
            outcome: Outcome = "promoted" if promoted else "rolled_back"
            self.retrainings[-1] = msgspec.structs.replace(self.retrainings[-1], outcome=outcome, detail=rollout.reason)
            step.done(f"{rollout.candidate} {outcome.replace('_', ' ')}: {rollout.reason}")

    def _alarm(self, window: Window, report: WindowReport) -> None:
        for alarm in report.alarms:
            found = alarm.finding
            self.alarms.append(
                Alarm(
                    ref=ref("alarm", alarm.id),
                    window=window.number,
                    rows=(window.start, window.stop),
                    kind=found.kind,
                    feature=found.column or None,
                    statistic_name=found.test,
                    statistic=found.statistic,
                    threshold=found.threshold,
                    p_value=found.p,
                    effect=found.effect,
                    budget=found.share,
                    message=words.told(report, found),
                )
            )
            # A change that lasts alarms in every window; it is told once for each release.
            if (once := (report.release, found.kind, found.column)) not in self.told:
                self.told.add(once)
                self.stages.narrator.say(
                    f"[yellow]![/] [bold]alarm    [/] window {window.number}: {words.short(found)}"
                )

    def _retrain(self, window: Window, firing: Firing, started: str) -> None:
        began = time.monotonic()
        with self.stages.stage("retrain") as step:
            job = self.platform.call(lambda session: session.pipelines.get(started.partition(":")[2]))
            noted = Retraining(
                job=job.ref,
                trigger=firing.trigger,
                window=window.number,
                evidence=[*firing.evidence.reasons, *firing.evidence.alarms],
                dataset=None,
                candidate=None,
                outcome="failed",
                seconds=0.0,
            )
            try:
                job = until_finished(self.platform, job, step.progress)
            except InvalidData as failed:
                noted = msgspec.structs.replace(noted, detail=str(failed))
                step.done(f"after {firing.trigger}: {failed}")
            else:
                released = job.step("release").result
                self.since_change = job.step("assemble").result["worse_since"]
                outcome: Outcome = "refused" if released["outcome"] == "refused" else "canary"
                noted = msgspec.structs.replace(
                    noted,
                    dataset=job.step("assemble").result["training"],
                    candidate=released["model"],
                    outcome=outcome,
                    detail=released["reason"],
                )
                self._note_gate(window, job)
                step.done(f"after {firing.trigger}: {noted.candidate} from {noted.dataset}, {words.outcome(released)}")
        self.retrainings.append(msgspec.structs.replace(noted, seconds=round(time.monotonic() - began, 3)))

    def _note_gate(self, window: Window, job: Job) -> None:
        gated = job.step("gate").result
        report = self.platform.call(lambda session: session.registry.get_report(gated["report"]))
        self.decisions.append(
            Decision(
                window=window.number,
                subject=report.model,
                decision="passed" if report.passed else "refused",
                by="gate",
                evidence=msgspec.to_builtins(report),
            )
        )

    def _follow(self, window: Window, model: str) -> None:
        if not until_followed(self.platform, self.name, model):
            self.notes.append(f"the alias champion or the monitors did not follow {model} in time")
        # Once a retraining has paid, the data are known to change: do not wait for the next alarm. A model made soon
        # after a change knew few rows of what is new, so the next one comes when there are twice as many.
        size = window.stop - window.start
        often, seldom = _RETRAIN_SOONEST_WINDOWS * size, _RETRAIN_EVERY_WINDOWS * size
        every = seldom if self.since_change is None else min(seldom, max(often, self.since_change))
        policy = policy_of(self.plan, VolumeRule(labels=every))
        self.platform.call(lambda session: session.triggers.set_policy(self.name, policy))
        if not self.regular:
            self.regular = True
            self.notes.append(
                f"from window {window.number} on, {seldom} new labels at the latest start a retraining too"
            )


def _look_if_active(session: Session, endpoint: str) -> Look | None:
    # A look that was repeated finds the rollout ended by the first.
    return session.rollouts.look(endpoint) if session.rollouts.status(endpoint).active else None
