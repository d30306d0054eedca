"""The verbs of artifacts as files: find the place of an address, put, list, read and remove what is there."""

from __future__ import annotations

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.storage.objects.store import ObjectStore
from mainspring.storage.sql.database import Database
from mainspring.tracking.files import store
from mainspring.tracking.files.places import Place, possible_places, safe_folder, safe_path
from mainspring.tracking.files.store import Child
from mainspring.tracking.model import Artifact


class ArtifactFiles:
    """Paths are rows of *database* that point to objects; the bytes are in *objects*."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self.database = database
        self.objects = objects

    def place_of(self, address: str) -> tuple[Place, str]:
        """Find what an address such as ``EXPERIMENT/RUN/artifacts/PATH`` means: the place, and the path there.

        Raises InvalidRequest for an address that could mean anything but a file in a folder.
        """
        places = possible_places(safe_folder(address))
        asked = [place.id for place, _ in places if place.kind == "run"]
        runs: set[str] = set()
        if asked:
            with self.database.read() as connection:
                runs = store.known_runs(connection, asked)
        return next((place, path) for place, path in places if place.kind != "run" or place.id in runs)

    def put(self, place: Place, path: str, digest: str) -> Artifact:
        """Let *path* point to an object that is stored already, instead of what it pointed to.

        Raises NotFound when there is no such object or run, Conflict when the path is a folder, InvalidRequest.
        """
        artifact = Artifact(safe_path(path), digest, self.objects.renew(digest))
        with store.writing(self.database, place) as connection:
            store.set_file(connection, place, artifact)
        return artifact

    def get(self, place: Place, path: str) -> Artifact:
        """Get what is known of a file; raises NotFound, InvalidRequest for a folder or an unsafe path."""
        with self.database.read() as connection:
            found = store.find_file(connection, place, safe_path(path))
            if found is not None:
                return found
            if store.has_files(connection, place, path):
                raise InvalidRequest(f"{path!r} is a folder of artifacts: ask for one of the files in it", path=path)
        raise NotFound(f"there is no artifact {path!r}; list the folder to see what there is", path=path)

    def children(self, place: Place, folder: str = "") -> list[Child]:
        """List what lies directly in a folder, by name: nothing when there is no such folder. Raises InvalidRequest."""
        with self.database.read() as connection:
            return store.children(connection, place, safe_folder(folder))

    def below(self, place: Place, path: str = "") -> list[Artifact]:
        """List the file at *path*, or all files of that folder, by path."""
        path = safe_folder(path)
        with self.database.read() as connection:
            file = store.find_file(connection, place, path) if path else None
            return [file] if file is not None else store.files_below(connection, place, path)

    def remove(self, place: Place, path: str = "") -> int:
        """Remove a file, or a folder with all that is in it; nothing there is no error. Gives how many files went."""
        with store.writing(self.database, place) as connection:
            return store.remove(connection, place, safe_folder(path))
