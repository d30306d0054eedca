"""Watch what endpoints get and give: learn what is normal, check each window against it, and say what changed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import polars as pl

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import Conflict, InvalidRequest, NotFound
from mainspring.core.ids import new_id
from mainspring.core.operations import operation
from mainspring.core.refs import check_name
from mainspring.monitoring import budget, store
from mainspring.monitoring.checking import input_findings, label_findings, logged_scores
from mainspring.monitoring.events import (
    DriftDetected,
    PerformanceDropped,
    ReferenceSet,
    ReferenceWatched,
    WindowChecked,
)
from mainspring.monitoring.learning import Scored, learn
from mainspring.monitoring.model import (
    MONTH,
    Alarm,
    Cut,
    Finding,
    MonitorStatus,
    Performance,
    Reference,
    Settings,
    WindowReport,
    Windows,
)
from mainspring.monitoring.quality import POOLED
from mainspring.monitoring.windows import Window, by_rows, by_time
from mainspring.predictions.log import Logged, PredictionLog
from mainspring.registry.signature import ModelInfo
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_LISTED = 1000


class Monitoring:
    """Keeps one reference for each release and checks the endpoint's traffic against that of the release it serves."""

    def __init__(self, database: Database, log: PredictionLog, clock: Clock | None = None) -> None:
        self._database, self._log, self._clock = database, log, clock or SystemClock()

    def set_reference(
        self,
        endpoint: str,
        release: str,
        frame: pl.DataFrame,
        *,
        info: ModelInfo,
        scored: Scored | None = None,
        model: str | None = None,
        dataset: str | None = None,
        settings: Settings | None = None,
        ordered: bool = True,
        watch: bool = True,
        token: str | None = None,
    ) -> Reference:
        """Learn what is normal for a release from rows that its model was trained on, in the order of time.

        *scored* are the model's answers on rows that it was not fitted to, with their labels: without them neither
        predictions nor performance are watched. *ordered* False says that the rows have no order in time. With *watch*
        the endpoint is watched against this reference from now on. The same *token* gives the first reference again.
        Raises InvalidData when the frame is empty or the answers do not fit the model's task.
        """
        check_name(endpoint, "endpoint")
        if (known := self._by_token(token)) is not None:
            return known
        reference = learn(
            frame,
            info,
            scored,
            endpoint=endpoint,
            release=release,
            model=model,
            dataset=dataset,
            settings=settings or self.settings(endpoint),
            ordered=ordered,
            at=self._clock.now(),
        )
        with self._database.begin() as connection:
            if token is not None and (known := store.reference_by_token(connection, token)) is not None:
                return known
            store.insert_reference(connection, reference, token)
            if watch:
                store.watch(connection, endpoint, reference.id)
            emit(
                connection,
                ReferenceSet(endpoint=endpoint, release=release, reference=reference.ref, model=model, dataset=dataset),
            )
        return reference

    @operation("PUT /endpoints/{endpoint}/monitor")
    def watch(self, endpoint: str, release: str) -> Reference:
        """Watch an endpoint against the reference of a release that was learnt before, as after a rollback.

        Traffic from before this call is not checked again. Raises NotFound when the release has no reference.
        """
        mark = self._log.last_mark()
        with self._database.begin() as connection:
            reference = store.latest_reference(connection, endpoint, release)
            if reference is None:
                raise NotFound(
                    f"no reference was learnt for {release}; set one from its training data", release=release
                )
            watched = store.watched(connection, endpoint)
            if watched is not None and watched.id == reference.id:
                return reference
            store.watch(connection, endpoint, reference.id)
            store.skip(connection, reference.id, mark)
            emit(
                connection,
                ReferenceWatched(endpoint=endpoint, release=release, reference=reference.ref),
            )
        return reference

    @operation("PUT /endpoints/{endpoint}/monitor/settings")
    def configure(self, endpoint: str, settings: Settings) -> Settings:
        """Set how the endpoint is monitored: windows, budget of false alarms, effects that matter, columns ignored.

        It counts for references that are set from now on.
        """
        check_name(endpoint, "endpoint")
        with self._database.begin() as connection:
            store.set_settings(connection, endpoint, settings)
        return settings

    @operation("GET /endpoints/{endpoint}/monitor/settings")
    def settings(self, endpoint: str) -> Settings:
        """Give how the endpoint is monitored; the defaults where nothing was set."""
        with self._database.read() as connection:
            return store.settings(connection, endpoint) or Settings()

    @operation("GET /monitors")
    def monitored(self) -> list[str]:
        """List the endpoints that are watched."""
        with self._database.read() as connection:
            return store.endpoints(connection)

    @operation("POST /endpoints/{endpoint}/monitor/advance")
    def advance(self, endpoint: str) -> list[WindowReport]:
        """Check every complete window of traffic and of labels that was not checked yet, in order.

        Raises NotFound when the endpoint has no reference, Conflict when another process checks it at the same time.
        """
        reference = self._watched(endpoint)
        reports = [self._check_inputs(reference, window) for window in self._cut(reference, "inputs")]
        if reference.quality is not None:
            reports += [self._check_labels(reference, window) for window in self._cut(reference, "labels")]
        return reports

    def check(self, endpoint: str, frame: pl.DataFrame, start: datetime, end: datetime) -> WindowReport:
        """Check a frame of features that somebody else cut, such as a batch before it is scored.

        It takes its part of the budget like any other window. Raises InvalidRequest when the frame is empty.
        """
        if frame.is_empty():
            raise InvalidRequest("there are no rows to check in this window; give at least one")
        reference = self._watched(endpoint)
        with self._database.read() as connection:
            cursor = store.cursor(connection, reference.id, "inputs")
        after = msgspec.structs.replace(cursor, windows=cursor.windows + 1)
        return self._check_inputs(reference, Window(start, end, Logged(pl.DataFrame(), frame), after))

    @operation("GET /endpoints/{endpoint}/monitor")
    def status(self, endpoint: str) -> MonitorStatus:
        """Say what the endpoint is watched against, how many windows were checked and how many raised alarms.

        Raises NotFound when the endpoint has no reference.
        """
        reference = self._watched(endpoint)
        with self._database.read() as connection:
            inputs = store.cursor(connection, reference.id, "inputs").windows
            labels = store.cursor(connection, reference.id, "labels").windows
            alarms = store.count_alarms(connection, reference.id)
            last = store.reports(connection, endpoint, limit=1, reference=reference.id)
        return MonitorStatus(
            endpoint=endpoint,
            release=reference.release,
            reference=reference.ref,
            since=reference.at,
            windows=inputs,
            label_windows=labels,
            alarms=alarms,
            spent=budget.spent(inputs) * budget.INPUTS + budget.spent(labels) * budget.LABELS,
            last_window=last[0].end if last else None,
            columns=len(reference.columns),
            excluded={p.name: p.excluded for p in reference.columns if p.excluded is not None},
            quality=reference.quality,
            notes=reference.notes,
        )

    @operation("GET /endpoints/{endpoint}/monitor/reference")
    def reference(self, endpoint: str) -> Reference:
        """Give what is normal for the release that the endpoint is watched against."""
        return self._watched(endpoint)

    @operation("GET /endpoints/{endpoint}/alarms")
    def alarms(self, endpoint: str, since: datetime | None = None, limit: int = 100) -> list[Alarm]:
        """List the newest alarms of an endpoint first, with window, statistic, budget and effect."""
        with self._database.read() as connection:
            return store.alarms(connection, endpoint, limit=_bounded(limit), since=since)

    @operation("GET /endpoints/{endpoint}/windows")
    def windows(self, endpoint: str, cut: Cut | None = None, limit: int = 20) -> list[WindowReport]:
        """List the newest window reports of an endpoint first."""
        with self._database.read() as connection:
            return store.reports(connection, endpoint, limit=_bounded(limit), cut=cut)

    @operation("GET /window-reports/{id}")
    def report(self, id: str) -> WindowReport:
        """Give the report of one window; raises NotFound when there is none of the id."""
        with self._database.read() as connection:
            found = store.report(connection, id)
        if found is None:
            raise NotFound(f"there is no report {id}; list them with the windows of an endpoint", id=id)
        return found

    def _by_token(self, token: str | None) -> Reference | None:
        if token is None:
            return None
        with self._database.read() as connection:
            return store.reference_by_token(connection, token)

    def _watched(self, endpoint: str) -> Reference:
        with self._database.read() as connection:
            reference = store.watched(connection, endpoint)
        if reference is None:
            raise NotFound(
                f"endpoint {endpoint} is not watched: set a reference from the training data of its release",
                endpoint=endpoint,
            )
        return reference

    def _cut(self, reference: Reference, cut: Cut) -> Iterator[Window]:
        with self._database.read() as connection:
            cursor = store.cursor(connection, reference.id, cut)
        windows = reference.settings.windows
        if cut == "labels":
            return by_rows(self._log, reference, cursor, windows.labelled, labels=True)
        if windows.rows is not None:
            return by_rows(self._log, reference, cursor, windows.rows, labels=False)
        return by_time(self._log, reference, cursor, windows.seconds or math.inf)

    def _check_inputs(self, reference: Reference, window: Window) -> WindowReport:
        alpha, month = self._alpha(reference, "inputs", window)
        rows, features = window.logged.rows, window.logged.features
        scores, refused = None, (0, features.height)
        if rows.height:
            answered = rows["status"] < 400
            refused = (int((rows["status"].is_in([400, 415, 422])).sum()), rows.height)
            rows, features = rows.filter(answered), features.filter(answered)
            if reference.predictions is not None and rows.height:
                scores = logged_scores(reference, rows)
        findings, notes = input_findings(reference, features, scores, refused, alpha)
        return self._record(reference, "inputs", window, alpha, month, findings, notes=notes)

    def _check_labels(self, reference: Reference, window: Window) -> WindowReport:
        alpha, month = self._alpha(reference, "labels", window)
        with self._database.read() as connection:
            earlier = store.reports(
                connection, reference.endpoint, limit=POOLED - 1, cut="labels", reference=reference.id
            )
        before = [report.performance for report in reversed(earlier) if report.performance is not None]
        findings, performance = label_findings(reference, window.logged.rows, before, alpha)
        notes = [] if performance else ["the metric is not defined on this window (one class only)"]
        return self._record(reference, "labels", window, alpha, month, findings, performance, notes)

    def _alpha(self, reference: Reference, cut: Cut, window: Window) -> tuple[float, int]:
        month = (window.end - _EPOCH) // MONTH
        with self._database.read() as connection:
            earlier = store.windows_in_month(connection, reference.id, cut, month)
        settings = reference.settings
        windows = settings.windows if cut == "inputs" else Windows(rows=settings.windows.labelled)
        return budget.alpha(settings.budget, windows, window.after.windows, earlier + 1), month

    def _record(
        self,
        reference: Reference,
        cut: Cut,
        window: Window,
        alpha: float,
        month: int,
        findings: list[Finding],
        performance: Performance | None = None,
        notes: list[str] | None = None,
    ) -> WindowReport:
        report = WindowReport(
            id=new_id(),
            endpoint=reference.endpoint,
            release=reference.release,
            reference=reference.ref,
            cut=cut,
            number=window.after.windows,
            start=window.start,
            end=window.end,
            rows=window.logged.features.height,
            at=self._clock.now(),
            alpha=alpha,
            findings=findings,
            performance=performance,
            notes=notes or [],
        )
        report = msgspec.structs.replace(report, alarms=_alarms(report))
        with self._database.begin() as connection:
            if store.cursor(connection, reference.id, cut).windows != window.after.windows - 1:
                raise Conflict(
                    f"another process checked window {report.number} of {reference.endpoint} meanwhile: try again",
                    endpoint=reference.endpoint,
                )
            store.insert_report(connection, report, month)
            store.set_cursor(connection, reference.id, cut, window.after)
            for event in _events(report):
                emit(connection, event)
        return report


def _alarms(report: WindowReport) -> list[Alarm]:
    return [
        Alarm(
            id=new_id(),
            endpoint=report.endpoint,
            release=report.release,
            reference=report.reference,
            cut=report.cut,
            window=report.number,
            start=report.start,
            end=report.end,
            rows=report.rows,
            at=report.at,
            finding=finding,
        )
        for finding in report.findings
        if finding.alarming
    ]


def _events(report: WindowReport) -> Iterator[WindowChecked | DriftDetected | PerformanceDropped]:
    shared = {"endpoint": report.endpoint, "release": report.release, "report": report.ref}
    yield WindowChecked(
        **shared,
        reference=report.reference,
        cut=report.cut,
        number=report.number,
        rows=report.rows,
        alarms=len(report.alarms),
    )
    drifted = [alarm for alarm in report.alarms if alarm.finding.kind != "performance"]
    if drifted:
        columns = list(dict.fromkeys(alarm.finding.column for alarm in drifted))
        yield DriftDetected(**shared, alarms=[alarm.ref for alarm in drifted], columns=columns)
    if len(drifted) < len(report.alarms) and report.performance is not None:
        yield PerformanceDropped(
            **shared,
            alarms=[alarm.ref for alarm in report.alarms if alarm.finding.kind == "performance"],
            metric=report.performance.metric,
            value=report.performance.value,
            reference_value=report.performance.reference,
        )


def _bounded(limit: int) -> int:
    if not 1 <= limit <= _MOST_LISTED:
        raise InvalidRequest(f"limit must be from 1 to {_MOST_LISTED}")
    return limit
