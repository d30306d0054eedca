"""Tells a person what the loop is doing, honestly: each line with the time that it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol

from mainspring.core.units import format_duration


class Step:
    """A stage that is under way; ``done`` is what its last line will say."""

    def __init__(self, narrator: Narrator, name: str) -> None:
        self._narrator = narrator
        self.name = name
        self.result = ""

    def progress(self, text: str) -> None:
        """Show what it is doing right now."""
        self._narrator.progress(self.name, text)

    def done(self, text: str) -> None:
        """Say what came out."""
        self.result = text


class Narrator(Protocol):
    """Where the story goes."""

    def progress(self, stage: str, text: str) -> None: ...

    def finished(self, stage: str, text: str, seconds: float) -> None: ...

    def say(self, text: str) -> None: ...


class Stages:
    """Names and times the stages of the loop."""

    def __init__(self, narrator: Narrator) -> None:
        self.narrator = narrator
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, *, quiet: bool = False) -> Iterator[Step]:
        """Time a stage; *quiet* stages are only shown when they leave a result."""
        step = Step(self.narrator, name)
        started = time.monotonic()
        if not quiet:
            step.progress("")
        try:
            yield step
        finally:
            seconds = time.monotonic() - started
            self.seconds[name] = round(self.seconds.get(name, 0.0) + seconds, 3)
            if step.result:
                self.narrator.finished(name, step.result, seconds)


class Silent:
    """Tells nothing: for programs that read the document."""

    def progress(self, stage: str, text: str) -> None:
        """Tell nothing."""

    def finished(self, stage: str, text: str, seconds: float) -> None:
        """Tell nothing."""

    def say(self, text: str) -> None:
        """Tell nothing."""


class Terminal:
    """Tells it on a terminal: one live line for what goes on, one lasting line for each result."""

    def __init__(self, file: IO[str]) -> None:
        from rich.console import Console
        from rich.status import Status

        self._console = Console(file=file, highlight=False)
        self._status: Status | None = None

    def progress(self, stage: str, text: str) -> None:
        """Replace the live line."""
        shown = f"[bold]{stage}[/] {_escape(text)}"
        if not self._console.is_terminal:
            return
        if self._status is None:
            self._status = self._console.status(shown, spinner="dots")
            self._status.start()
        else:
            self._status.update(shown)

    def finished(self, stage: str, text: str, seconds: float) -> None:
        """Write a lasting line."""
        self._still()
        self._console.print(
            f"[green]✓[/] [bold]{stage:<9}[/] {_escape(text)} [dim]{format_duration(seconds)}[/]", soft_wrap=True
        )

    def say(self, text: str) -> None:
        """Write text as it is."""
        self._still()
        self._console.print(text, soft_wrap=True)

    def _still(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
