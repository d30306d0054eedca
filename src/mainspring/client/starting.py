"""Starting a run from what the settings say: where it is logged to, and whether that is done now or later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mainspring.client.capture.watchers import Captures
from mainspring.client.credentials import login, owner_token
from mainspring.client.entries import Start
from mainspring.client.logging import RunLogger, Value
from mainspring.client.places import check_url, offline_folder, spool
from mainspring.client.sending import Link, Receiver
from mainspring.client.spooled import MAX_SPOOL_BYTES
from mainspring.core.ids import new_id
from mainspring.core.refs import check_name, check_path_name
from mainspring.core.settings import Settings
from mainspring.tracking.limits import check_batch

if TYPE_CHECKING:
    from mainspring.storage.objects.store import ObjectStore
    from mainspring.tracking.alerts.service import Alerts
    from mainspring.tracking.media.service import Media
    from mainspring.tracking.service import Tracking

_TIMEOUT_S = 120.0


def start_run(
    link: Link,
    experiment: str,
    name: str | None = None,
    *,
    spool: Path,
    offline: bool = False,
    run: str | None = None,
    primary: bool = True,
    parent: str | None = None,
    params: Mapping[str, Value] | None = None,
    tags: Mapping[str, str] | None = None,
    capture: str = "command,environment,code",
    max_bytes: int = MAX_SPOOL_BYTES,
) -> RunLogger:
    """Start a run and log to it, also while the control plane does not answer: the run appears there later.

    With the id of a *run* that one is gone on with, or begun where it is not there. Of several processes that log to
    it one is *primary*: the others neither begin nor end it. *capture* says what is recorded besides, as the setting
    does. Raises InvalidRequest for a bad name or what is too long.
    """
    texts = {key: str(value) for key, value in (params or {}).items()}
    labels = {key: str(value) for key, value in (tags or {}).items()}
    check_batch([], texts, labels)
    check_path_name(experiment, "experiment")
    id = new_id() if run is None else check_name(run, "run")
    begin = None
    if primary and run is None:
        begin = Start(id, experiment, name, parent, texts, labels, datetime.now(UTC))
    elif primary:
        begin = Start(id, experiment, name, parent, {}, {}, datetime.now(UTC), resume=True)
    captures = Captures.parse(capture if primary else "none")
    logger = RunLogger(link, id, spool=spool, begin=begin, own=primary, offline=offline, max_bytes=max_bytes)
    if run is not None:
        logger.log_params(texts)
        logger.set_tags(labels)
    logger.watch(captures)
    return logger


def start_run_by(
    settings: Settings, open_home: Callable[[Settings], Receiver], experiment: str, **options: Any
) -> RunLogger:
    """Start a run where *settings* say; *open_home* opens the platform of a home folder in this process."""
    if settings.url:
        check_url(settings.url)
    offline = settings.mode == "offline"
    command = ["--url", settings.url] if settings.url else ["--home", str(Path(settings.home).absolute())]
    return start_run(
        Link(lambda: reach(settings, open_home), command=command),
        experiment,
        spool=offline_folder(settings) if offline else spool(settings),
        offline=offline,
        max_bytes=settings.run_spool_max_bytes,
        capture=settings.capture,
        **options,
    )


def reach(settings: Settings, open_home: Callable[[Settings], Receiver]) -> Receiver:
    """Give what takes in runs: the control plane by URL, the one that runs on the home, or the home itself."""
    from mainspring.runtime.home_lock import home_owner

    if settings.url:
        return FarReceiver(settings.url, settings.token)
    owner = home_owner(settings.home)
    if owner is not None and "control" in owner.urls:
        return FarReceiver(owner.urls["control"], settings.token or owner_token(settings.home))
    return open_home(settings)


class FarReceiver:
    """The part of a control plane that takes in runs; opening all of a session takes longer."""

    def __init__(self, url: str, token: str = "") -> None:
        import httpx2

        from mainspring.client.objects import RemoteObjects
        from mainspring.client.remote import remote
        from mainspring.tracking.alerts.service import Alerts
        from mainspring.tracking.media.service import Media
        from mainspring.tracking.service import Tracking

        headers = {"content-type": "application/json", **login(token)}
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=httpx2.Timeout(_TIMEOUT_S, connect=5.0))
        self.tracking: Tracking = remote(Tracking, self._http)
        self.media: Media = remote(Media, self._http)
        self.alerts: Alerts = remote(Alerts, self._http)
        self.objects: ObjectStore = RemoteObjects(self._http)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()
