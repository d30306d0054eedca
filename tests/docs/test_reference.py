"""The reference pages name everything there is."""

from __future__ import annotations

import importlib.util
from importlib import import_module
from types import ModuleType

import msgspec
import pytest

from mainspring.cli.main import COMMANDS
from mainspring.client.session import SERVICES
from mainspring.core.errors import BY_CODE
from mainspring.core.operations import operations
from mainspring.core.settings import Settings
from tests.cli.test_main import every_command
from tests.docs.examples import ROOT


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(reference: ModuleType) -> dict[str, str]:
    found: dict[str, str] = reference.pages()
    return found


def test_every_operation_is_there_with_its_route(pages: dict[str, str]) -> None:
    for attribute, place in SERVICES.items():
        module, name = place.split(":")
        for op in operations(getattr(import_module(module), name)):
            assert f"### `{attribute}.{op.name}`\n\n`{op.method} {op.path}`" in pages["operations.md"]


def test_every_command_is_there(pages: dict[str, str]) -> None:
    for name in [*COMMANDS, *(name for name, _ in every_command())]:
        assert f"## `mainspring {name}`" in pages["commands.md"], name


def test_every_setting_is_there_with_what_it_means(pages: dict[str, str]) -> None:
    for field in msgspec.structs.fields(Settings):
        row = next(line for line in pages["settings.md"].splitlines() if line.startswith(f"| `{field.name}` |"))
        assert f"`MAINSPRING_{field.name.upper()}`" in row
        assert row.rstrip(" |").endswith("."), row


def test_every_error_is_there_with_status_and_exit_code(pages: dict[str, str]) -> None:
    for code, kind in BY_CODE.items():
        assert f"| `{code}` | {kind.__name__} | {kind.status} |" in pages["errors.md"]


def test_no_table_is_broken_by_what_stands_in_it(pages: dict[str, str]) -> None:
    for name, text in pages.items():
        width = 0
        for line in text.splitlines():
            if not line.startswith("|"):
                width = 0
                continue
            cells = line.replace("\\|", "").count("|")
            assert width in (0, cells), f"{name}: {line}"
            width = cells
