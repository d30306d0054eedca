"""The verbs of history: what changed, and how things stood at a moment."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.events import Recorded
from mainspring.core.operations import operation
from mainspring.core.refs import Ref, check_free_name, ref
from mainspring.registry.history import store
from mainspring.registry.history.model import Change, ChangeKind, ModelState, Pointing
from mainspring.registry.model import Stage
from mainspring.storage.sql.database import Database

MAX_PAGE = 10_000
_KINDS: dict[str, ChangeKind] = {
    "ModelRegistered": "registered",
    "AliasMoved": "alias",
    "ModelPromoted": "alias",
    "StageChanged": "stage",
    "ModelTrusted": "trusted",
    "PromotionRefused": "refused",
    "RegistrationRefused": "refused",
    "ModelVersionDeleted": "deleted",
    "ModelDeleted": "deleted",
    "ModelRestored": "restored",
    "ModelVersionRestored": "restored",
    "ModelRenamed": "renamed",
}


class Histories:
    """What happened to models, told from the journal: also what was renamed or deleted since."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @operation("GET /models/{name}/changes")
    def changes(self, name: str, at: datetime | None = None, limit: int = 100) -> list[Change]:
        """List what happened to a model up to *at*, newest first: versions, aliases, stages, refusals, and who did it.

        What happened under an earlier name is in it. A time without a zone is in UTC. Raises NotFound when nothing
        ever happened to a model of this name.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"limit={limit}: expected 1 to {MAX_PAGE}")
        check_free_name(name, "model")
        moment = _aware(at)
        with self.database.read() as connection:
            found, _ = _events(connection, name)
        found = [event for event in found if moment is None or _at(event) <= moment]
        if not found:
            raise _unknown(name, at)
        told = (_change(one) for one in reversed(found) if not _is_part_of_a_rename(one))
        return list(islice(told, limit))

    @operation("GET /models/{name}/state")
    def state(self, name: str, at: datetime | None = None) -> ModelState:
        """Tell how a model stood at a moment (now, where none is given): its versions, their stages, its aliases.

        This is what ``models:/NAME@ALIAS`` meant then, whoever set it and by which client. A time without a zone is in
        UTC. Raises NotFound when there was no model of this name, nor of one that became it, up to then.
        """
        check_free_name(name, "model")
        moment = _aware(at) or datetime.now(UTC)
        with self.database.read() as connection:
            found, names = _events(connection, name)
        known_as = next((was for event, was in names if _at(event) > moment), name)
        found = [event for event in found if _at(event) <= moment]
        if not found:
            raise _unknown(name, at)
        past, came = _Past(), {event.id for event, _ in names}
        for event in found:
            if event.kind == "ModelRenamed":
                # A model that went on under another name left this one to whatever came next.
                past = past if event.id in came or _is_part_of_a_rename(event) else _Past()
                continue
            past.apply(event)
        return ModelState(name=name, at=moment, known_as=known_as, aliases=past.aliases, stages=past.stages)


class _Past:
    """A model as its events tell it, one after the other."""

    def __init__(self) -> None:
        self.aliases: dict[str, Pointing] = {}
        self.stages: dict[int, Stage] = {}

    def apply(self, event: Recorded) -> None:
        body = event.body
        if event.kind == "ModelRegistered":
            self.stages[_number(body["model"])] = "development"
        elif event.kind == "ModelRestored":
            self.stages |= {int(number): stage for number, stage in body["stages"].items()}
        elif event.kind in ("StageChanged", "ModelVersionRestored"):
            self.stages[_number(body["model"])] = body["stage"]
        elif event.kind in ("AliasMoved", "ModelPromoted"):
            self._point(event, _alias(body["alias"]), body["model"])
        elif event.kind == "ModelVersionDeleted":
            self.stages.pop(_number(body["model"]), None)
        elif event.kind == "ModelDeleted":
            self.stages.clear()
            self.aliases.clear()

    def _point(self, event: Recorded, alias: str, model: str | None) -> None:
        if model is None:
            self.aliases.pop(alias, None)
            return
        self.aliases[alias] = Pointing(
            version=_number(model),
            since=_at(event),
            actor=event.actor,
            origin=event.origin,
            reason=_reason(event.body),
        )


def _events(
    connection: store.Connection, name: str, before: int | None = None
) -> tuple[list[Recorded], list[tuple[Recorded, str]]]:
    """Give the events of a model, oldest first, and the renames by which it came to its name, each with the former.

    What happened to a model by its former names is in it; what happened to others by its name before it came is not.
    """
    found = store.events_of(connection, name, list(_KINDS))
    if before is not None:
        found = [event for event in found if event.id < before]
    came = [event for event in found if event.kind == "ModelRenamed" and event.body["model"] == ref("model", name)]
    if not came:
        return found, []
    last = came[-1]
    former = Ref.parse(last.body["was"], kind="model").name
    earlier, names = _events(connection, former, last.id)
    return [*earlier, *(event for event in found if event.id >= last.id)], [*names, (last, former)]


def _change(event: Recorded) -> Change:
    body, kind = event.body, _KINDS[event.kind]
    alias = _alias(body["alias"]) if "alias" in body else None
    model = body.get("model")
    previous = body.get("previous") if kind == "alias" else None
    return Change(
        event=event.id,
        at=_at(event),
        kind=kind,
        what=_told(event, alias),
        version=None if model is None else Ref.parse(model, kind="model").version,
        alias=alias,
        stage=body.get("stage"),
        previous=None if previous is None else _number(previous),
        reason=_reason(body),
        actor=event.actor,
        origin=event.origin,
    )


def _told(event: Recorded, alias: str | None) -> str:
    body, model = event.body, event.body.get("model")
    if event.kind == "ModelRegistered":
        return f"{model} was registered"
    if event.kind in ("AliasMoved", "ModelPromoted"):
        before = f" instead of {body['previous']}" if body["previous"] else ""
        if model is None:
            return f"{alias} was removed from {body['previous']}"
        return f"{alias} is {model}{before}"
    if event.kind == "StageChanged":
        return f"{model} came from {body['previous']} to {body['stage']}"
    if event.kind == "PromotionRefused":
        return f"{model} was not promoted to {alias}: {'; '.join(body['failed'])}"
    if event.kind == "RegistrationRefused":
        return f"no version was made: {'; '.join(body['dangers'][:3])}"
    if event.kind == "ModelRenamed":
        return f"{body['was']} is {model} from now on"
    return f"{model} was {_KINDS[event.kind]}"


def _reason(body: dict[str, Any]) -> str:
    if body.get("forced"):
        return f"forced: {body['forced']}"
    return str(body.get("reason") or (f"passed {body['report']}" if body.get("report") else ""))


def _is_part_of_a_rename(event: Recorded) -> bool:
    return event.kind == "ModelRenamed" and Ref.parse(event.body["model"], kind="model").version is not None


def _number(model: str) -> int:
    version = Ref.parse(model, kind="model").version
    assert version is not None, "events of versions name them with their numbers"
    return version


def _alias(text: str) -> str:
    # An alias may look like anything that an earlier Mainspring allowed: what follows the last @ is its name.
    return text.rpartition("@")[2]


def _at(event: Recorded) -> datetime:
    return msgspec.convert(event.at, datetime)


def _aware(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def _unknown(name: str, at: datetime | None) -> NotFound:
    when = "" if at is None else f" up to {at.isoformat()}"
    return NotFound(
        f"nothing happened to a model {name}{when}; `mainspring model list` shows those there are", name=name
    )
