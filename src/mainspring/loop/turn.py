"""One turn of the loop over a table, as a client of a running platform: train, serve, replay, watch, decide."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import httpx2
import msgspec

from mainspring.client.session import Session
from mainspring.core.errors import InvalidData, MainspringError, Unavailable
from mainspring.core.refs import Ref, ref
from mainspring.core.settings import Settings
from mainspring.loop import words
from mainspring.loop.judging import Judge
from mainspring.loop.model import Alarm, Decision, LoopReport, MetricName, Outcome, Requests, Retraining
from mainspring.loop.narrator import Narrator, Stages
from mainspring.loop.platform import RunningPlatform
from mainspring.loop.policy import plan_of, policy_of
from mainspring.loop.progress import Journal, Part, Progress, fingerprint, unfinished
from mainspring.loop.retraining import PIPELINE
from mainspring.loop.table import Split, Window, plain
from mainspring.loop.traffic import Served, Traffic, first_error
from mainspring.loop.wire import Reply
from mainspring.monitoring.model import Settings as MonitorSettings
from mainspring.monitoring.model import WindowReport, Windows
from mainspring.pipelines.model import Job
from mainspring.registry.model import ModelVersion
from mainspring.rollouts.model import Look
from mainspring.triggers.model import Firing, VolumeRule

_POLL_S = 0.03
_INGESTED_WITHIN_S = 30.0
_SERVED_WITHIN_S = 30.0
_CANARY_CHUNKS = 8

_RETRAIN_EVERY_WINDOWS = 4


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to turn: the name of dataset, model and endpoint, the metric to judge by, the seed."""

    name: str
    metric: str | None = None
    seed: int = 0


def turn(settings: Settings, split: Split, request: Request, narrator: Narrator) -> LoopReport:
    """Turn the loop once; gives its document. The platform is started for it unless it runs already.

    Raises InvalidData when the earlier rows cannot be learned from, Unavailable when the platform does not come up.
    """
    stages = Stages(narrator)
    began = time.monotonic()
    with stages.stage("start") as step:
        platform = RunningPlatform(settings)
        step.done(f"control {platform.control}, data {platform.data}")
    try:
        return Turn(platform, split, request, stages, began).run()
    finally:
        platform.close()


class Turn:
    """The state of one turn."""

    def __init__(self, platform: RunningPlatform, split: Split, request: Request, stages: Stages, began: float) -> None:
        self.platform, self.split, self.request, self.stages, self.began = platform, split, request, stages, began
        self.fingerprint = fingerprint(split, request)
        self.before = unfinished(platform.home, self.fingerprint)
        self.name = self.before.name if self.before else _free_name(platform.session, request.name)
        self.journal = Journal(platform.home, self.name)
        self.notes = list(split.notes)
        if self.name != request.name:
            self.notes.append(f"{request.name} is an endpoint already, so this turn is called {self.name}")
        self.served: list[Served] = []
        self.replies: list[Reply] = []
        self.alarms: list[Alarm] = []
        self.retrainings: list[Retraining] = []
        self.decisions: list[Decision] = []
        self.regular = False
        self.posted = 0
        self.expected_rows = self.expected_labels = 0
        self.window = Window(0, 0, 0)
        self.told: set[tuple[str, str, str]] = set()
        self.checked: set[str] = set()
        self.windows: list[dict[str, Any]] = []

    def run(self) -> LoopReport:
        """Carry out all of it."""
        if self.before is None:
            dataset = self._version()
            champion = self._first_turn(dataset)
        else:
            dataset, champion = self.before.dataset, self._resumed(self.before)
        judge = self.platform.call(lambda session: Judge(session, champion, self.split))
        traffic = self._traffic(champion)
        for window in self.split.windows[len(self.windows) :]:
            self.window, sent = window, len(self.replies)
            self._replay(traffic, window)
            self._look()
            self.windows.append(judge.window(window, self.served))
            self._keep(dataset, champion.ref, Part(self.served[window.start :], self.replies[sent:]))
            self._progress(self.windows[-1])
        report = self.platform.call(lambda session: self._report(session, dataset, champion, judge, self.windows))
        self.journal.remove()
        return report

    # Going on after the process was killed

    def _keep(self, dataset: str, champion: str, part: Part) -> None:
        progress = Progress(
            fingerprint=self.fingerprint,
            name=self.name,
            dataset=dataset,
            champion=champion,
            windows=self.windows,
            notes=self.notes,
            alarms=self.alarms,
            retrainings=self.retrainings,
            decisions=self.decisions,
            posted=self.posted,
            told=sorted(self.told),
            checked=sorted(self.checked),
            regular=self.regular,
            stages=self.stages.seconds,
            seconds=time.monotonic() - self.began,
        )
        self.journal.write(progress, part)

    def _resumed(self, before: Progress) -> ModelVersion:
        """Take up what was kept; what the next window had begun is sent again."""
        for part in self.journal.parts(before):
            self.served += part.served
            self.replies += part.replies
        self.windows, self.alarms, self.retrainings = before.windows, before.alarms, before.retrainings
        self.decisions, self.posted, self.regular = before.decisions, before.posted, before.regular
        self.told, self.checked = set(before.told), set(before.checked)
        self.stages.seconds.update(before.stages)
        self.began -= before.seconds
        self.notes = [*before.notes, f"the turn was taken up again after window {len(self.windows) - 1}"]
        self.plan = plan_of(self.name, self.split, before.dataset, metric=self.request.metric, seed=self.request.seed)
        counted = self.platform.call(lambda session: session.predictions.log_counts(self.name))
        self.expected_rows, self.expected_labels = counted.predictions, counted.labels
        return self.platform.call(lambda session: session.registry.resolve(before.champion))

    # The stages before traffic

    def _version(self) -> str:
        with self.stages.stage("version") as step:
            version = self.platform.call(
                lambda session: session.import_dataset(
                    self.name,
                    self.split.earlier,
                    time=self.split.dated,
                    check=False,
                    token=f"loop:{self.name}:{self.fingerprint}:start",
                )
            )
            step.done(f"{version.rows} rows x {len(version.columns)} columns are {version.ref}")
        with self.stages.stage("check") as step:
            report = self.platform.call(lambda session: session.datasets.check(self.name, version.version))
            failed = [str(check) for check in report.failed]
            self.notes += [f"quality of {version.ref}: {text}" for text in failed]
            said = "all passed" if not failed else f"{len(failed)} failed: {failed[0]}"
            step.done(f"{len(report.checks)} expectations suggested from the data, {said}")
        return version.ref

    def _first_turn(self, dataset: str) -> ModelVersion:
        call = self.platform.call
        rows = self.split.windows[0].stop - self.split.windows[0].start
        watched = MonitorSettings(windows=Windows(rows=rows))
        call(lambda session: session.monitoring.configure(self.name, watched))
        plan = plan_of(self.name, self.split, dataset, metric=self.request.metric, seed=self.request.seed)
        self.plan = plan
        call(lambda session: session.triggers.set_policy(self.name, policy_of(plan)))
        with self.stages.stage("train") as step:
            parameters, token = msgspec.to_builtins(plan), f"loop:{self.name}:{self.fingerprint}:first"
            job = call(lambda session: session.pipelines.start(PIPELINE, parameters, token=token))
            job = self._finished(job, step.progress)
            trained = job.step("train").result
            step.done(words.trained(trained))
        released = job.step("release").result
        with self.stages.stage("deploy") as step:
            self._until_served(released["model"])
            step.done(f"{released['model']} passed its gate and serves as {released['release']}")
        return call(lambda session: session.registry.resolve(released["model"]))

    def _traffic(self, champion: ModelVersion) -> Traffic:
        names = [field.name for field in champion.info.signature.inputs]
        return Traffic(self.platform.data, self.name, names, key=self.split.key, revive=self.platform.revive)

    def _finished(self, job: Job, progress: Callable[[str], None]) -> Job:
        while True:
            found = self.platform.call(lambda session: session.pipelines.get(job.id))
            if found.status == "done":
                return found
            if found.status in ("failed", "cancelled"):
                raise InvalidData(
                    f"{found.ref} {found.status}: {found.error or 'see its log with `mainspring job logs`'}"
                )
            running = next((step for step in found.steps if step.state == "leased"), None)
            progress("" if running is None else f"{running.name}: {running.progress or '...'}")
            time.sleep(_POLL_S)

    def _until_served(self, model: str) -> None:
        """Wait until the data plane answers with this model version."""
        url = f"{self.platform.data}/v2/models/{self.name}/versions/{Ref.parse(model).version}/ready"
        deadline = time.monotonic() + _SERVED_WITHIN_S
        while not _is_ready(url):
            if time.monotonic() > deadline:
                raise Unavailable(f"{model} is not served after {_SERVED_WITHIN_S:g} s; see the logs of the data plane")
            time.sleep(_POLL_S)

    # Traffic

    def _replay(self, traffic: Traffic, window: Window) -> None:
        """Send the rows of a window, in chunks while a canary runs, so that it is looked at in between."""
        start = window.start
        while start < window.stop:
            size = window.stop - start
            if self._canary_runs():
                size = max(1, min(size, (window.stop - window.start) // _CANARY_CHUNKS))
            self._send(traffic, start, start + size)
            start += size
            if self._canary_runs():
                self._look_at_canary()

    def _send(self, traffic: Traffic, start: int, stop: int) -> None:
        with self.stages.stage("serve") as step:
            step.progress(f"rows {start} to {stop} of {self.split.later.height}")
            instants = None if self.split.instants is None else self.split.instants[start:stop]
            rows = self.split.later[start:stop]
            served, replies = traffic.send(rows, start, instants, self.split.rows_per_request)
            self.served += served
            self.replies += [msgspec.structs.replace(reply, body=b"") for reply in replies]
            self.expected_rows += sum(one.id is not None for one in served)
            if (told := first_error(replies)) is not None and not any("refused" in note for note in self.notes):
                self.notes.append(f"some requests were refused; the first was told {told}")
        with self.stages.stage("observe"):
            self._post_labels(traffic, stop)
            self._until_ingested()

    def _post_labels(self, traffic: Traffic, arrived: int) -> None:
        target, due = self.split.later[self.split.target], []
        while self.posted < arrived and self.split.known_after[self.posted] < arrived:
            one, label = self.served[self.posted], target[self.posted]
            if one.id is not None and label is not None:
                due.append((one.id, plain(label)))
            self.posted += 1
        if not due:
            return
        replies = traffic.post_labels(due)
        if (told := first_error(replies)) is not None:
            raise MainspringError(f"labels were refused: {told}")
        self.expected_labels += len(due)

    def _until_ingested(self) -> None:
        """Wait until the log has what was answered; what a killed data worker had not written yet is given up."""
        deadline = time.monotonic() + _INGESTED_WITHIN_S
        while True:
            asked = time.monotonic()
            found = self.platform.call(lambda session: session.predictions.log_counts(self.name))
            if found.predictions >= self.expected_rows and found.labels >= self.expected_labels:
                return
            if time.monotonic() > deadline:
                lost = self.expected_rows - found.predictions, self.expected_labels - found.labels
                self.notes.append(f"{lost[0]} predictions and {lost[1]} labels did not reach the log in time")
                self.expected_rows, self.expected_labels = found.predictions, found.labels
                return
            # Counting takes longer the more there is: leave the control plane as much time for its own work.
            time.sleep(max(_POLL_S, time.monotonic() - asked))

    # Watching and deciding

    def _look(self) -> None:
        with self.stages.stage("monitor"):
            self.platform.call(lambda session: session.monitoring.advance(self.name))
            # What it gave may be lost with a process that is killed; what it wrote is not.
            for report in reversed(self.platform.call(lambda session: session.monitoring.windows(self.name))):
                if report.id not in self.checked:
                    self.checked.add(report.id)
                    self._alarm(report)
            self.platform.call(lambda session: session.triggers.evaluate(self.name))
            fired = self.platform.call(lambda session: session.triggers.firings(self.name, limit=1))
        for firing in fired:
            if firing.job is not None and firing.job not in {done.job for done in self.retrainings}:
                self._retrain(firing, firing.job)

    def _alarm(self, report: WindowReport) -> None:
        for alarm in report.alarms:
            found = alarm.finding
            self.alarms.append(
                Alarm(
                    ref=ref("alarm", alarm.id),
                    window=self.window.number,
                    rows=(self.window.start, self.window.stop),
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
                    f"[yellow]![/] [bold]alarm    [/] window {self.window.number}: {words.short(found)}"
                )

    def _retrain(self, firing: Firing, started: str) -> None:
        began = time.monotonic()
        with self.stages.stage("retrain") as step:
            job = self.platform.call(lambda session: session.pipelines.get(started.partition(":")[2]))
            try:
                job = self._finished(job, step.progress)
            except InvalidData as failed:
                self._note_retraining(firing, job.ref, None, None, "failed", time.monotonic() - began, str(failed))
                step.done(f"after {firing.trigger}: {failed}")
                return
            released = job.step("release").result
            dataset = job.step("assemble").result["training"]
            self._note_gate(job)
            step.done(f"after {firing.trigger}: {released['model']} from {dataset}, {words.outcome(released)}")
        outcome: Outcome = "refused" if released["outcome"] == "refused" else "canary"
        seconds = time.monotonic() - began
        self._note_retraining(firing, job.ref, dataset, released["model"], outcome, seconds, released["reason"])

    def _note_retraining(
        self,
        firing: Firing,
        job: str,
        dataset: str | None,
        candidate: str | None,
        outcome: Outcome,
        seconds: float,
        detail: str,
    ) -> None:
        self.retrainings.append(
            Retraining(
                job=job,
                trigger=firing.trigger,
                window=self.window.number,
                evidence=[*firing.evidence.reasons, *firing.evidence.alarms],
                dataset=dataset,
                candidate=candidate,
                outcome=outcome,
                seconds=round(seconds, 3),
                detail=detail,
            )
        )

    def _note_gate(self, job: Job) -> None:
        gated = job.step("gate").result
        report = self.platform.call(lambda session: session.registry.get_report(gated["report"]))
        self.decisions.append(
            Decision(
                window=self.window.number,
                subject=report.model,
                decision="passed" if report.passed else "refused",
                by="gate",
                evidence=msgspec.to_builtins(report),
            )
        )

    def _canary_runs(self) -> bool:
        return bool(self.retrainings) and self.retrainings[-1].outcome == "canary"

    def _look_at_canary(self) -> None:
        with self.stages.stage("canary") as step:
            look = self.platform.call(lambda session: _look_if_active(session, self.name))
            rollout = self.platform.call(lambda session: session.rollouts.status(self.name))
            if look is not None:
                self.decisions.append(
                    Decision(
                        window=self.window.number,
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
                self._until_reacted(rollout.candidate)
                self._retrain_regularly()
            outcome: Outcome = "promoted" if promoted else "rolled_back"
            self.retrainings[-1] = msgspec.structs.replace(self.retrainings[-1], outcome=outcome, detail=rollout.reason)
            step.done(f"{rollout.candidate} {outcome.replace('_', ' ')}: {rollout.reason}")

    def _retrain_regularly(self) -> None:
        """Once a retraining has paid, the data are known to change: do not wait for the next alarm."""
        if self.regular:
            return
        self.regular = True
        every = _RETRAIN_EVERY_WINDOWS * (self.window.stop - self.window.start)
        policy = policy_of(self.plan, VolumeRule(labels=every))
        self.platform.call(lambda session: session.triggers.set_policy(self.name, policy))
        self.notes.append(f"from window {self.window.number} on, every {every} labels start a retraining too")

    def _until_reacted(self, model: str) -> None:
        """Wait until the champion and the watch have followed the promotion."""
        deadline = time.monotonic() + _SERVED_WITHIN_S
        while time.monotonic() < deadline:
            champion = self.platform.call(lambda session: session.registry.resolve(f"model:{self.name}@champion"))
            watched = self.platform.call(lambda session: session.monitoring.reference(self.name))
            if champion.ref == model and watched.model == model:
                return
            time.sleep(_POLL_S)
        self.notes.append(f"the alias champion or the monitors did not follow {model} in time")

    # The end

    def _progress(self, told: dict[str, Any]) -> None:
        count = len(self.split.windows)
        quality = f"live {words.number(told['live'])}, frozen {words.number(told['frozen'])}"
        self.stages.narrator.progress("serve", f"window {told['window'] + 1} of {count}: {quality}")

    def _report(
        self, session: Session, dataset: str, champion: ModelVersion, judge: Judge, windows: list[dict[str, Any]]
    ) -> LoopReport:
        overall = judge.overall(self.served)
        endpoint = session.releases.get(self.name)
        last = next((one.id for one in reversed(self.served) if one.id is not None), None)
        traced = session.trace(f"prediction:{last}") if last is not None else None
        seconds = sorted(reply.seconds for reply in self.replies) or [0.0]
        return LoopReport(
            name=self.name,
            dataset=dataset,
            target=self.split.target,
            task=champion.info.task or "",
            rows={"earlier": self.split.earlier.height, "later": self.split.later.height},
            metric=MetricName(judge.metric, judge.higher_is_better),
            champion_first=champion.ref,
            champion_last=session.registry.resolve(f"model:{self.name}@champion").ref,
            release_last=endpoint.stable or "",
            windows=windows,
            alarms=self.alarms,
            retrainings=self.retrainings,
            decisions=self.decisions,
            requests=Requests(
                sent=len(self.replies),
                failed=sum(reply.status != 200 for reply in self.replies),
                retried=sum(reply.retries > 0 for reply in self.replies),
                rows=len(self.served),
                p50_ms=round(1000 * seconds[len(seconds) // 2], 3),
                p99_ms=round(1000 * seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))], 3),
            ),
            traced=[] if traced is None else [traced.ref, *dict.fromkeys(edge.source for edge in traced.edges)],
            stages=self.stages.seconds,
            notes=self.notes,
            home=str(self.platform.home),
            seconds=round(time.monotonic() - self.began, 3),
            **overall,
        )


def _look_if_active(session: Session, endpoint: str) -> Look | None:
    # A look that was repeated finds the rollout ended by the first.
    return session.rollouts.look(endpoint) if session.rollouts.status(endpoint).active else None


def _free_name(session: Session, wanted: str) -> str:
    taken = {endpoint.name for endpoint in session.releases.list()}
    numbered = (f"{wanted}-{number}" for number in itertools.count(2))
    return wanted if wanted not in taken else next(name for name in numbered if name not in taken)


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5).status_code == 200
    except httpx2.TransportError:
        return False
