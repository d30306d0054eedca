"""``scorers/...``: MLflow's scorers over ours."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from mainspring.core.errors import InvalidRequest
from mainspring.protocols.mlflow.calls import CallList, Empty, Services
from mainspring.protocols.mlflow.entities import milliseconds
from mainspring.protocols.mlflow.traces import require_experiment
from mainspring.scorers.model import OnlineScoring, ScorerVersion
from mainspring.traces.search.filters import parse_filter

calls = CallList("/3.0/mlflow")

_JUDGES = ("instructions_judge_pydantic_data", "builtin_scorer_pydantic_data", "third_party_scorer_data")
_GATEWAY = "gateway:/"


class Register(msgspec.Struct):
    """A scorer as its client wrote it down."""

    experiment_id: str
    name: str
    serialized_scorer: str


class Registered(msgspec.Struct, frozen=True):
    """The version that was registered."""

    version: int
    scorer_id: str
    experiment_id: str
    name: str
    serialized_scorer: str
    creation_time: int


class ListScorers(msgspec.Struct):
    """Whose scorers are asked for: those of one experiment, of several, or of all."""

    experiment_id: str | None = None
    experiment_ids: list[str] | None = None


class OfName(msgspec.Struct):
    """Which scorer is meant, and which version of it if not all or the last."""

    experiment_id: str
    name: str
    version: int | None = None


class ScorerWire(msgspec.Struct, frozen=True):
    """A version on the wire. Clients take the id of the experiment for a number: one that is none is left out."""

    scorer_name: str
    scorer_version: int
    serialized_scorer: str
    creation_time: int
    scorer_id: str
    experiment_id: int | UnsetType = UNSET


class ScorerAnswer(msgspec.Struct, frozen=True):
    """One version."""

    scorer: ScorerWire


class ScorersAnswer(msgspec.Struct, frozen=True):
    """Some versions."""

    scorers: list[ScorerWire]


class SetOnline(msgspec.Struct):
    """Which traces a scorer is meant to judge."""

    experiment_id: str
    name: str
    sample_rate: float
    filter_string: str | None = None


class OnlineWire(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which traces a scorer is meant to judge, as it is told."""

    online_scoring_config_id: str
    scorer_id: str
    sample_rate: float
    experiment_id: str
    filter_string: str | None = None


class OnlineAnswer(msgspec.Struct, frozen=True):
    """What was said of one scorer."""

    config: OnlineWire


class OfScorers(msgspec.Struct):
    """Which scorers are meant."""

    scorer_ids: list[str]


class OnlineAnswers(msgspec.Struct, frozen=True):
    """What was said of some scorers."""

    configs: list[OnlineWire]


@calls.on("POST", "scorers/register")
def register(services: Services, ask: Register) -> Registered:
    """Register a version of a scorer."""
    if _has_source(_read(ask.serialized_scorer)):
        raise InvalidRequest(
            "Scorer registration (and updates) are not supported for scorers that hold source code of their own: "
            "whoever loads one would run it. Use built-in scorers or judges made of instructions."
        )
    _check_model(_read(ask.serialized_scorer))
    require_experiment(services, ask.experiment_id)
    made = services.scorers.register(ask.experiment_id, ask.name, ask.serialized_scorer)
    return Registered(
        made.version, made.scorer, made.experiment, made.name, made.definition, milliseconds(made.created)
    )


@calls.on("GET", "scorers/list")
def list_scorers(services: Services, ask: ListScorers) -> ScorersAnswer:
    """List the last version of each scorer."""
    if ask.experiment_id and ask.experiment_ids is not None:
        raise InvalidRequest("Cannot specify both 'experiment_id' and 'experiment_ids': use one of them")
    if ask.experiment_id:
        require_experiment(services, ask.experiment_id)
        return _told(services.scorers.list([ask.experiment_id]))
    return _told(services.scorers.list(ask.experiment_ids))


@calls.on("GET", "scorers/versions")
def list_versions(services: Services, ask: OfName) -> ScorersAnswer:
    """List the versions of a scorer."""
    require_experiment(services, ask.experiment_id)
    return _told(services.scorers.versions(ask.experiment_id, ask.name))


@calls.on("GET", "scorers/get")
def get(services: Services, ask: OfName) -> ScorerAnswer:
    """Get a version of a scorer, or the last."""
    require_experiment(services, ask.experiment_id)
    return ScorerAnswer(_wire(services.scorers.get(ask.experiment_id, ask.name, ask.version)))


@calls.on("DELETE", "scorers/delete")
def delete(services: Services, ask: OfName) -> Empty:
    """Delete a version of a scorer, or all."""
    require_experiment(services, ask.experiment_id)
    services.scorers.delete(ask.experiment_id, ask.name, ask.version)
    return Empty()


@calls.on("PUT", "scorers/online-config")
def set_online(services: Services, ask: SetOnline) -> OnlineAnswer:
    """Say which traces a scorer is meant to judge."""
    require_experiment(services, ask.experiment_id)
    parse_filter(ask.filter_string or "")
    latest = services.scorers.get(ask.experiment_id, ask.name)
    model = _model(_read(latest.definition))
    if ask.sample_rate > 0 and not (isinstance(model, str) and model.startswith(_GATEWAY)):
        raise InvalidRequest(
            f"Scorer '{ask.name}' does not use a gateway model. Automatic evaluation is only supported for scorers "
            "that use gateway models."
        )
    return OnlineAnswer(
        _online(services.scorers.set_online(ask.experiment_id, ask.name, ask.sample_rate, ask.filter_string))
    )


@calls.on("GET", "scorers/online-configs")
def get_online(services: Services, ask: OfScorers) -> OnlineAnswers:
    """Tell which traces some scorers are meant to judge."""
    return OnlineAnswers([_online(one) for one in services.scorers.online(ask.scorer_ids)])


def _told(versions: list[ScorerVersion]) -> ScorersAnswer:
    return ScorersAnswer([_wire(version) for version in versions])


def _wire(version: ScorerVersion) -> ScorerWire:
    number = int(version.experiment) if version.experiment.isascii() and version.experiment.isdigit() else None
    return ScorerWire(
        version.name,
        version.version,
        version.definition,
        milliseconds(version.created),
        version.scorer,
        UNSET if number is None or number >= 2**31 else number,
    )


def _online(scoring: OnlineScoring) -> OnlineWire:
    return OnlineWire(scoring.id, scoring.scorer, scoring.sample_rate, scoring.experiment, scoring.where)


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest("serialized_scorer must be valid JSON: an object")
    return found


def _has_source(value: Any) -> bool:
    if isinstance(value, dict):
        return value.get("call_source") is not None or any(map(_has_source, value.values()))
    return isinstance(value, list) and any(map(_has_source, value))


def _model(serialized: dict[str, Any]) -> Any:
    for part in _JUDGES:
        if isinstance(data := serialized.get(part), dict):
            return data.get("model")
    augmented = serialized.get("memory_augmented_judge_data")
    judge = augmented.get("base_judge") if isinstance(augmented, dict) else None
    return _model(judge) if isinstance(judge, dict) else None


def _check_model(serialized: dict[str, Any]) -> None:
    model = _model(serialized)
    if model is not None and not isinstance(model, str):
        raise InvalidRequest(f"Scorer model must be a string, got {type(model).__name__}.")
    if isinstance(model, str) and not model.strip():
        raise InvalidRequest("Scorer model cannot be empty or contain only whitespace.")
