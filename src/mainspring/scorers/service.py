"""The verbs of scorers: register one, find it, say what it is meant to judge, delete it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.operations import operation
from mainspring.scorers import store
from mainspring.scorers.events import OnlineScoringSet, ScorerDeleted, ScorerRegistered
from mainspring.scorers.model import MAX_DEFINITION_CHARS, MAX_NAME_CHARS, OnlineScoring, ScorerVersion
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit

Names = list[str]
Versions = list[ScorerVersion]
Scorings = list[OnlineScoring]


class Scorers:
    """The scorers of every experiment, kept in *database*.

    *known_experiment* is called with the id of an experiment that a scorer is registered for, and raises NotFound when
    there is none.
    """

    def __init__(
        self, database: Database, known_experiment: Callable[[str], object], clock: Clock | None = None
    ) -> None:
        self.database, self.clock = database, clock or SystemClock()
        self._known_experiment = known_experiment

    @operation("POST /scorers")
    def register(self, experiment: str, name: str, definition: str) -> ScorerVersion:
        """Register the next version of a scorer of an experiment, which is named by its id; *definition* is JSON.

        Raises NotFound for an unknown experiment, and InvalidRequest for what is no JSON object.
        """
        _check_name(name)
        _check_definition(definition)
        self._known_experiment(experiment)
        now = self.clock.now()
        with self.database.begin() as connection:
            id, number = store.next_version(connection, str(uuid.uuid4()), experiment, name)
            version = ScorerVersion(
                scorer=id, experiment=experiment, name=name, version=number, definition=definition, created=now
            )
            store.insert_version(connection, version)
            emit(connection, ScorerRegistered(scorer=id, experiment=experiment, name=name, version=number))
        return version

    @operation("GET /scorers")
    def list(self, experiments: Names | None = None) -> Versions:
        """List the last version of each scorer, by experiment and name: of *experiments* by their ids, or of all."""
        kept = None if experiments is None else [id for id in experiments if id.isprintable()]
        with self.database.read() as connection:
            return store.latest(connection, kept)

    @operation("GET /scorers/{experiment}/versions/{name:path}")
    def versions(self, experiment: str, name: str) -> Versions:
        """List the versions of a scorer, the oldest first; raises NotFound."""
        found = self._versions(experiment, name)
        if not found:
            raise _unknown(experiment, name)
        return found

    @operation("GET /scorers/{experiment}/version/{name:path}")
    def get(self, experiment: str, name: str, version: int | None = None) -> ScorerVersion:
        """Show a version of a scorer, by default the last; raises NotFound."""
        for found in reversed(self._versions(experiment, name)):
            if version in (None, found.version):
                return found
        raise _unknown(experiment, name, version)

    @operation("DELETE /scorers/{experiment}/{name:path}")
    def delete(self, experiment: str, name: str, version: int | None = None) -> None:
        """Delete a version of a scorer, or without one the scorer; raises NotFound.

        The number of a deleted version is not given again.
        """
        found = self.get(experiment, name, version)
        with self.database.begin() as connection:
            if version is None:
                store.delete_scorer(connection, found.scorer)
            else:
                store.delete_version(connection, found.scorer, version)
            emit(connection, ScorerDeleted(scorer=found.scorer, name=name, version=version))

    @operation("PUT /scorers/{experiment}/online/{name:path}")
    def set_online(self, experiment: str, name: str, sample_rate: float, where: str | None = None) -> OnlineScoring:
        """Say which share of the new traces a scorer is meant to judge, of those for which the filter *where* holds.

        It is a note for whoever runs scorers: nothing here does. Raises NotFound.
        """
        if not 0 <= sample_rate <= 1:
            raise InvalidRequest(f"sample_rate must be between 0.0 and 1.0, got {sample_rate}")
        if where is not None and not where.isprintable():
            raise InvalidRequest("the filter has characters that cannot be printed")
        found = self.get(experiment, name)
        scoring = OnlineScoring(
            id=uuid.uuid4().hex, scorer=found.scorer, experiment=experiment, sample_rate=sample_rate, where=where
        )
        with self.database.begin() as connection:
            store.set_online(connection, scoring)
            emit(connection, OnlineScoringSet(scorer=found.scorer, sample_rate=sample_rate, where=where))
        return scoring

    @operation("GET /online-scorings")
    def online(self, scorers: Names) -> Scorings:
        """List what was said of scorers, by their ids, that are meant to judge new traces."""
        kept = [id for id in dict.fromkeys(scorers) if id.isprintable()]
        with self.database.read() as connection:
            return store.online_of(connection, kept)

    def _versions(self, experiment: str, name: str) -> Versions:
        if not (experiment.isprintable() and name.isprintable()):
            return []
        with self.database.read() as connection:
            return store.versions_of(connection, experiment, name)


def _unknown(experiment: str, name: str, version: int | None = None) -> NotFound:
    which = "" if version is None else f" and version {version}"
    return NotFound(
        f"Scorer with name '{name}'{which} not found for experiment {experiment}.", name=name, experiment=experiment
    )


def _check_name(name: str) -> None:
    if not name.strip():
        raise InvalidRequest("Scorer name cannot be empty or contain only whitespace.")
    if len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise InvalidRequest(
            f"{name[:80]!r} cannot be the name of a scorer: expected 1 to {MAX_NAME_CHARS} printable characters"
        )


def _check_definition(definition: str) -> None:
    if len(definition) > MAX_DEFINITION_CHARS:
        raise InvalidRequest(f"the definition of a scorer has more than {MAX_DEFINITION_CHARS} characters")
    try:
        definition.encode()
        if isinstance(json.loads(definition), dict):
            return
    except (ValueError, RecursionError):
        pass
    raise InvalidRequest("the serialized scorer must be valid JSON: an object")
