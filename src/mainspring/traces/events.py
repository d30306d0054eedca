"""What happens to traces, as facts. A trace that comes in is none: its spans tell all, and there are too many."""

from __future__ import annotations

from mainspring.core.events import Event


class TracesDeleted(Event, frozen=True):
    """Traces of an experiment, named by its id, were deleted with their spans and the judgements about them."""

    experiment: str
    traces: int
