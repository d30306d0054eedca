"""Where the platform is, and where this machine keeps what it has not taken in yet."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from mainspring.core.errors import InvalidRequest
from mainspring.core.settings import Settings
from mainspring.core.urls import without_secrets


def check_url(url: str) -> None:
    """Raise InvalidRequest for what is no URL of a control plane."""
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return
    except ValueError:  # A port that is no number, or too large.
        pass
    raise InvalidRequest(f"{without_secrets(url)!r} is not the URL of a control plane; expected http://HOST:PORT")


def spool_of(url: str, cache: str) -> Path:
    """Give the folder for one control plane: what waits for one must never go to another."""
    parts = urlsplit(url.lower())
    host = parts.netloc.rpartition("@")[2]  # A name and password are no part of the place, and not for file names.
    place = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
    readable = re.sub(r"[^a-z0-9.]+", "-", host)
    return Path(cache).expanduser() / "runs" / f"{readable}-{sha256(place.encode()).hexdigest()[:12]}"


def spool_of_home(home: str) -> Path:
    """Give the folder for the platform on a home, whether a control plane runs there or not."""
    return Path(home).absolute() / "run-spool"


def spool(settings: Settings) -> Path:
    """Give the folder for the platform that *settings* mean."""
    return spool_of(settings.url, settings.cache) if settings.url else spool_of_home(settings.home)


def offline_folder(settings: Settings) -> Path:
    """Give the folder of runs that are logged offline."""
    return Path(settings.offline or Path(settings.home, "offline")).expanduser().absolute()
