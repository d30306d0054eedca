"""The OpenAPI 3.1 document: made from the declarations of operations, and of what is written by hand beside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from mainspring.core.operations import Argument, Operation, operations
from mainspring.protocols.native.errors import ErrorBody
from mainspring.version import __version__

_TEMPLATE = "#/components/schemas/{name}"
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
BINARY = {"type": "string", "format": "binary"}


def described(**methods: dict[str, Any]) -> Callable[[Endpoint], Endpoint]:
    """Describe an endpoint that is written by hand: one entry of the document for each method, by `entry`."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.__described__ = methods  # type: ignore[attr-defined]
        return endpoint

    return mark


def entry(id: str, summary: str, media_type: str, schema: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Give the entry of one method: *schema* is that of the body answered, *more* are further fields of OpenAPI."""
    error = {"$ref": _TEMPLATE.format(name=ErrorBody.__name__)}
    return {
        "operationId": id,
        "tags": [id.partition(".")[0]],
        "summary": summary,
        "description": summary,
        "responses": {
            "200": {"description": "Done.", "content": {media_type: {"schema": dict(schema)}}},
            "default": {"description": "Refused or failed.", "content": {"application/json": {"schema": error}}},
        },
        **more,
    }


def openapi(services: Iterable[type], written: Mapping[str, Callable[..., Any]] | None = None) -> dict[str, Any]:
    """Give the document as plain values, ready for JSON. *written* are described endpoints by path."""
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
    for path, endpoint in (written or {}).items():
        paths.setdefault(path, {}).update(getattr(endpoint, "__described__", {}))
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
