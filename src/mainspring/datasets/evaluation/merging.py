"""How records merge: one for each content of inputs; the rest is added to, key by key."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import uuid4

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.datasets.evaluation.model import (
    USER_TAG,
    EvaluationRecord,
    FieldTypes,
    RecordDraft,
    given_outputs,
)

_SPACE = 2**256
_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "float"),
    (str, "string"),
    (list, "array"),
    (dict, "object"),
)


def text_of(value: Any) -> str:
    """Give a value as the text in which it is kept: JSON, and NaN as Python writes it; all ASCII.

    Raises InvalidRequest for a value that nests too deep.
    """
    try:
        return json.dumps(value)
    except (RecursionError, TypeError, ValueError) as error:
        raise InvalidRequest(f"a value of a record cannot be kept: {error}") from None


def inputs_hash(inputs: Mapping[str, Any]) -> str:
    """Give what is equal for equal inputs, in whatever order their keys stand."""
    try:
        return sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    except (RecursionError, TypeError, ValueError) as error:
        raise InvalidRequest(f"the inputs of a record cannot be kept: {error}") from None


def content_of(record: EvaluationRecord) -> int:
    """Give the share of a record in the content of its dataset: sums of them tell datasets apart in any order."""
    said = (record.inputs, record.outputs, record.expectations, record.tags, msgspec.to_builtins(record.source))
    return int.from_bytes(sha256(json.dumps(said, sort_keys=True).encode()).digest())


def content_after(content: str, added: Iterable[EvaluationRecord], removed: Iterable[EvaluationRecord]) -> str:
    """Give the content of a dataset once some records came and others went."""
    total = int(content, 16) + sum(map(content_of, added)) - sum(map(content_of, removed))
    return f"{total % _SPACE:064x}"


def digest_of(name: str, content: str) -> str:
    """Give the digest of a dataset: equal for the same records under the same name."""
    return sha256(f"{name}:{content}".encode()).hexdigest()[:16]


def begun(draft: RecordDraft, dataset: str, version: int, position: int, now: datetime) -> EvaluationRecord:
    """Make a record of what came."""
    by = _user(draft)
    return EvaluationRecord(
        id=f"dr-{uuid4().hex}",
        dataset=dataset,
        inputs=draft.inputs,
        outputs=draft.outputs if given_outputs(draft) else {},
        expectations=draft.expectations,
        tags=draft.tags or {},
        source=draft.source,
        created=now,
        updated=now,
        created_by=by,
        updated_by=by,
        since=version,
        position=position,
    )


def merged(standing: EvaluationRecord, draft: RecordDraft, version: int, now: datetime) -> EvaluationRecord:
    """Add what came to a record; gives the very record when that says nothing new. It keeps its source."""
    outputs = draft.outputs if given_outputs(draft) else standing.outputs
    expectations = standing.expectations
    if draft.expectations:
        expectations = {**(expectations or {}), **draft.expectations}
    tags = {**standing.tags, **(draft.tags or {})}
    if text_of((outputs, expectations, tags)) == text_of((standing.outputs, standing.expectations, standing.tags)):
        return standing
    return msgspec.structs.replace(
        standing,
        outputs=outputs,
        expectations=expectations,
        tags=tags,
        updated=now,
        updated_by=_user(draft) or standing.updated_by,
        since=version,
    )


def types_after(types: FieldTypes | None, drafts: Iterable[RecordDraft]) -> FieldTypes:
    """Add the fields that are new; a field keeps the type that it had first."""
    known = types or FieldTypes()
    inputs, outputs, expectations = dict(known.inputs), known.outputs, dict(known.expectations)
    for draft in drafts:
        _add(inputs, draft.inputs)
        _add(expectations, draft.expectations or {})
        if not given_outputs(draft) or draft.outputs is None:
            continue
        if isinstance(draft.outputs, dict) and isinstance(outputs, dict):
            outputs = dict(outputs)
            _add(outputs, draft.outputs)
        elif not outputs:
            outputs = _type(draft.outputs)
    return FieldTypes(inputs, outputs, expectations)


def _add(types: dict[str, str], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        types.setdefault(name, _type(value))


def _type(value: Any) -> str:
    if value is None:
        return "null"
    return next((name for kind, name in _TYPES if isinstance(value, kind)), "unknown")


def _user(draft: RecordDraft) -> str | None:
    by = (draft.tags or {}).get(USER_TAG)
    return str(by) if by else None
