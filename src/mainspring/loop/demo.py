"""The demo: the whole loop once on a year of flights, then a drill of the way back, then what it all showed."""

from __future__ import annotations

import threading
import time
from typing import Any

import msgspec
import polars as pl

from mainspring.core.settings import Settings
from mainspring.loop import flights, words
from mainspring.loop.model import LoopReport, WindowQuality
from mainspring.loop.narrator import Narrator, Stages
from mainspring.loop.platform import RunningPlatform
from mainspring.loop.table import Split, split
from mainspring.loop.traffic import Traffic
from mainspring.loop.turn import Request, Turn

ROWS = 20_000
NAME = "flights"
_DRILL_ROWS = 200
_POLL_S = 0.002


class Drill(msgspec.Struct, frozen=True, kw_only=True):
    """A rollback under traffic: what was restored, how long until it answered, and how the requests fared."""

    before: str
    restored: str
    seconds: float
    requests: int
    failed: int


class Demo(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo did: the loop's document, the drill, and the part of the traffic that was shifted on purpose."""

    report: LoopReport
    drill: Drill | None
    shift: str
    rows_before_shift: int
    control: str
    data: str


def run_demo(settings: Settings, narrator: Narrator, rows: int = ROWS) -> tuple[Demo, RunningPlatform]:
    """Turn the loop and drill the rollback; the platform still runs, to be closed by the caller."""
    flights.recorded_file()
    stages, began = Stages(narrator), time.monotonic()
    with stages.stage("start") as step:
        platform = RunningPlatform(settings)
        step.done(f"control plane {platform.control}, data plane {platform.data}, one job worker")
    try:
        with stages.stage("data") as step:
            table = split(flights.flights(rows), flights.TARGET, time=flights.TIME, key=flights.KEY)
            shifted = _first_shifted(table)
            known = table.earlier.height
            step.done(f"{rows} of the 336,776 flights that left New York in 2013; {known} are known at the start")
        report = Turn(platform, table, Request(name=NAME), stages, began).run()
        drill = _drill(platform, table, report, stages)
    except BaseException:
        platform.close()
        raise
    demo = Demo(
        report=report,
        drill=drill,
        shift=flights.SHIFT,
        rows_before_shift=shifted,
        control=platform.control,
        data=platform.data,
    )
    return demo, platform


def _first_shifted(table: Split) -> int:
    return int(table.later.select((pl.col(flights.TIME) < flights.SHIFT_FROM).sum()).item())


def _drill(platform: RunningPlatform, table: Split, report: LoopReport, stages: Stages) -> Drill | None:
    """Roll back while requests come in, see the release before answer, and roll forward again."""
    if platform.session.releases.get(report.name).canary is not None:
        platform.session.rollouts.abort(report.name, reason="the traffic of the demo ended before it was decided")
    status = platform.session.releases.status(report.name)
    if status.previous is None or status.stable is None:
        return None
    with stages.stage("rollback") as step:
        traffic = _Steady(platform, table, report.name)
        traffic.start()
        time.sleep(0.2)
        began = time.monotonic()
        restored = platform.session.releases.rollback(report.name, reason="drill").stable or ""
        while traffic.last_release != restored and time.monotonic() - began < 10:
            time.sleep(_POLL_S)
        seconds = time.monotonic() - began
        platform.session.releases.rollback(report.name, reason="end of the drill")
        time.sleep(0.2)
        traffic.stop()
        drill = Drill(
            before=status.stable.ref,
            restored=restored,
            seconds=round(seconds, 3),
            requests=traffic.sent,
            failed=traffic.failed,
        )
        step.done(
            f"{restored} answered {1000 * seconds:.0f} ms after the command, {drill.failed} of {drill.requests} "
            f"requests failed; then forward again to {status.stable.ref}"
        )
    return drill


class _Steady:
    """Requests without a pause, from a thread."""

    def __init__(self, platform: RunningPlatform, table: Split, name: str) -> None:
        info = platform.session.registry.resolve(f"model:{name}@champion").servable().info
        columns = [field.name for field in info.signature.inputs]
        self._traffic = Traffic(platform.data, name, columns, key=None, connections=2)
        self._rows = table.later.tail(_DRILL_ROWS)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = self.failed = 0
        self.last_release: str | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the requests that are under way."""
        self._stopping.set()
        self._thread.join(30)

    def _run(self) -> None:
        start = 0
        while not self._stopping.is_set():
            served, replies = self._traffic.send(self._rows[start : start + 4], 0, None, 1)
            self.sent += len(replies)
            self.failed += sum(reply.status != 200 or reply.retries > 0 for reply in replies)
            self.last_release = served[-1].release or self.last_release
            start = (start + 4) % _DRILL_ROWS


def summary(demo: Demo) -> list[str]:
    """Give the closing lines, in the markup of rich."""
    report = demo.report
    lines = ["", "[bold]What the loop did[/]", ""]
    lines += _quality(demo)
    lines += ["", *_drift(report), *_retrained(report)]
    if demo.drill is not None:
        lines.append(
            f"  Rolled back   to {demo.drill.restored} in {1000 * demo.drill.seconds:.0f} ms with "
            f"{demo.drill.failed} of {demo.drill.requests} requests failed, and forward again"
        )
    lines.append(
        f"  Traffic       {report.requests.sent} requests, {report.requests.failed} failed, p50 "
        f"{report.requests.p50_ms:.2f} ms, p99 {report.requests.p99_ms:.2f} ms (client and server on this machine)"
    )
    if report.traced:
        lines += ["", "[bold]One prediction, traced back[/]", ""]
        lines += [f"  {'  ' * depth}{ref}" for depth, ref in enumerate(_chain(report.traced))]
    lines += [f"  note: {note}" for note in report.notes[:5]]
    return [*lines, "", f"[dim]On purpose: {demo.shift}.[/]", f"[dim]It took {report.seconds:.0f} s.[/]"]


def _quality(demo: Demo) -> list[str]:
    report = demo.report
    name = report.metric.name
    after = [one for one in report.windows if one.rows[0] >= demo.rows_before_shift]
    lines = [
        f"  {name:<13} live {report.live:.4f}; had {report.champion_first} stayed: {report.frozen:.4f}  "
        f"(difference {report.difference_interval[0]:+.4f} to {report.difference_interval[1]:+.4f} at 95 %)"
    ]
    if after:
        lines.append(f"  after shift   {_mean(after)}; in the last three windows {_mean(after[-3:])}")
    lines.append(f"  champion      {report.champion_first} at first, {report.champion_last} at the end")
    return lines


def _mean(windows: list[WindowQuality]) -> str:
    live = [one.live for one in windows if one.live is not None]
    frozen = [one.frozen for one in windows if one.frozen is not None]
    return f"live {words.number(_average(live))}, frozen {words.number(_average(frozen))}"


def _average(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _drift(report: LoopReport) -> list[str]:
    first: dict[str, Any] = {}
    for alarm in report.alarms:
        first.setdefault(f"{alarm.kind} {alarm.feature or ''}".strip(), alarm)
    return [
        f"  Drifted       {name} in window {alarm.window}: {alarm.message}" for name, alarm in list(first.items())[:4]
    ]


def _retrained(report: LoopReport) -> list[str]:
    lines = []
    for one in report.retrainings:
        lines.append(f"  Retrained     {one.candidate or one.job} after {one.trigger}, {one.outcome.replace('_', ' ')}")
        if one.outcome in ("promoted", "canary"):
            lines += [f"    gate        {told}" for told in _gate(report, one.candidate)]
            lines += [f"    canary      {one.detail}"] if one.detail else []
    return lines


def _gate(report: LoopReport, candidate: str | None) -> list[str]:
    for decision in report.decisions:
        if decision.by == "gate" and decision.subject == candidate:
            checks = decision.evidence["checks"]
            return [
                f"{check['name']}: {check['detail']}" for check in checks if check["name"] == "better_than_champion"
            ]
    return []


def _chain(traced: list[str]) -> list[str]:
    """Give one ref of each kind on the way up, the nearest first."""
    kinds: dict[str, str] = {}
    for ref in traced:
        kinds.setdefault(ref.partition(":")[0], ref)
    return [
        ref for kind, ref in kinds.items() if kind in ("prediction", "release", "model", "run", "dataset", "commit")
    ]
