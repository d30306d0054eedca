"""Mainspring: the whole loop of production machine learning in one installable product.

import mainspring as ms

run = ms.start_run("churn")        # log to a run: it never waits, and nothing is lost
session = ms.open()                # the platform in a folder, in this process
session = ms.connect(url)          # the same calls, at a running control plane
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mainspring.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.client.logging import RunLogger, Value
    from mainspring.client.media.audio import Audio
    from mainspring.client.media.documents import Figure, Html, Table, Text
    from mainspring.client.media.graph import ModelGraph
    from mainspring.client.media.image import Image
    from mainspring.client.media.shapes import Histogram, Object3D
    from mainspring.client.sending import Receiver
    from mainspring.client.session import Session
    from mainspring.core.settings import Settings

_MEDIA = {
    "Audio": "audio",
    "Figure": "documents",
    "Histogram": "shapes",
    "Html": "documents",
    "Image": "image",
    "ModelGraph": "graph",
    "Object3D": "shapes",
    "Table": "documents",
    "Text": "documents",
}

__all__ = [
    "Audio",
    "Figure",
    "Histogram",
    "Html",
    "Image",
    "ModelGraph",
    "Object3D",
    "Table",
    "Text",
    "__version__",
    "connect",
    "open",
    "start_run",
]


def __getattr__(name: str) -> Any:
    if name not in _MEDIA:
        raise AttributeError(f"module 'mainspring' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"mainspring.client.media.{_MEDIA[name]}"), name)


def open(home: str | None = None) -> Session:
    """Open the platform in folder *home* (default: the setting, ``.mainspring``) in this process.

    When `mainspring up` runs on that folder, this works beside it: both use the same database and files.
    """
    from mainspring.core.settings import load_settings
    from mainspring.planes.embedded import open_platform

    return open_platform(load_settings({"home": home}).settings)


def connect(url: str) -> Session:
    """Give a session with the control plane at *url*; raises Unavailable at the first call when nothing answers.

    Where a login is asked for, the setting ``token`` (MAINSPRING_TOKEN) has it.
    """
    from mainspring.client.session import connect
    from mainspring.core.settings import load_settings

    settings = load_settings().settings
    return connect(url, settings.cache, settings.token)


def start_run(
    experiment: str,
    name: str | None = None,
    *,
    mode: str | None = None,
    home: str | None = None,
    url: str | None = None,
    folder: str | None = None,
    capture: str | None = None,
    run: str | None = None,
    primary: bool = True,
    parent: str | None = None,
    params: Mapping[str, Value] | None = None,
    tags: Mapping[str, str] | None = None,
) -> RunLogger:
    """Start a run and log to it without waiting; best in a ``with`` block, which ends the run as the block ends.

    It goes to the control plane at *url*, to the one that runs on *home*, or into that folder by this very process, as
    the settings say where neither is given. *mode* is ``online`` or ``offline``: then everything is kept in *folder*
    until `mainspring sync` sends it; *capture* is what is recorded besides, as in the settings. With the id of a *run*
    that one is gone on with; of several processes that log to it one is *primary*, which begins and ends it. Raises
    InvalidRequest for a bad name or what is too long.
    """
    from mainspring.client.starting import start_run_by
    from mainspring.core.settings import load_settings

    settings = load_settings({"home": home, "url": url, "mode": mode, "offline": folder, "capture": capture}).settings
    return start_run_by(
        settings,
        _open_home,
        experiment,
        name=name,
        run=run,
        primary=primary,
        parent=parent,
        params=params,
        tags=tags,
    )


def _open_home(settings: Settings) -> Receiver:
    from mainspring.planes.embedded import open_platform

    return open_platform(settings)
