"""The OpenAPI 3.1 document of the operations: made from the same declarations as the routes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from mainspring.core.operations import Argument, Operation, operations
from mainspring.protocols.native.errors import ErrorBody
from mainspring.version import __version__

_TEMPLATE = "#/components/schemas/{name}"


def openapi(services: Iterable[type]) -> dict[str, Any]:
    """Give the document as plain values, ready for JSON."""
    verbs = [(service, op) for service in services for op in operations(service)]
    types = [ErrorBody, *(op.returns for _, op in verbs), *(a.type for _, op in verbs for a in op.arguments)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_TEMPLATE)
    by_type = list(zip(types, schemas, strict=True))

    def schema_of(kind: Any) -> dict[str, Any]:
        return next(schema for known, schema in by_type if known is kind or known == kind)

    paths: dict[str, dict[str, Any]] = {}
    for service, op in verbs:
        path = re.sub(r":path}", "}", op.path)
        paths.setdefault(path, {})[op.method.lower()] = _entry(service, op, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Mainspring",
            "version": __version__,
            "description": "The control plane. Errors have one shape everywhere; 429 and 503 may be tried again.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def _entry(service: type, op: Operation, schema_of: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "operationId": f"{service.__name__}.{op.name}",
        "tags": [service.__name__],
        "summary": op.summary,
        "description": op.doc,
        "responses": {
            "200": {"description": "Done.", "content": {"application/json": {"schema": schema_of(op.returns)}}},
            "default": {
                "description": "Refused or failed.",
                "content": {"application/json": {"schema": schema_of(ErrorBody)}},
            },
        },
    }
    outside = [a for a in op.arguments if not a.in_path]
    parameters = [_parameter(a, "path", schema_of) for a in op.arguments if a.in_path]
    if op.in_query:
        parameters += [_parameter(a, "query", schema_of) for a in outside]
    elif outside:
        entry["requestBody"] = _request_body(outside, schema_of)
    if parameters:
        entry["parameters"] = parameters
    return entry


def _parameter(argument: Argument, place: str, schema_of: Any) -> dict[str, Any]:
    return {
        "name": argument.name,
        "in": place,
        "required": argument.required or place == "path",
        "schema": _with_default(argument, schema_of),
    }


def _request_body(arguments: list[Argument], schema_of: Any) -> dict[str, Any]:
    required = [a.name for a in arguments if a.required]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {a.name: _with_default(a, schema_of) for a in arguments},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = required
    return {"required": bool(required), "content": {"application/json": {"schema": schema}}}


def _with_default(argument: Argument, schema_of: Any) -> dict[str, Any]:
    schema = dict(schema_of(argument.type))
    if not argument.required and "$ref" not in schema:
        schema["default"] = msgspec.to_builtins(argument.default)
    return schema
