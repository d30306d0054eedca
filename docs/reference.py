"""Write the reference pages from the declarations: ``python docs/reference.py [FOLDER]``."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import msgspec

from mainspring.cli.main import cli
from mainspring.cli.output import exit_code
from mainspring.cli.verbs import describe_type
from mainspring.client.session import SERVICES
from mainspring.core.errors import BY_CODE
from mainspring.core.operations import Operation, operations
from mainspring.core.settings import Settings


def pages() -> dict[str, str]:
    """Give the pages by file name."""
    return {
        "operations.md": _operations(),
        "commands.md": _commands(),
        "settings.md": _settings(),
        "errors.md": _errors(),
    }


def _operations() -> str:
    parts = ["# Operations\n\nEach verb as it is declared: in Python, over HTTP, on the command line.\n"]
    for attribute, place in SERVICES.items():
        module, name = place.split(":")
        parts.append(f"## {attribute}\n")
        parts += [_operation(attribute, op) for op in operations(getattr(import_module(module), name))]
    return "\n".join(parts)


def _operation(attribute: str, op: Operation) -> str:
    rows = [
        _row(f"`{a.name}`", describe_type(a.type), "required" if a.required else _default(a.default))
        for a in op.arguments
    ]
    table = ["| argument | type | default |", "|---|---|---|", *rows, ""] if rows else []
    head = [f"### `{attribute}.{op.name}`", "", f"`{op.method} {op.path}` gives {describe_type(op.returns)}", ""]
    return "\n".join([*head, op.doc, "", *table])


def _default(value: Any) -> str:
    return f"`{msgspec.json.encode(value).decode()}`"


def _commands() -> str:
    parts = ["# Commands\n", _command("mainspring", cli)]
    context = click.Context(cli, info_name="mainspring")
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        parts.append(_command(f"mainspring {name}", command, context))
        if isinstance(command, click.Group):
            inner = click.Context(command, info_name=name, parent=context)
            for verb in command.list_commands(inner):
                found = command.get_command(inner, verb)
                assert found is not None
                parts.append(_command(f"mainspring {name} {verb}", found, inner))
    return "\n".join(parts)


def _command(title: str, command: click.Command, parent: click.Context | None = None) -> str:
    context = click.Context(command, info_name=title.rpartition(" ")[2], parent=parent)
    return f"## `{title}`\n\n```text\n{command.get_help(context)}\n```\n"


def _settings() -> str:
    meanings = _meanings()
    rows = [
        _row(
            f"`{field.name}`",
            f"`MAINSPRING_{field.name.upper()}`",
            describe_type(field.type),
            _default(field.default),
            meanings[field.name],
        )
        for field in msgspec.structs.fields(Settings)
    ]
    head = (
        "# Settings\n\nDefaults < `mainspring.toml` < variables < flags; `mainspring config` prints what is in force.\n"
    )
    return "\n".join([head, "| name | variable | type | default | meaning |", "|---|---|---|---|---|", *rows, ""])


def _meanings() -> dict[str, str]:
    """Read the sentence below each setting, which only the source has."""
    (declared,) = ast.parse(textwrap.dedent(inspect.getsource(Settings))).body
    assert isinstance(declared, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(declared.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _errors() -> str:
    rows = [
        _row(f"`{code}`", kind.__name__, kind.status, exit_code(kind()), "yes" if kind.retryable else "", kind())
        for code, kind in BY_CODE.items()
    ]
    head = '# Errors\n\nOn the wire: `{"error": {"code", "message", "retryable", "facts"}}`.\n'
    columns = ["| code | class | HTTP | exit code | retry | meaning |", "|---|---|---|---|---|---|"]
    return "\n".join([head, *columns, *rows, ""])


def _row(*cells: object) -> str:
    # A bar within a cell would begin the next one.
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def main(folder: Path) -> None:
    """Write the pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "reference")
