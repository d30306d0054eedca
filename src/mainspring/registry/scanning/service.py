"""The verbs of scans: look through a version or a file, and let a file pass that somebody answers for."""

from __future__ import annotations

from mainspring.core.actor import current_actor
from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import InvalidRequest, NotFound, Unsupported
from mainspring.core.operations import operation
from mainspring.core.refs import ref
from mainspring.registry.scanning import guarding, store
from mainspring.registry.scanning.events import FileAllowed, FileDisallowed
from mainspring.registry.scanning.files import scan_object
from mainspring.registry.scanning.model import AllowedFile, ScanReport, VersionScan
from mainspring.registry.store import require_version
from mainspring.storage.objects.digests import hexadecimal
from mainspring.storage.objects.store import ObjectStore
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit

MAX_PAGE = 1000


class Scans:
    """What the files of versions would do when they are loaded, read without loading them."""

    def __init__(self, database: Database, objects: ObjectStore, clock: Clock | None = None) -> None:
        self.database, self.objects, self.clock = database, objects, clock or SystemClock()

    @operation("POST /models/{name}/versions/{version}/scan")
    def scan_version(self, name: str, version: int) -> VersionScan:
        """Look through the files of a version now, and keep the report in place of the one from its registration.

        Raises NotFound, and Unsupported for a version whose files are not held here.
        """
        with self.database.read() as connection:
            found = require_version(connection, name, version)
        if found.digest is None:
            raise Unsupported(f"{found.ref} is a record only: its files are not held here", model=found.ref)
        report = guarding.look_through(self.database, self.objects, found.digest)
        with self.database.begin() as connection:
            require_version(connection, name, version)
            return guarding.note(connection, found, report, self.clock.now())

    @operation("GET /models/{name}/versions/{version}/scan")
    def get_scan(self, name: str, version: int) -> VersionScan:
        """Get the report of a version: opcodes and imports of each pickle in its files, and what was found in them.

        Raises NotFound, also for a version that was registered before there were scans.
        """
        with self.database.read() as connection:
            require_version(connection, name, version)
            found = store.find(connection, name, version, ref("model", name, version))
        if found is None:
            raise NotFound(
                f"model:{name}@{version} was not looked through yet; `mainspring model scan-version {name} {version}` "
                "does it"
            )
        return found

    @operation("POST /scans")
    def scan_file(self, digest: str, name: str = "file") -> ScanReport:
        """Look through one object of the store; *name* is what the report calls it. Raises NotFound."""
        with self.database.read() as connection:
            allowed = store.allowed_of(connection, [digest])
        return scan_object(self.objects, digest, name, allowed)

    @operation("POST /allowed-files")
    def allow_file(self, digest: str, reason: str) -> AllowedFile:
        """Let the file of this digest be registered whatever a scan finds in it; the reason is kept in the audit log.

        Loading it may run any code: allow only a file that you know. It runs only in versions that are trusted, too.
        Allowing it again changes nothing. Raises InvalidRequest without a reason or for what is no digest.
        """
        hexadecimal(digest)
        if not reason.strip():
            raise InvalidRequest("say why the file may be registered")
        file = AllowedFile(digest=digest, reason=reason, at=self.clock.now(), actor=current_actor().name)
        with self.database.begin() as connection:
            if store.allow(connection, file):
                emit(connection, FileAllowed(digest=digest, reason=reason))
        return file

    @operation("DELETE /allowed-files/{digest}")
    def disallow_file(self, digest: str, reason: str = "") -> None:
        """Judge a file by its scan again; raises NotFound when it was not allowed."""
        with self.database.begin() as connection:
            if not store.disallow(connection, digest):
                raise NotFound(f"the file {digest} is not allowed", digest=digest)
            emit(connection, FileDisallowed(digest=digest, reason=reason))

    @operation("GET /allowed-files")
    def list_allowed_files(self, after: str = "", limit: int = 100) -> list[AllowedFile]:
        """List the files that may be registered whatever a scan finds, by digest, those after *after*."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"limit={limit}: expected 1 to {MAX_PAGE}")
        with self.database.read() as connection:
            return list(store.list_allowed(connection, after, limit))
