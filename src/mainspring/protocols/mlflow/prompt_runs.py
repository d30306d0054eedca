"""``runs/create-promptlab-run``: a prompt that was tried out on MLflow's page, kept as a run with a model."""

from __future__ import annotations

import json

import msgspec
import yaml

from mainspring.core.clock import SystemClock
from mainspring.core.errors import InvalidRequest
from mainspring.protocols.mlflow.calls import CallList, Empty, Services
from mainspring.protocols.mlflow.entities import KeyValue, moment, texts
from mainspring.protocols.mlflow.inputs import MODELS_TAG
from mainspring.protocols.mlflow.logged_values import check_params, check_tags
from mainspring.protocols.mlflow.run_entities import RUN_NAME, run_entity
from mainspring.protocols.mlflow.runs import RunAnswer
from mainspring.storage.sql.database import Transaction
from mainspring.tracking.files.places import Place

_RESULTS = "eval_results_table.json"
_NEEDED = ("experiment_id", "prompt_template", "prompt_parameters", "model_route", "model_input", "mlflow_version")

calls = CallList()


class CreatePromptRun(msgspec.Struct):
    """The prompt, what was put into it, which model answered with which settings, and its answer."""

    experiment_id: str = ""
    run_name: str | None = None
    tags: list[KeyValue] = []
    prompt_template: str = ""
    prompt_parameters: list[KeyValue] = []
    model_route: str = ""
    model_parameters: list[KeyValue] = []
    model_input: str = ""
    model_output: str | None = None
    model_output_parameters: list[KeyValue] = []
    mlflow_version: str = ""
    user_id: str = "unknown"
    start_time: int | None = None


class Endpoints(msgspec.Struct, frozen=True):
    """The models that a page may choose from."""

    endpoints: list[str] = []


@calls.on("GET POST", "gateway-proxy")
def gateway_proxy(services: Services, ask: Empty) -> Endpoints:
    """List the models of a gateway behind this server: there is none, as MLflow says it too."""
    return Endpoints()


@calls.on("POST", "runs/create-promptlab-run")
def create(services: Services, ask: CreatePromptRun) -> RunAnswer:
    """Keep what was tried out: its settings as params, its result as a table, the prompt as a model to load."""
    for name in _NEEDED:
        if not getattr(ask, name):
            raise InvalidRequest(f"CreatePromptlabRun request must specify {name}.")
    name = ask.run_name or "prompt"
    begin = services.tracking.lifecycle.beginning(
        ask.experiment_id,
        name=name,
        started=moment(ask.start_time) if ask.start_time else None,
        user=ask.user_id,
        tags=check_tags([*ask.tags, KeyValue(RUN_NAME, name)]),
    )
    settings = [
        *ask.model_parameters,
        KeyValue("model_route", ask.model_route),
        KeyValue("prompt_template", ask.prompt_template),
    ]
    tags = [
        KeyValue("mlflow.loggedArtifacts", json.dumps([{"path": _RESULTS, "type": "table"}])),
        KeyValue("mlflow.runSourceType", "PROMPT_ENGINEERING"),
    ]
    params, said = check_params(settings), check_tags(tags)

    def begun(connection: Transaction) -> str:
        run = begin(connection).run.id
        services.tracking.logging_batch(run, [], params, said)(connection)
        return run

    run = services.tracking.database.carry_out(begun)
    _keep_files(services, run, ask)
    services.tracking.database.carry_out(services.tracking.lifecycle.changing(run, status="finished"))
    return RunAnswer(run_entity(services.tracking.get_run(run)))


def _keep_files(services: Services, run: str, ask: CreatePromptRun) -> None:
    described = {
        "artifact_path": "model",
        "run_id": run,
        "utc_time_created": f"{SystemClock().now():%Y-%m-%d %H:%M:%S.%f}",
        "flavors": {
            "python_function": {
                "loader_module": "mlflow.prompt.promptlab_model",
                "parameters_path": "parameters.yaml",
                "env": {"virtualenv": "python_env.yaml"},
            }
        },
        "signature": {
            "inputs": json.dumps([{"type": "string", "name": pair.key} for pair in ask.prompt_parameters]),
            "outputs": json.dumps([{"type": "string", "name": "output"}]),
        },
    }
    parameters = {
        "prompt_template": ask.prompt_template,
        "prompt_parameters": texts(ask.prompt_parameters),
        "model_parameters": texts(ask.model_parameters),
        "model_route": ask.model_route,
    }
    row = [*ask.prompt_parameters, KeyValue("prompt", ask.model_input), KeyValue("output", ask.model_output or "")]
    row += ask.model_output_parameters
    table = {"columns": [pair.key for pair in row], "data": [[pair.value for pair in row]]}
    files = {
        "model/MLmodel": yaml.safe_dump(described),
        "model/parameters.yaml": yaml.safe_dump(parameters),
        "model/requirements.txt": f"mlflow[gateway]=={ask.mlflow_version}",
        "model/python_env.yaml": yaml.safe_dump({"dependencies": ["-r requirements.txt"]}),
        _RESULTS: json.dumps(table),
    }
    for path, text in files.items():
        digest = services.objects.put_bytes(text.encode())
        services.tracking.files.put(Place("run", run), path, digest)
    services.tracking.lifecycle.extend_tag(run, MODELS_TAG, described)
