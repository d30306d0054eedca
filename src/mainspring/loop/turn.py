"""One turn of the loop over a table, as a client of a running platform: train, serve, replay; `watch` decides."""

from __future__ import annotations

import itertools
import time

import msgspec

from mainspring.client.session import Session
from mainspring.core.errors import MainspringError
from mainspring.core.settings import Settings
from mainspring.loop import words
from mainspring.loop.judging import Judge
from mainspring.loop.model import LoopReport, MetricName, Requests, WindowQuality
from mainspring.loop.narrator import Narrator, Stages
from mainspring.loop.platform import RunningPlatform
from mainspring.loop.policy import plan_of, policy_of
from mainspring.loop.progress import Journal, Part, Progress, fingerprint, unfinished
from mainspring.loop.retraining import PIPELINE
from mainspring.loop.table import Split, Window, plain
from mainspring.loop.traffic import Served, Traffic, first_error
from mainspring.loop.waiting import POLL_S, until_finished, until_served
from mainspring.loop.watch import Watch
from mainspring.loop.wire import Reply
from mainspring.monitoring.model import Settings as MonitorSettings
from mainspring.monitoring.model import Windows
from mainspring.registry.model import ServableVersion

_INGESTED_WITHIN_S = 30.0
_CANARY_CHUNKS = 8


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
        self.posted = 0
        self.expected_rows = self.expected_labels = 0
        self.windows: list[WindowQuality] = []

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
            sent = len(self.replies)
            self._replay(traffic, window)
            self.watch.look(window)
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
            alarms=self.watch.alarms,
            retrainings=self.watch.retrainings,
            decisions=self.watch.decisions,
            posted=self.posted,
            told=sorted(self.watch.told),
            checked=sorted(self.watch.checked),
            regular=self.watch.regular,
            stages=self.stages.seconds,
            seconds=time.monotonic() - self.began,
        )
        self.journal.write(progress, part)

    def _resumed(self, before: Progress) -> ServableVersion:
        """Take up what was kept; what the next window had begun is sent again."""
        for part in self.journal.parts(before):
            self.served += part.served
            self.replies += part.replies
        self.windows, self.posted = before.windows, before.posted
        self.stages.seconds.update(before.stages)
        self.began -= before.seconds
        self.notes = [*before.notes, f"the turn was taken up again after window {len(self.windows) - 1}"]
        self.watch = self._watch(before.dataset)
        self.watch.resume(before)
        counted = self.platform.call(lambda session: session.predictions.log_counts(self.name))
        self.expected_rows, self.expected_labels = counted.predictions, counted.labels
        return self.platform.call(lambda session: session.registry.resolve(before.champion).servable())

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

    def _first_turn(self, dataset: str) -> ServableVersion:
        call = self.platform.call
        rows = self.split.windows[0].stop - self.split.windows[0].start
        watched = MonitorSettings(windows=Windows(rows=rows))
        call(lambda session: session.monitoring.configure(self.name, watched))
        self.watch = self._watch(dataset)
        plan = self.watch.plan
        call(lambda session: session.triggers.set_policy(self.name, policy_of(plan)))
        with self.stages.stage("train") as step:
            parameters, token = msgspec.to_builtins(plan), f"loop:{self.name}:{self.fingerprint}:first"
            job = call(lambda session: session.pipelines.start(PIPELINE, parameters, token=token))
            job = until_finished(self.platform, job, step.progress)
            trained = job.step("train").result
            step.done(words.trained(trained))
        released = job.step("release").result
        with self.stages.stage("deploy") as step:
            until_served(self.platform, self.name, released["model"])
            step.done(f"{released['model']} passed its gate and serves as {released['release']}")
        return call(lambda session: session.registry.resolve(released["model"]).servable())

    def _watch(self, dataset: str) -> Watch:
        plan = plan_of(self.name, self.split, dataset, metric=self.request.metric, seed=self.request.seed)
        return Watch(self.platform, plan, self.stages, self.notes)

    def _traffic(self, champion: ServableVersion) -> Traffic:
        names = [field.name for field in champion.info.signature.inputs]
        return Traffic(self.platform.data, self.name, names, key=self.split.key, revive=self.platform.revive)

    # Traffic

    def _replay(self, traffic: Traffic, window: Window) -> None:
        """Send the rows of a window, in chunks while a canary runs, so that it is looked at in between."""
        start = window.start
        while start < window.stop:
            size = window.stop - start
            if self.watch.canary_runs:
                size = max(1, min(size, (window.stop - window.start) // _CANARY_CHUNKS))
            self._send(traffic, start, start + size)
            start += size
            if self.watch.canary_runs:
                self.watch.look_at_canary(window)

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
            time.sleep(max(POLL_S, time.monotonic() - asked))

    # The end

    def _progress(self, told: WindowQuality) -> None:
        count = len(self.split.windows)
        quality = f"live {words.number(told.live)}, frozen {words.number(told.frozen)}"
        self.stages.narrator.progress("serve", f"window {told.window + 1} of {count}: {quality}")

    def _report(
        self, session: Session, dataset: str, champion: ServableVersion, judge: Judge, windows: list[WindowQuality]
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
            alarms=self.watch.alarms,
            retrainings=self.watch.retrainings,
            decisions=self.watch.decisions,
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


def _free_name(session: Session, wanted: str) -> str:
    taken = {endpoint.name for endpoint in session.releases.list()}
    numbered = (f"{wanted}-{number}" for number in itertools.count(2))
    return wanted if wanted not in taken else next(name for name in numbered if name not in taken)
