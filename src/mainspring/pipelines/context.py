"""What a step is given: its parameters, the results that it needs, the platform, and a way to say how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mainspring.pipelines.model import job_ref


class StepContext:
    """The world of one attempt of a step.

    ``run`` is the id of the job; ``inputs`` maps the name of each step that this one needs to its result; ``attempt``
    counts from 1.
    """

    def __init__(
        self,
        *,
        run: str,
        pipeline: str,
        step: str,
        attempt: int,
        parameters: dict[str, Any],
        inputs: dict[str, Any],
        platform: Callable[[], Any],
        progress: Callable[[str, float | None], None],
    ) -> None:
        self.run = run
        self.pipeline = pipeline
        self.step = step
        self.attempt = attempt
        self.parameters = parameters
        self.inputs = inputs
        self._platform = platform
        self._progress = progress

    @property
    def ref(self) -> str:
        """Give the ref of the job, for lineage."""
        return job_ref(self.run)

    @property
    def platform(self) -> Any:
        """Give the platform, opened on first use. Raises LookupError when the worker was started without one."""
        return self._platform()

    def token(self, label: str) -> str:
        """Give the idempotency key of one effect of this step: the same in every attempt, so it happens once.

        *label* tells the effects of a step apart; use each once.
        """
        return f"job:{self.run}/{self.step}/{label}"

    def progress(self, text: str, fraction: float | None = None) -> None:
        """Say how far the step is; *fraction* is between 0 and 1."""
        self._progress(text, fraction)
