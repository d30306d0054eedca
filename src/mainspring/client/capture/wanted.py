"""What watches a run of which some things are wanted."""

from __future__ import annotations

from mainspring.client.capture.origin import OriginWatcher
from mainspring.client.capture.watchers import Captures, Watcher
from mainspring.client.queueing import RunQueue


def watchers_for(captures: Captures, queue: RunQueue) -> list[Watcher]:
    """Begin to capture what is wanted; what is not costs not even its import."""
    watchers: list[Watcher] = []
    if not captures.names.isdisjoint({"command", "environment", "code"}):
        watchers.append(OriginWatcher(captures))
    if "output" in captures:
        from mainspring.client.capture.output import OutputWatcher

        output = OutputWatcher.start(queue)
        watchers += [output] if output is not None else []
    if "system" in captures:
        from mainspring.client.capture.system import SystemWatcher

        watchers.append(SystemWatcher())
    return watchers
