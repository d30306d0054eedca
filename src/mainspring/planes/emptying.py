"""Emptying a platform that was started for testing: everything is gone at one request, and the processes go on."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from mainspring.core.errors import Conflict, MainspringError
from mainspring.core.ids import new_id
from mainspring.planes.embedded import Platform
from mainspring.planes.serving_files import StatePublisher
from mainspring.planes.testing_home import BIN, is_claimed
from mainspring.protocols.native.errors import error_response
from mainspring.runtime.threads import Threads

_FOLDERS = ("objects/sha256", "tables", "models", "uploads/parted")
_KEPT = {"spool_positions", "log_marks", "outbox_subscribers", "timers"}
"""How far somebody has come, who goes on from there: none of it is anybody's data."""


class Emptying:
    """Empties one platform, while nothing of what goes on behind it is at work."""

    def __init__(self, platform: Platform) -> None:
        """Sweep away what an earlier process had put aside; raises Conflict when the home is none for testing."""
        if not is_claimed(platform.settings):
            raise Conflict(f"the home {platform.home} is not one for testing: start it with `mainspring up --testing`")
        self.turn = threading.RLock()
        """Held by whatever works behind the API, one after the other, and by `empty`."""
        self.platform = platform
        self._bin = platform.home / BIN
        shutil.rmtree(self._bin, ignore_errors=True)
        self._bin.mkdir()

    def empty(self) -> None:
        """Remove every record, object, table and key, and publish that nothing is served."""
        platform = self.platform
        with self.turn:
            # What waits in the spool is of before: taken in now, it goes with the rest.
            platform.predictions.ingest()
            platform.database.delete_all(keep=_KEPT)
            platform.kv.delete_many([key for key, _ in platform.kv.scan()])
            aside = self._put_aside()
            StatePublisher(platform.home / "snapshots").withdraw()
            platform.tracking.experiments.default()
        threading.Thread(target=shutil.rmtree, args=(aside, True), daemon=True).start()

    def _put_aside(self) -> Path:
        # To move a folder takes as long whatever is in it; to remove it, nobody waits.
        aside = self._bin / new_id()
        for number, folder in enumerate(_FOLDERS):
            target = aside / str(number)
            target.mkdir(parents=True)
            with contextlib.suppress(FileNotFoundError):
                for path in (self.platform.home / folder).iterdir():
                    path.rename(target / path.name)
        return aside


def testing_routes(emptying: Emptying, threads: Threads) -> Sequence[BaseRoute]:
    """Give ``POST /testing/reset``."""

    async def reset(request: Request) -> Response:
        try:
            await threads.run(emptying.empty)
        except MainspringError as error:
            return error_response(error)
        return Response(status_code=204)

    return [Route("/testing/reset", reset, methods=["POST"])]
