"""Who may make which of MLflow's calls: as its server decides it, by experiment and by registered model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import msgspec

from mainspring.access.model import Capability, Kind, Need, User, Wanted
from mainspring.access.rules import Asked
from mainspring.access.service import Access
from mainspring.core.errors import MainspringError, NotFound
from mainspring.protocols.mlflow.artifacts import PROXY
from mainspring.protocols.mlflow.calls import Services
from mainspring.protocols.mlflow.errors import told
from mainspring.tracking.files.places import possible_places

_PREFIXES = ("/api/", "/ajax-api/", "/get-artifact", "//get-artifact", "/model-versions/", "//model-versions/")
_EXACT = frozenset({"/v1/traces", "/version", "/graphql"})
_MAIN = re.compile(r"/(?:ajax-)?api/[23]\.0/mlflow/(.*)")
_FILES = re.compile(rf"/(?:ajax-)?api{re.escape(PROXY)}/(?:artifacts|presigned|mpu/(?:create|complete|abort))/?(.*)")
_ID = re.compile(r"(logged-models|traces|datasets|issues)/([^/]+)(/.*)?")
_READ = frozenset(
    {
        "search", "get-latest-versions", "batchGetInfos", "search-datasets", "presigned-download-url",
        "calculate-filter-correlation", "metrics",
    }
)  # fmt: skip
_DELETE = frozenset({"delete", "restore", "delete-traces"})
_TRACE_VERBS = frozenset(
    {
        "search", "get", "batchGet", "batchGetInfos", "delete-traces", "link-to-run", "link-prompts", "metrics",
        "calculate-filter-correlation",
    }
)  # fmt: skip
_SOURCE = re.compile(r"(runs|models):/+([^/@]+)")
_MODELS = ("registered-models/", "model-versions/")
_ANYBODY = frozenset(
    {"experiments/create", "experiments/search", "registered-models/create", "registered-models/search",
     "model-versions/search", "server-info", "gateway-proxy", "users/current"}
)  # fmt: skip
_LISTS: dict[str, tuple[str, Kind, str]] = {
    "experiments/search": ("experiments", "experiment", "experiment_id"),
    "registered-models/search": ("registered_models", "registered_model", "name"),
    "model-versions/search": ("model_versions", "registered_model", "name"),
}
_MADE = frozenset({"experiments/create", "registered-models/create"})
_CHANGED = frozenset({"registered-models/delete", "registered-models/rename"})
_SELF = frozenset({"users/get", "users/update-password", "users/permissions/get"})
_MANAGED = {"experiments/permissions/": "experiment", "registered-models/permissions/": "registered_model"}


class MlflowRules:
    """The rules of MLflow's protocol over these services."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def serves(self, path: str) -> bool:
        """Tell whether a path is MLflow's."""
        return path in _EXACT or path.startswith(_PREFIXES)

    def is_open(self, asked: Asked) -> bool:
        """Tell that the version is told to everybody."""
        return asked.path == "/version"

    def reads_body(self, asked: Asked) -> bool:
        """Tell that calls say in their JSON what they are about, but for files and spans."""
        return asked.method != "GET" and _MAIN.fullmatch(asked.path) is not None and _verb(asked) != "upload-artifact"

    def wanted(self, asked: Asked) -> Wanted:
        """Tell what must be allowed."""
        found = _FILES.fullmatch(asked.path)
        if found is not None:
            return self._of_files(asked, found[1])
        if asked.path == "/v1/traces":
            return _experiments([asked.headers.get("x-mlflow-experiment-id", "")], "update")
        call = _call(asked)
        if call is None and f"{PROXY}/mpu/part/" in asked.path:
            # Its address is known to whom the upload was begun for.
            return Wanted()
        if asked.path == "/graphql":
            return _general("read")
        if call is None:
            return self._of_fields(asked, asked.path.strip("/"), "read" if asked.method == "GET" else "update")
        if call in _ANYBODY:
            return Wanted()
        if call.startswith("webhooks"):
            return Wanted(admin=True)
        if "permissions/" in call:
            return self._of_permissions(asked, call)
        if call.startswith("users/"):
            return Wanted(admin=True, or_self=_text(_fields(asked), "username") if call in _SELF else None)
        return self._of_fields(asked, call, _capability(asked.method, call))

    def needs_answer(self, asked: Asked) -> bool:
        """Tell whether something is made, renamed, deleted or listed."""
        call = _call(asked)
        return call in _LISTS or call in _MADE or call in _CHANGED or call == "server-info"

    def settled(self, asked: Asked, answer: Any, user: User, access: Access) -> Any:
        """Give who made a thing the right to manage it, and leave out of a list what may not be read."""
        call, fields = _call(asked) or "", _fields(asked)
        if call == "experiments/create":
            access.own(user, "experiment", answer["experiment_id"])
        elif call == "registered-models/create":
            access.own(user, "registered_model", answer["registered_model"]["name"])
        elif call == "registered-models/delete":
            access.forget("registered_model", str(fields["name"]))
        elif call == "registered-models/rename":
            access.rename("registered_model", str(fields["name"]), str(fields["new_name"]))
        elif call == "server-info":
            # Clients send parts without the login.
            answer["multipart_uploads_enabled"] = False
        elif call in _LISTS:
            key, kind, name = _LISTS[call]
            seen = access.visible(user, kind)
            answer[key] = [entry for entry in answer.get(key, []) if entry[name] in seen]
        return answer

    def refused(self, error: MainspringError) -> tuple[int, bytes]:
        """Give an error as MLflow's clients read it."""
        status, body = told(error)
        return status, msgspec.json.encode(body)

    # What a call is about

    def _of_fields(self, asked: Asked, call: str, capability: Capability) -> Wanted:
        fields = _fields(asked)
        if call.startswith(_MODELS):
            name = _text(fields, "name")
            if name is None:
                return _general(capability)
            sources = self._of_source(fields) if call == "model-versions/create" else []
            return Wanted(needs=[Need("registered_model", name, capability), *sources])
        if call == "experiments/get-by-name":
            name = _text(fields, "experiment_name") or ""
            return _experiments([self._services.tracking.experiments.get_by_name(name).id], "read")
        found = [*_direct(fields)]
        found += [self._of_run(run) for run in _named(fields, "run_id", "run_uuid", "run_ids", "run_uuids")]
        if call.startswith("logged-models") or "model_id" in fields:
            found += [self._of_model(model) for model in _named(fields, "model_id")]
        if call.startswith("traces") or "get-trace-artifact" in call:
            found += self._of_traces(_named(fields, "trace_id", "request_id", "trace_ids"))
            found += [] if "delete-traces" in call else self._of_traces(_named(fields, "request_ids"))
        found += self._of_evaluation(call, fields)
        return _experiments(found, capability) if found else _general(capability)

    def _of_evaluation(self, call: str, fields: dict[str, Any]) -> list[str]:
        services, noun = self._services, call.partition("/")[0]
        if noun == "datasets":
            return [id for one in _named(fields, "dataset_id") for id in services.evaluation_datasets.experiments(one)]
        if noun == "issues":
            return [services.issues.get(one).experiment for one in _named(fields, "issue_id")]
        if noun == "label-schemas":
            return [services.label_schemas.get(one).experiment for one in _named(fields, "schema_id")]
        if noun == "scorers":
            return [one.experiment for one in services.scorers.online(_named(fields, "scorer_ids"))]
        return []

    def _of_files(self, asked: Asked, address: str) -> Wanted:
        capability: Capability = {"GET": "read", "DELETE": "delete"}.get(asked.method, "update")  # type: ignore[assignment]
        if not address:
            address = _text({name: values[-1] for name, values in asked.query.items()}, "path") or ""
        found = self._of_address(address)
        return _general(capability) if found is None else _experiments([found], capability)

    def _of_address(self, address: str) -> str | None:
        for place, _ in possible_places(address):
            with suppress(NotFound):
                if place.kind == "run":
                    return self._of_run(place.id)
                if place.kind == "model":
                    return self._of_model(place.id)
                if place.kind == "trace":
                    return self._of_traces([place.id])[0]
        return None

    def _of_source(self, fields: dict[str, Any]) -> list[Need]:
        """Give what must be readable for a version to be made of it: whoever may read the version reads its files."""
        source, found = _text(fields, "source") or "", [self._of_address(urlsplit(_text(fields, "source") or "").path)]
        named = _SOURCE.match(source)
        runs = [*_named(fields, "run_id"), *([named[2]] if named is not None and named[1] == "runs" else [])]
        models = [*_named(fields, "model_id"), *([named[2]] if named is not None and named[1] == "models" else [])]
        needs = []
        for run in runs:
            # Prompts and models of elsewhere name runs that are not known here.
            with suppress(NotFound):
                found.append(self._of_run(run))
        for model in models:
            try:
                found.append(self._of_model(model))
            except NotFound:
                needs.append(Need("registered_model", model, "read"))
        experiments = [Need("experiment", id, "read") for id in dict.fromkeys(found) if id is not None]
        return [*needs, *experiments]

    def _of_permissions(self, asked: Asked, call: str) -> Wanted:
        fields, kind, resource = _fields(asked), "experiment", None
        for prefix, known in _MANAGED.items():
            if call.startswith(prefix):
                kind, resource = known, _text(fields, "experiment_id" if known == "experiment" else "name")
        if call.startswith("users/permissions/"):
            kind = "experiment" if fields.get("resource_type") == "experiment" else "registered_model"
            resource = _text(fields, "resource_id")
        or_self = _text(fields, "username") if call in _SELF else None
        if resource is None:
            return Wanted(admin=True, or_self=or_self)
        need = Need("experiment" if kind == "experiment" else "registered_model", resource, "manage")
        return Wanted(needs=[need], or_self=or_self)

    def _of_run(self, run: str) -> str:
        return self._services.tracking.get_run(run).run.experiment_id

    def _of_model(self, model: str) -> str:
        return self._services.logged_models.get(model, deleted=True).experiment

    def _of_traces(self, traces: list[str]) -> list[str]:
        return [self._services.traces.get_trace(trace).experiment for trace in traces]


def _call(asked: Asked) -> str | None:
    found = _MAIN.fullmatch(asked.path)
    return None if found is None else found[1]


def _verb(asked: Asked) -> str:
    return asked.path.rpartition("/")[2]


def _capability(method: str, call: str) -> Capability:
    verb = call.rpartition("/")[2]
    if method == "GET" or verb in _READ:
        return "read"
    if verb in _DELETE or (method == "DELETE" and re.fullmatch(r"(logged-models|datasets)/[^/]+", call)):
        return "delete"
    return "update"


def _fields(asked: Asked) -> dict[str, Any]:
    """Give what a request says by name: in its path, its body or its query."""
    found: dict[str, Any] = {name: values if len(values) > 1 else values[0] for name, values in asked.query.items()}
    if isinstance(asked.body, dict):
        found |= asked.body
    path = _ID.fullmatch(_call(asked) or "")
    if path is not None and not (path[1] == "traces" and path[2] in _TRACE_VERBS) and path[2] != "search":
        found[
            {"logged-models": "model_id", "traces": "trace_id", "datasets": "dataset_id", "issues": "issue_id"}[path[1]]
        ] = path[2]
    return found


def _direct(fields: dict[str, Any]) -> Iterable[str]:
    """Give the experiments that are named themselves."""
    yield from _named(fields, "experiment_id", "experiment_ids")
    for place in fields.get("locations") or []:
        with suppress(AttributeError, KeyError, TypeError):
            yield str(place["mlflow_experiment"]["experiment_id"])
    with suppress(AttributeError, KeyError, TypeError):
        yield str(fields["trace"]["trace_info"]["trace_location"]["mlflow_experiment"]["experiment_id"])


def _named(fields: dict[str, Any], *names: str) -> list[str]:
    found: list[str] = []
    for name in names:
        value = fields.get(name)
        found += [str(one) for one in (value if isinstance(value, list) else [value]) if one not in (None, "")]
    return list(dict.fromkeys(found))


def _text(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) and value else None


def _experiments(ids: Iterable[str], capability: Capability) -> Wanted:
    return Wanted(needs=[Need("experiment", id, capability) for id in dict.fromkeys(ids)])


def _general(capability: Capability) -> Wanted:
    return Wanted(general=capability)
