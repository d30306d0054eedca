"""The API as a whole: the operations of all services together."""

from __future__ import annotations

import re
from collections import defaultdict
from importlib import import_module

import msgspec
from openapi_spec_validator import OpenAPIV31SpecValidator

from mainspring.client.session import SERVICES, Session
from mainspring.core.operations import operations
from mainspring.protocols.native.openapi import openapi


def _services() -> list[type]:
    return [getattr(import_module(module), name) for module, name in (place.split(":") for place in SERVICES.values())]


def test_no_two_operations_answer_the_same_call() -> None:
    calls = defaultdict(list)
    for service in _services():
        for op in operations(service):
            calls[op.method, re.sub(r"{[^}]*}", "{}", op.path)].append(f"{service.__name__}.{op.name}")
    assert {call: names for call, names in calls.items() if len(names) > 1} == {}


def test_no_fixed_path_is_hidden_behind_a_pattern_of_another_operation() -> None:
    # Routes of the same method and length that differ only where one has a name and the other a parameter: the first
    # would take the call of the second, whichever it is.
    routes = [(op.method, op.path.split("/"), op.name) for service in _services() for op in operations(service)]
    for method, path, name in routes:
        for other_method, other, other_name in routes:
            if (method, name, len(path)) == (other_method, other_name, len(other)) or method != other_method:
                continue
            hidden = len(path) == len(other) and all(
                mine == theirs or mine.startswith("{") for mine, theirs in zip(path, other, strict=True)
            )
            assert not hidden or path == other, f"{method} {'/'.join(path)} takes the calls of {'/'.join(other)}"


def test_the_document_of_all_services_is_valid_openapi() -> None:
    document = msgspec.json.decode(msgspec.json.encode(openapi(_services())))
    OpenAPIV31SpecValidator(document).validate()
    assert sum(len(methods) for methods in document["paths"].values()) == sum(
        len(list(operations(service))) for service in _services()
    )


def test_every_operation_is_documented() -> None:
    for service in _services():
        for op in operations(service):
            assert op.summary.rstrip("."), f"{service.__name__}.{op.name}"


def test_a_session_has_every_service() -> None:
    assert set(SERVICES) == set(Session.__annotations__)
