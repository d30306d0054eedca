"""``/graphql``: what MLflow's pages ask of experiments, runs and versions in one request.

Types follow from the structs that the calls answer with: a field of a struct is a field of its type.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mainspring.core.errors import InvalidRequest, MainspringError, TooLarge
from mainspring.protocols.mlflow import artifacts, experiments, inputs, metrics, model_versions, runs
from mainspring.protocols.mlflow.answering import Observer, answered, json_response
from mainspring.protocols.mlflow.artifacts import FileInfo
from mainspring.protocols.mlflow.calls import Services
from mainspring.protocols.mlflow.entities import ByRun
from mainspring.protocols.mlflow.errors import told
from mainspring.protocols.mlflow.graphql_text import Document, Field, Operation, filled, parse
from mainspring.protocols.mlflow.reading import read_body
from mainspring.protocols.mlflow.registry_entities import Search, VersionEntity
from mainspring.protocols.mlflow.run_entities import MetricEntity, RunEntity
from mainspring.runtime.threads import Threads

PATH = "/graphql"


class Ask(msgspec.Struct):
    """A text of GraphQL, which of its operations is meant, and the values of its variables."""

    query: str
    operationName: str | None = None
    variables: dict[str, Any] | None = None


class Answer(msgspec.Struct):
    """What was found, and what went wrong; MLflow's clients expect both fields."""

    data: dict[str, Any] | None
    errors: list[str] | None


class Output(msgspec.Struct):
    """The answer to a test."""

    output: str


Resolver = Callable[[Services, dict[str, Any]], Any]


def _call(function: Callable[[Services, Any], Any], ask: type[msgspec.Struct]) -> Resolver:
    def resolve(services: Services, arguments: dict[str, Any]) -> Any:
        given = arguments.get("input") or {}
        return function(services, read_body(msgspec.json.encode({_snake(k): v for k, v in given.items()}), ask, {}))

    return resolve


def _echo(services: Services, arguments: dict[str, Any]) -> Output:
    return Output(str(arguments.get("inputString") or ""))


_ROOTS: dict[str, dict[str, Resolver]] = {
    "query": {
        "test": _echo,
        "mlflowGetExperiment": _call(experiments.get, experiments.ById),
        "mlflowGetRun": _call(runs.get, ByRun),
        "mlflowSearchRuns": _call(runs.search, runs.SearchRuns),
        "mlflowListArtifacts": _call(artifacts.list_of_run, artifacts.ListOfRun),
        "mlflowGetMetricHistoryBulkInterval": _call(metrics.get_sample, metrics.GetSample),
        "mlflowSearchModelVersions": _call(model_versions.search, Search),
    },
    "mutation": {
        "testMutation": _echo,
        "mlflowSearchRuns": _call(runs.search, runs.SearchRuns),
        "mlflowSearchDatasets": _call(inputs.search_datasets, inputs.SearchDatasets),
    },
}

_BESIDE: dict[type[msgspec.Struct], dict[str, Any]] = {
    MetricEntity: {"dataset_name": "", "dataset_digest": "", "model_id": "", "run_id": ""},
    VersionEntity: {"user_id": "", "status_message": "", "model_params": [], "model_metrics": []},
    experiments.ExperimentEntity: {"workspace": "default", "effective_trace_archival_retention": ""},
}
"""Fields that a type has and that are never filled here."""

_RELATED: dict[str, Callable[[Services, RunEntity], Any]] = {
    "experiment": lambda services, run: experiments.get(services, experiments.ById(run.info.experiment_id)).experiment,
    "model_versions": lambda services, run: (
        model_versions.search(services, Search(filter=f"run_id='{run.info.run_id}'")).model_versions
    ),
}
"""What a run leads to."""


def graphql_routes(
    services: Services, threads: Threads, *, max_body_bytes: int, observer: Observer | None
) -> Sequence[Route]:
    """Give the route of GraphQL."""

    async def handle(request: Request) -> Response:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > max_body_bytes:
                raise TooLarge(f"the body is larger than {max_body_bytes} bytes; send less at once")
        ask = read_body(bytes(body), Ask, {})
        return json_response(await threads.run(lambda: answer(services, ask)))

    async def endpoint(request: Request) -> Response:
        return await answered(request, PATH, handle, observer)

    return [Route(PATH, endpoint, methods=["POST"])]


def answer(services: Services, ask: Ask) -> Answer:
    """Carry out an operation; what cannot be read is refused whole, what fails is null beside its error."""
    try:
        document = parse(ask.query)
        operation = _operation(document, ask.operationName)
        variables = operation.defaults | (ask.variables or {})
        return _Execution(services, document, variables).carried_out(operation)
    except InvalidRequest as error:
        return Answer(None, [str(error)])


def _operation(document: Document, name: str | None) -> Operation:
    found = [operation for operation in document.operations if not name or operation.name == name]
    if len(found) == 1:
        return found[0]
    if name:
        raise InvalidRequest(f"Unknown operation named '{name}'.")
    raise InvalidRequest("Must provide operation name if query contains multiple operations.")


class _Execution:
    def __init__(self, services: Services, document: Document, variables: Mapping[str, Any]) -> None:
        self._services, self._document, self._variables = services, document, variables

    def carried_out(self, operation: Operation) -> Answer:
        roots = _ROOTS[operation.kind]
        fields = list(self._document.fields(operation.selections))
        for field in fields:
            if field.name not in roots:
                raise _unknown(field.name, operation.kind.capitalize())
        data: dict[str, Any] = {}
        errors: list[str] = []
        for field in fields:
            arguments = {name: filled(value, self._variables) for name, value in field.arguments.items()}
            try:
                found = roots[field.name](self._services, arguments)
            except MainspringError as error:
                data[field.alias] = None
                errors.append(told(error)[1].message)
                continue
            data[field.alias] = self._shown(found, field)
        return Answer(data, errors or None)

    def _shown(self, value: Any, asked: Field) -> Any:
        if isinstance(value, list):
            return [self._shown(item, asked) for item in value]
        if isinstance(value, msgspec.Struct):
            if not asked.selections:
                raise InvalidRequest(f"Field '{asked.name}' must have a selection of subfields.")
            fields = self._document.fields(asked.selections)
            return {field.alias: self._shown(self._of(value, field.name), field) for field in fields}
        if value is None:
            return None
        if asked.selections:
            raise InvalidRequest(f"Field '{asked.name}' must not have a selection since it has no subfields.")
        # Whole numbers have 64 bits, which JavaScript has not: MLflow writes them as texts.
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return None if isinstance(value, float) and not math.isfinite(value) else value

    def _of(self, owner: msgspec.Struct, name: str) -> Any:
        """Give a field as a message has it that never leaves one out."""
        kind, snake = type(owner), _snake(name)
        if name == "apiError":
            return None
        if isinstance(owner, RunEntity) and snake in _RELATED:
            return _RELATED[snake](self._services, owner)
        if snake in _BESIDE.get(kind, {}):
            return _BESIDE[kind][snake]
        if isinstance(owner, FileInfo) and snake == "file_size" and owner.file_size is msgspec.UNSET:
            return 0
        if isinstance(owner, MetricEntity) and snake == "value" and isinstance(owner.value, str):
            return None
        if snake not in kind.__struct_fields__:
            raise _unknown(name, kind.__name__)
        value = getattr(owner, snake)
        if value is not None:
            return value
        kinds = {field.name: str(field.type) for field in msgspec.structs.fields(kind)}[snake]
        return 0 if "int" in kinds else "" if "str" in kinds else None


def _unknown(name: str, kind: str) -> InvalidRequest:
    return InvalidRequest(f"Cannot query field '{name}' on type '{kind}'.")


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
