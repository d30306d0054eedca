"""Records of evaluation datasets as MLflow's clients write and read them: a list of objects, within a text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args

import msgspec
from msgspec import UNSET

from mainspring.core.errors import InvalidRequest
from mainspring.datasets.evaluation.model import EvaluationRecord, RecordDraft, RecordSource, SourceType
from mainspring.protocols.mlflow.entities import milliseconds

_SOURCES = get_args(SourceType)


def records_read(text: str) -> list[RecordDraft]:
    """Read records; raises InvalidRequest that says which one is wrong."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"Invalid value for parameter 'records': it is no JSON: {error}") from None
    if not isinstance(found, list):
        raise InvalidRequest("Invalid value for parameter 'records': expected a list of records")
    return [_draft(one, f"records[{at}]") for at, one in enumerate(found)]


def records_told(records: Sequence[EvaluationRecord]) -> str:
    """Give records as they are told."""
    return json.dumps([_told(record) for record in records])


def _draft(given: Any, where: str) -> RecordDraft:
    if not isinstance(given, dict):
        raise InvalidRequest(f"{where} is no object: each record must be a dictionary with 'inputs'")
    return RecordDraft(
        inputs=_mapping(given.get("inputs"), f"{where}.inputs") or {},
        outputs=_plain(given["outputs"]) if "outputs" in given else UNSET,
        expectations=_mapping(given.get("expectations"), f"{where}.expectations"),
        tags=_mapping(given.get("tags"), f"{where}.tags"),
        source=_source(given.get("source"), f"{where}.source"),
    )


def _plain(value: Any) -> Any:
    # What a frame does not have comes as NaN.
    return None if value != value else value


def _mapping(value: Any, where: str) -> dict[str, Any] | None:
    value = _plain(value)
    if value is not None and not isinstance(value, dict):
        raise InvalidRequest(f"{where} is no object: expected a mapping of names to values")
    return value


def _source(value: Any, where: str) -> RecordSource | None:
    given = _mapping(value, where)
    if not given:
        return None
    type = str(given.get("source_type", "")).upper()
    if type not in _SOURCES:
        raise InvalidRequest(f"Invalid dataset record source type: {type}. Valid source types: {list(_SOURCES)}")
    if odd := given.keys() - {"source_type", "source_data"}:
        raise InvalidRequest(f"{where} has {', '.join(sorted(odd))}: expected source_type and source_data")
    data = _mapping(given.get("source_data"), f"{where}.source_data") or {}
    return RecordSource(msgspec.convert(type, SourceType), data)


def _told(record: EvaluationRecord) -> dict[str, Any]:
    told: dict[str, Any] = {
        "dataset_record_id": record.id,
        "dataset_id": record.dataset,
        "inputs": record.inputs,
        "tags": record.tags,
        "created_time": milliseconds(record.created),
        "last_update_time": milliseconds(record.updated),
    }
    source = record.source
    maybe = {
        "outputs": record.outputs,
        "expectations": record.expectations,
        "source": source and {"source_type": source.type, "source_data": source.data},
        "source_type": source and source.type,
        "source_id": source and source.id,
        "created_by": record.created_by,
        "last_updated_by": record.updated_by,
    }
    return told | {name: value for name, value in maybe.items() if value is not None}
