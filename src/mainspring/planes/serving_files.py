"""What the control plane lays out for the data plane: model folders and the published state."""

from __future__ import annotations

import contextlib
import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mainspring.core.errors import AlreadyExists, Corrupt, Unavailable
from mainspring.runtime.snapshots import Publisher, Watcher
from mainspring.serving.model import ServingState, decode_state, encode_state
from mainspring.storage.objects.digests import hexadecimal
from mainspring.storage.objects.store import ObjectStore
from mainspring.storage.objects.tree import get_tree

_APPLIED_WITHIN_S = 5.0


class ModelFolders:
    """Model trees as folders under *root*, each laid out once and never changed."""

    def __init__(self, objects: ObjectStore, root: Path) -> None:
        self._objects, self._root = objects, root
        self._lock = threading.Lock()

    def materialise(self, digest: str) -> Path:
        """Give the folder of a tree; raises NotFound, Corrupt or Unavailable when it cannot be laid out."""
        folder = self.folder(digest)
        with self._lock:
            if not folder.exists():
                self._root.mkdir(parents=True, exist_ok=True)
                # The tree appears whole or not at all; another process may lay out the same one at the same time.
                with contextlib.suppress(AlreadyExists):
                    get_tree(self._objects, digest, folder)
        return folder

    def folder(self, digest: str) -> Path:
        """Say which folder is, or would be, that of a tree."""
        return self._root / hexadecimal(digest)


class StatePublisher:
    """Publishes serving states as snapshots; several processes may, and an older state never replaces a newer one."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, made where it is not there; raises Unavailable when it cannot be written."""
        self._folder = folder
        # A publisher sweeps away what another one left unfinished: so nobody may publish while it is opened.
        with self._turn():
            self._snapshots = Publisher(folder)

    def publish(self, state: ServingState) -> None:
        """Make *state* current, and wait a moment until the data workers that live serve it.

        Raises Unavailable when the snapshot cannot be written. A worker that needs longer than the wait (a large
        model) follows later.
        """
        with self._turn():
            if self._published() > state.version:
                return
            version = self._snapshots.publish(encode_state(state))
        self._snapshots.wait_applied(version, _APPLIED_WITHIN_S)

    def withdraw(self) -> None:
        """Publish that nothing is served, whatever was published before; any later state replaces that."""
        with self._turn():
            self._snapshots.publish(encode_state(ServingState()))

    def _published(self) -> int:
        """Give the version of the state that is current; 0 when there is none, or none that can be read."""
        try:
            current = Watcher(self._folder).current()
            return 0 if current is None else decode_state(current.payload).version
        except Corrupt:
            # What is published now takes its place.
            return 0

    @contextmanager
    def _turn(self) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = (self._folder / ".turn").open("wb")
        except OSError as error:
            raise Unavailable(
                f"the snapshots in {self._folder} cannot be written: {error.strerror}; free some space, or give this "
                "user the right"
            ) from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
