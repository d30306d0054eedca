"""What a command talks to: a control plane by URL, the one that runs on the home, or the home itself."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from mainspring.core.settings import Settings, load_settings

if TYPE_CHECKING:
    from mainspring.client.session import Session


class Target:
    """Where a command is carried out; opened only when it is needed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open the session and close it after the block."""
        from mainspring.planes.embedded import attach

        session = attach(self.settings)
        try:
            yield session
        finally:
            session.close()


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--home``, ``--url`` and ``--json``; the function gets ``target`` and ``as_json``."""

    @click.option("--home", default=None, metavar="DIR", help="Folder of the platform (default .mainspring).")
    @click.option("--url", default=None, metavar="URL", help="Control plane to talk to.")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON on one line.")
    @functools.wraps(function)
    def wrapped(home: str | None, url: str | None, as_json: bool, **rest: Any) -> Any:
        click.get_current_context().ensure_object(dict)["as_json"] = as_json
        settings = load_settings({"home": home, "url": url}).settings
        return function(target=Target(settings), as_json=as_json, **rest)

    return wrapped
