"""Who may make which call of our own API: told from the operation and its arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Protocol

import msgspec

from mainspring.access.model import Capability, Need, User, Wanted
from mainspring.access.rules import Asked
from mainspring.access.service import Access
from mainspring.core.errors import MainspringError, NotFound
from mainspring.core.operations import Operation, operations
from mainspring.core.refs import Ref
from mainspring.datasets.evaluation.service import EvaluationDatasets
from mainspring.protocols.native.errors import error_response
from mainspring.registry.service import Registry
from mainspring.traces.issues.service import Issues
from mainspring.traces.label_schemas.service import LabelSchemas
from mainspring.traces.service import Traces
from mainspring.tracking.service import Tracking

_ARGUMENT = re.compile(r"\\{(\w+)(:path)?\\}")
_ADMIN = ("/users", "/webhooks", "/allowed-files", "/garbage", "/testing/", "/experiment-folders/move")
_OF_USERS = ("list_permissions", "get_user", "create_token", "list_tokens", "revoke_token")
_READS = ("search", "metrics")
_LISTED = ("list_experiments", "search_experiments", "list_models")
"""What anybody may call: of its answer each is told what that user may read."""
_DELETES = ("restore",)
_MANAGES = ("trust",)


class Records(Protocol):
    """What says what a call is about."""

    tracking: Tracking
    registry: Registry
    traces: Traces
    issues: Issues
    label_schemas: LabelSchemas
    evaluation_datasets: EvaluationDatasets


class NativeRules:
    """The rules of our own API: whatever no other protocol serves."""

    def __init__(self, records: Records, services: Iterable[object]) -> None:
        self._records = records
        pairs = [op for service in services for op in operations(type(service))]
        # As the routes are: fixed paths come before those with arguments.
        pairs.sort(key=lambda op: [(part.startswith("{"), part) for part in op.path.split("/")])
        self._operations = [(op, _pattern(op.path)) for op in pairs]

    def serves(self, path: str) -> bool:
        """Tell that every path is ours that is nobody else's."""
        return True

    def is_open(self, asked: Asked) -> bool:
        """Tell that anybody may ask whether the control plane answers."""
        return asked.path == "/health"

    def reads_body(self, asked: Asked) -> bool:
        """Tell that operations have their arguments in JSON; objects are bytes."""
        found = self._find(asked)
        return found is not None and not found[0].in_query

    def wanted(self, asked: Asked) -> Wanted:
        """Tell what must be allowed."""
        found = self._find(asked)
        if asked.path.startswith(_ADMIN) and not (asked.path.startswith("/allowed-files") and asked.method == "GET"):
            self_service = found is not None and found[0].name in _OF_USERS
            return Wanted(admin=True, or_self=found[1]["user"] if found is not None and self_service else None)
        if found is None:
            # Objects are known by what is in them: who names one has it, or was told of it.
            return Wanted()
        op, given = found[0], {**_arguments(found[0], asked), **found[1]}
        capability = _capability(op)
        if op.name in ("create_experiment", "create_model", *_LISTED):
            return Wanted()
        needs = [*self._models(op, given, capability), *self._experiments(op, given, capability)]
        if needs:
            return Wanted(needs=needs)
        if self._makes(op, given):
            return Wanted()
        return Wanted(general=capability)

    def needs_answer(self, asked: Asked) -> bool:
        """Tell whether something may be made, or is listed."""
        found = self._find(asked)
        names = ("create_experiment", "create_model", "create_run", "register")
        return found is not None and found[0].name in (*names, *_LISTED)

    def settled(self, asked: Asked, answer: Any, user: User, access: Access) -> Any:
        """Give who made a thing the right to manage it, and leave out of a list what may not be read."""
        found = self._find(asked)
        assert found is not None
        name, given = found[0].name, found[1]
        if name == "create_experiment":
            access.own(user, "experiment", answer["id"])
        elif name == "create_model":
            access.own(user, "registered_model", answer["name"])
        elif name == "register" and access.permission(user, "registered_model", given["name"]) != "MANAGE":
            if answer["version"] == 1:
                access.own(user, "registered_model", given["name"])
        elif name == "create_run":
            experiment = answer["experiment_id"]
            if access.permission(user, "experiment", experiment) not in ("MANAGE", "EDIT"):
                access.own(user, "experiment", experiment)
        elif name == "list_experiments":
            seen = access.visible(user, "experiment")
            return [entry for entry in answer if entry["id"] in seen]
        elif name == "search_experiments":
            seen = access.visible(user, "experiment")
            return {**answer, "experiments": [entry for entry in answer["experiments"] if entry["id"] in seen]}
        elif name == "list_models":
            seen = access.visible(user, "registered_model")
            return [entry for entry in answer if entry["name"] in seen]
        return answer

    def refused(self, error: MainspringError) -> tuple[int, bytes]:
        """Give an error as our own clients read it."""
        response = error_response(error)
        return response.status_code, bytes(response.body)

    # What a call is about

    def _find(self, asked: Asked) -> tuple[Operation, dict[str, str]] | None:
        for op, pattern in self._operations:
            if op.method == asked.method and (found := pattern.fullmatch(asked.path)) is not None:
                return op, found.groupdict()
        return None

    def _models(self, op: Operation, given: dict[str, Any], capability: Capability) -> list[Need]:
        name = None
        if op.path.startswith("/models/{name}"):
            name = str(given["name"])
        elif op.path.startswith("/model-refs/"):
            name = Ref.parse(str(given["model"]), kind="model").name
        if name is None or self._makes(op, given):
            return []
        return [Need("registered_model", name, capability)]

    def _experiments(self, op: Operation, given: dict[str, Any], capability: Capability) -> list[Need]:
        ids = self._of_records(op, given)
        names = [given["name"]] if op.path.startswith("/experiments/{name") else []
        for argument in ("experiment", "experiments"):
            value = given.get(argument)
            names += value if isinstance(value, list) else [value] if isinstance(value, str) else []
        for name in names:
            # Some calls name experiments by their names, some by their ids, and some make those that are not there.
            with suppress(NotFound):
                ids.append(self._id_of(str(name)))
        return [Need("experiment", id, capability) for id in dict.fromkeys(ids)]

    def _of_records(self, op: Operation, given: dict[str, Any]) -> list[str]:
        """Give the experiments of the records that a call names by their ids."""
        if op.path.startswith("/runs/{run}"):
            return [self._records.tracking.get_run(str(given["run"])).run.experiment_id]
        if op.path.startswith("/traces/{trace}"):
            return [self._records.traces.get_trace(str(given["trace"])).experiment]
        if op.path.startswith("/issues/{issue}"):
            return [self._records.issues.get(str(given["issue"])).experiment]
        if op.path.startswith("/label-schemas/{schema}"):
            return [self._records.label_schemas.get(str(given["schema"])).experiment]
        if op.path.startswith("/evaluation-datasets/{dataset}"):
            return self._records.evaluation_datasets.experiments(str(given["dataset"]))
        with suppress(KeyError, TypeError):
            if op.path == "/assessments":
                return [self._records.traces.get_trace(str(given["judged"]["trace"])).experiment]
            if op.path == "/traces/metrics":
                return [self._id_of(str(one)) for one in given["query"]["experiments"]]
        return []

    def _id_of(self, experiment: str) -> str:
        try:
            return self._records.tracking.get_experiment(experiment).id
        except NotFound:
            return self._records.tracking.experiments.get(experiment).id

    def _makes(self, op: Operation, given: dict[str, Any]) -> bool:
        """Tell whether a call makes the model or the experiment that it is about."""
        try:
            if op.name == "register":
                self._records.registry.get_model(str(given["name"]))
            elif op.name == "create_run":
                self._id_of(str(given["experiment"]))
            else:
                return False
        except NotFound:
            return True
        return False


def _capability(op: Operation) -> Capability:
    verb = op.path.rpartition("/")[2]
    if op.method == "GET" or verb in _READS:
        return "read"
    if verb in _MANAGES or "/protections/" in op.path:
        return "manage"
    whole = op.path.count("/") == 2
    if verb in _DELETES or (op.method == "DELETE" and whole):
        return "delete"
    return "update"


def _arguments(op: Operation, asked: Asked) -> dict[str, Any]:
    """Give the arguments as the call itself reads them: from the query or from the body, never from both."""
    if not op.in_query:
        return asked.body if isinstance(asked.body, dict) else {}
    return {name: values if len(values) > 1 else _entry(values[0]) for name, values in asked.query.items()}


def _entry(value: str) -> Any:
    # A list may be written as JSON.
    if value.startswith("["):
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(value)
    return value


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(_ARGUMENT.sub(lambda m: f"(?P<{m[1]}>{'.+' if m[2] else '[^/]+'})", re.escape(path)))
