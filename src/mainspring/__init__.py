"""Mainspring: the whole loop of production machine learning in one installable product.

import mainspring as ms

session = ms.open()                # the platform in a folder, in this process
session = ms.connect(url)          # the same calls, at a running control plane
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.version import __version__

if TYPE_CHECKING:
    from mainspring.client.session import Session

__all__ = ["__version__", "connect", "open"]


def open(home: str | None = None) -> Session:
    """Open the platform in folder *home* (default: the setting, ``.mainspring``) in this process.

    When `mainspring up` runs on that folder, this works beside it: both use the same database and files.
    """
    from mainspring.core.settings import load_settings
    from mainspring.planes.embedded import open_platform

    return open_platform(load_settings({"home": home}).settings)


def connect(url: str) -> Session:
    """Give a session with the control plane at *url*; raises Unavailable at the first call when nothing answers."""
    from mainspring.client.session import connect
    from mainspring.core.settings import load_settings

    return connect(url, load_settings().settings.cache)
