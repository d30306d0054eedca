"""Commands derived from operations: required arguments are positional, the others are options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, get_args

import click
import msgspec

from mainspring.cli.output import show
from mainspring.cli.target import Target, common_options
from mainspring.core.errors import InvalidRequest
from mainspring.core.operations import Argument, Operation, operations


class ServiceGroup(click.Group):
    """The commands of one noun, of one service or several; they are imported only when one of them is asked for.

    A verb is called as its operation is, unless *verbs* gives it a name that the noun before it makes shorter. Where a
    service has more nouns than one, *takes* tells which of its operations are this one's.
    """

    def __init__(
        self,
        name: str,
        service: str,
        attribute: str,
        *,
        help: str,
        verbs: Mapping[str, str] | None = None,
        also: Mapping[str, str] | None = None,
        takes: Callable[[str], bool] = lambda operation: True,
    ) -> None:
        super().__init__(name=name, help=help, no_args_is_help=True)
        self._verbs = verbs or {}
        self._services = {attribute: service, **(also or {})}
        self._takes = takes

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the verbs of the service and those written by hand."""
        return sorted({*self._operations(), *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Give the command written by hand, else the derived one."""
        written = super().get_command(ctx, name)
        if written is not None:
            return written
        found = self._operations().get(name)
        return None if found is None else derive(found[1], name, found[0])

    def _operations(self) -> dict[str, tuple[str, Operation]]:
        return {
            self._verbs.get(op.name, op.name.replace("_", "-")): (attribute, op)
            for attribute, place in self._services.items()
            for module, _, name in [place.partition(":")]
            for op in operations(getattr(import_module(module), name))
            if self._takes(op.name)
        }


def derive(op: Operation, name: str, attribute: str) -> click.Command:
    """Give the command that carries out *op* of the platform's service *attribute*."""
    parameters: list[click.Parameter] = []
    for argument in op.arguments:
        parameters.append(_positional(argument) if argument.required else _option(argument))

    @common_options
    def run(target: Target, as_json: bool, **given: Any) -> None:
        values = {a.name: _value(a, given[a.name]) for a in op.arguments if given[a.name] is not None}
        with target.session() as session:
            result = getattr(getattr(session, attribute), op.name)(**values)
        show(result, as_json=as_json)

    command: click.Command = click.command(name, help=_help(op), short_help=op.summary)(run)
    command.params = [*parameters, *command.params]
    return command


def _help(op: Operation) -> str:
    return re.sub(r"\*(\w+)\*", lambda match: match[1].upper(), op.doc)


def _positional(argument: Argument) -> click.Argument:
    return click.Argument([argument.name], metavar=argument.name.upper())


def _option(argument: Argument) -> click.Option:
    flag = f"--{argument.name.replace('_', '-')}"
    if argument.type is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}", argument.name], default=None, help=_default(argument))
    many = str in get_args(argument.type) and _is_list(argument.type)
    return click.Option([flag, argument.name], default=None, help=_default(argument), metavar="JSON" if many else None)


def _default(argument: Argument) -> str:
    default = "" if argument.default is None else f"; default {argument.default!r}"
    return f"{describe_type(argument.type)}{default}"


def describe_type(kind: Any) -> str:
    """Write a type as a person reads it: without module names."""
    return re.sub(r"\b\w+\.(?=\w)", "", inspect.formatannotation(kind))


def names_given(text: str | None) -> list[str] | None:
    """Read names written as ``a,b,c``; None when nothing was given."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _is_list(kind: Any) -> bool:
    return "list" in str(kind)


def _value(argument: Argument, text: Any) -> Any:
    if not isinstance(text, str):
        return text
    attempts: list[Callable[[], Any]] = [
        lambda: msgspec.convert(text, argument.type, strict=False),
        lambda: msgspec.json.decode(text, type=argument.type),
        lambda: msgspec.convert(text.split(","), argument.type, strict=False),
    ]
    problems: list[str] = []
    for attempt in attempts:
        try:
            return attempt()
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            problems.append(str(error))
    # Of a text that looks like JSON, what is wrong with the JSON is what helps.
    problem = problems[1] if text.lstrip().startswith(("{", "[")) else problems[0]
    raise InvalidRequest(f"{argument.name}: {problem}; expected {describe_type(argument.type)}, lists as a,b,c or JSON")
