"""How results and errors are shown: tables for people, JSON for programs, one exit code for each kind of error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from mainspring.core.errors import (
    Conflict,
    Forbidden,
    InvalidData,
    InvalidRequest,
    MainspringError,
    NotFound,
    OverLimit,
    TooLarge,
    Unavailable,
    Unsupported,
)

EXIT_CODES: dict[type[MainspringError], int] = {
    InvalidRequest: 2,
    NotFound: 3,
    Conflict: 4,
    Forbidden: 4,
    InvalidData: 5,
    Unsupported: 5,
    TooLarge: 5,
    Unavailable: 6,
    OverLimit: 6,
}
"""0 done, 1 an error that nobody foresaw, 130 interrupted; the rest by the error's kind."""


def exit_code(error: MainspringError) -> int:
    """Give the exit code of an error: that of the nearest kind in EXIT_CODES, else 1."""
    return next((EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES), 1)


def show(value: Any, *, as_json: bool) -> None:
    """Print a result: JSON on one line, or aligned text."""
    if as_json:
        click.echo(msgspec.json.encode(value))
        return
    plain = msgspec.to_builtins(value)
    if isinstance(plain, list) and plain and all(isinstance(row, dict) for row in plain):
        _table(plain)
    elif isinstance(plain, list):
        click.echo("\n".join(_cell(entry) for entry in plain) or "(nothing)")
    elif isinstance(plain, dict):
        _fields(plain)
    elif plain is not None:
        click.echo(_cell(plain))


def show_error(error: MainspringError, *, as_json: bool) -> None:
    """Print an error on one line of stderr."""
    if as_json:
        detail = {"code": error.code, "message": str(error), "retryable": error.retryable, "facts": error.facts}
        click.echo(msgspec.json.encode({"error": detail}, enc_hook=str), err=True)
        return
    label = click.style("error:", fg="red", bold=True) if sys.stderr.isatty() else "error:"
    click.echo(f"{label} {' '.join(str(error).split())}", err=True)


def _table(rows: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    names = list(dict.fromkeys(name for row in rows for name in row))
    shown = [name for name in names if any(row.get(name) not in (None, [], {}) for row in rows)]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in shown:
        table.add_column(name, overflow="fold", justify="right" if _numeric(rows, name) else "left")
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in shown))
    # A pipe has no width: let no line be folded there.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 400)
    with console.capture() as capture:
        console.print(table)
    click.echo(capture.get(), nl=False)


def _numeric(rows: Sequence[dict[str, Any]], name: str) -> bool:
    values = [row[name] for row in rows if row.get(name) is not None]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _fields(value: dict[str, Any], indent: str = "") -> None:
    width = max((len(name) for name in value), default=0)
    for name, entry in value.items():
        if isinstance(entry, dict) and entry:
            click.echo(f"{indent}{name}:")
            _fields(entry, indent + "  ")
        elif isinstance(entry, list) and entry and isinstance(entry[0], dict):
            click.echo(f"{indent}{name}:")
            for item in entry:
                click.echo(f"{indent}  - " + ", ".join(f"{k}={_cell(v)}" for k, v in item.items() if v is not None))
        else:
            click.echo(f"{indent}{name:<{width}}  {_cell(entry)}")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return ", ".join(value)
    return msgspec.json.encode(value).decode()
