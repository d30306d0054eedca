"""One declared verb, five forms: route, entry in the document, remote call, command and reference page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import httpx2
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.testclient import TestClient

from mainspring.cli.main import cli
from mainspring.cli.verbs import ServiceGroup
from mainspring.client.remote import remote
from mainspring.client.session import SERVICES
from mainspring.core.operations import Operation, operations
from mainspring.core.settings import Settings
from mainspring.planes.embedded import Platform
from mainspring.protocols.native.app import application
from mainspring.protocols.native.objects import object_routes
from mainspring.runtime.threads import Threads
from mainspring.runtime.uploads import Uploads

WRITTEN_BY_HAND = {
    ("lineage", "trace"): "lineage",
    ("lineage", "events"): "events",
    ("access", "create_user"): "user",
    ("access", "set_password"): "user",
    ("webhooks", "create"): "webhook",
    ("webhooks", "update"): "webhook",
    ("garbage", "collect_garbage"): "gc",
}
"""Commands that draw what they get, read a secret from a file or go on in turns; all others are derived."""
VERBS = [
    (attribute, service, op)
    for attribute, (module, name) in ((one, place.split(":")) for one, place in SERVICES.items())
    for service in [getattr(import_module(module), name)]
    for op in operations(service)
]
IDS = [f"{attribute}.{op.name}" for attribute, _, op in VERBS]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The OpenAPI document as a control plane serves it."""
    threads = Threads(1)
    with Platform(Settings(home=str(tmp_path_factory.mktemp("home")))) as platform:
        assert isinstance(platform, Platform)
        services = [getattr(platform, name) for name in SERVICES]
        extra = object_routes(Uploads(platform.objects, threads, platform.home / "uploads", 1024))
        app = application(services, threads, max_body_bytes=1024, extra=extra, metrics=lambda: b"")
        yield TestClient(app, base_url="http://localhost").get("/openapi.json").json()
    threads.close()


def test_the_document_that_is_served_is_valid_by_another_s_word(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    ids = [entry["operationId"] for methods in document["paths"].values() for entry in methods.values()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("attribute", "service", "op"), VERBS, ids=IDS)
def test_the_document_has_its_route_with_its_arguments(
    document: dict[str, Any], attribute: str, service: type, op: Operation
) -> None:
    path = op.path.replace(":path}", "}")
    entry = document["paths"][path][op.method.lower()]
    assert entry["operationId"] == f"{service.__name__}.{op.name}"
    named = {parameter["name"] for parameter in entry.get("parameters", [])}
    body = entry.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    assert named | set(body.get("properties", {})) == {argument.name for argument in op.arguments}
    assert set(re.findall(r"{(\w+)}", path)) <= named


@pytest.mark.parametrize(("attribute", "service", "op"), VERBS, ids=IDS)
def test_the_remote_service_has_it(attribute: str, service: type, op: Operation) -> None:
    with httpx2.Client(base_url="http://localhost") as http:
        call = getattr(remote(service, http), op.name)
    assert call.__doc__ == op.doc


@pytest.mark.parametrize(("attribute", "service", "op"), VERBS, ids=IDS)
def test_there_is_a_command_for_it(attribute: str, service: type, op: Operation) -> None:
    context = click.Context(cli)
    if (attribute, op.name) in WRITTEN_BY_HAND:
        assert cli.get_command(context, WRITTEN_BY_HAND[attribute, op.name]) is not None
        return
    groups = [cli.get_command(context, name) for name in cli.list_commands(context)]
    found = [
        command
        for group in groups
        if isinstance(group, ServiceGroup)
        for command in (group.get_command(context, name) for name in group.list_commands(context))
        if command is not None and command.short_help == op.summary
    ]
    (command,) = found
    given = {parameter.name for parameter in command.params}
    assert {argument.name for argument in op.arguments} <= given
    assert not {argument.name for argument in op.arguments} & {"target", "as_json"}, "the command's own names"


def test_no_command_is_exempt_for_an_operation_that_is_gone() -> None:
    assert set(WRITTEN_BY_HAND) <= {(attribute, op.name) for attribute, _, op in VERBS}


def test_what_the_pages_say_is_there_is_in_the_repository() -> None:
    root = Path(__file__).parents[2]
    for page in (root / "README.md", *root.glob("docs/*.md")):
        for link in re.findall(r"\]\((?!https?:|#|reference/)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
