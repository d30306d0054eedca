"""Logging to a run without waiting: a call takes microseconds, and what was logged survives outages and crashes.

Calls put entries in memory. One thread writes them in batches to a spool on disk, and another sends them from there, in
order, as often as it takes; tracking knows a batch that it has seen by its writer and number. What a process could
not send before it ended is sent by the next logger with the same spool, or by `mainspring sync`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mainspring.client import showing
from mainspring.client.entries import Alerted
from mainspring.client.numbers import read
from mainspring.client.spooled import SpooledRun
from mainspring.core.errors import Conflict, OverLimit, Unavailable
from mainspring.tracking.alerts.model import AlertLevel, check_alert
from mainspring.tracking.artifacts import check_path
from mainspring.tracking.limits import check_batch, check_texts
from mainspring.tracking.media.model import MediaItem
from mainspring.tracking.model import MAX_PARAM_CHARS, Metric

Value = str | int | float | bool


class RunLogger(SpooledRun):
    """Logs to one run, from any thread. In a ``with`` block the run ends with it: finished, failed or killed.

    `mainspring.start_run` makes one. No call waits for the platform or raises because it is away; what does not fit on
    the disk either is dropped, counted in `dropped` and in the tag ``mainspring.dropped`` of the run.
    """

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Log values that belong to one step, all or none of them; without *step*, to the one after the last.

        A value is a number, a medium such as `mainspring.Image` or a list of them, or a mapping of more values
        (``{"train": {"loss": 0.3}}`` is ``train/loss``). What is to be the x-axis of others, such as an epoch, is
        logged along with them. Raises TypeError for what is none of these, InvalidRequest for a medium that cannot be.
        """
        at = time.time_ns() // 1000
        points, media = read(values, self._keys)
        with self._stepping:
            if step is None:
                step = self._step
            self._step = step + 1
        metrics = self._metrics
        metrics.extend([(key, number, step, at) for key, number in points])
        if len(metrics) >= self._limit:
            self._relieve()
        if media:
            self._check_open()
            try:
                showing.keep(self._queue, media, step, at)
            except (Unavailable, OverLimit) as full:
                self._queue.lose(len(media), full)

    def log_metric(self, key: str, value: float, step: int = 0) -> None:
        """Log a value of a metric now. Raises TypeError or ValueError for what is no number."""
        metrics = self._metrics
        if key not in self._keys:
            check_batch([Metric(key, 0.0)], {}, {})
            self._keys.add(key)
        metrics.append((key, float(value), int(step), time.time_ns() // 1000))
        if len(metrics) >= self._limit:
            self._relieve()

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log several metrics at one step."""
        for key, value in values.items():
            self.log_metric(key, value, step)

    def log_param(self, key: str, value: Value) -> None:
        """Set a parameter, once; raises Conflict when this logger has set it to another value."""
        text = str(value)
        check_texts({key: text}, "param", MAX_PARAM_CHARS)
        if self._params.setdefault(key, text) != text:
            raise Conflict(
                f"param {key!r} is {self._params[key]!r} and cannot become {text!r}: params are written once"
            )
        self._add_text(True, key, text)

    def log_params(self, values: Mapping[str, Value]) -> None:
        """Set several parameters."""
        for key, value in values.items():
            self.log_param(key, value)

    def set_tag(self, key: str, value: Value) -> None:
        """Set a tag, replacing one of the same key."""
        text = str(value)
        check_texts({key: text}, "tag")
        self._add_text(False, key, text)

    def set_tags(self, values: Mapping[str, Value]) -> None:
        """Set several tags."""
        for key, value in values.items():
            self.set_tag(key, value)

    def alert(self, title: str, text: str = "", level: AlertLevel = "warning", wait_s: float = 0.0) -> bool:
        """Say that somebody should look at the run; gives False when one of this title was raised within *wait_s*."""
        check_alert(title, text)
        now = time.monotonic()
        if now - self._alerted.get(title, -math.inf) < wait_s:
            return False
        self._check_open()
        self._alerted[title] = now
        with suppress(Unavailable, OverLimit):
            self._queue.append(Alerted(self.run, title, text, level, datetime.now(UTC)))
        self._written.set()
        return True

    def media(self, key: str | None = None) -> list[MediaItem]:
        """List the media that have arrived, in the order of key and step; raises Unavailable while nothing answers."""
        self.flush()
        found: list[MediaItem] = []
        page: str | None = None
        while True:
            answer = self.link.receiver().media.list_media(self.run, key, page=page)
            found += answer.items
            page = answer.next_page
            if page is None:
                return found

    def log_artifact(self, path: str, data: bytes | str) -> None:
        """Leave bytes, or a text, behind as the file *path* of the run, instead of what was there.

        This and `log_file` raise OverLimit or Unavailable when there is no room for it on this machine's disk.
        """
        self._check_open()
        self._queue.keep_bytes(check_path(path), data.encode() if isinstance(data, str) else data)
        self._written.set()

    def log_file(self, file: Path | str, path: str | None = None) -> None:
        """Leave the content that a file has now behind, as *path* or under its own name; a folder with all in it."""
        self._check_open()
        source = Path(file)
        inside = sorted(one for one in source.rglob("*") if one.is_file()) if source.is_dir() else [source]
        for one in inside:
            below = one.relative_to(source).as_posix() if one != source else ""
            name = "/".join(part for part in (path if path is not None else source.name, below) if part)
            self._queue.keep_file(check_path(name), one)
        self._written.set()

    def _add_text(self, is_param: bool, key: str, text: str) -> None:
        self._texts.append((is_param, key, text))
        if len(self._texts) >= self._limit:
            self._relieve()
