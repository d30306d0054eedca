"""An operation is one verb of a service, declared once; routes, client, CLI and reference are derived from it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, get_type_hints

import msgspec

F = TypeVar("F", bound=Callable[..., Any])
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_IN_PATH = re.compile(r"{(\w+)(?::path)?}")
REQUIRED: Any = inspect.Parameter.empty


class Argument(msgspec.Struct, frozen=True):
    """One argument of an operation: its type, whether it stands in the path, and its default (or REQUIRED)."""

    name: str
    type: Any
    in_path: bool
    default: Any = REQUIRED

    @property
    def required(self) -> bool:
        """Tell whether the caller must give it."""
        return self.default is REQUIRED


class Operation(msgspec.Struct, frozen=True):
    """A verb as declared: HTTP method and path, Python name, arguments in order, type returned, documentation."""

    method: str
    path: str
    name: str
    arguments: list[Argument]
    returns: Any
    summary: str
    doc: str

    @property
    def in_query(self) -> bool:
        """Tell whether arguments outside the path travel in the query string rather than in a JSON body."""
        return self.method in ("GET", "DELETE")


def operation(route: str) -> Callable[[F], F]:
    """Declare a service method as the verb ``METHOD /path/{argument}``.

    Raises ValueError when the route is not of that form.
    """
    method, _, path = route.partition(" ")
    if method not in _METHODS or not path.startswith("/"):
        raise ValueError(f"{route!r} is not a route: expected one of {', '.join(_METHODS)}, a space and a path")

    def mark(function: F) -> F:
        function.__route__ = (method, path)  # type: ignore[attr-defined]
        return function

    return mark


def operations(service: type) -> Iterator[Operation]:
    """Yield the operations of a service class, in the order of their names."""
    for name, function in inspect.getmembers(service, inspect.isfunction):
        if route := getattr(function, "__route__", None):
            yield _read(name, function, *route)


def _read(name: str, function: Callable[..., Any], method: str, path: str) -> Operation:
    hints = get_type_hints(function)
    in_path = set(_IN_PATH.findall(path))
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    arguments = [Argument(p.name, hints[p.name], p.name in in_path, p.default) for p in parameters]
    if lost := in_path - {a.name for a in arguments}:
        raise TypeError(f"{function.__qualname__}: the path names {sorted(lost)}, the method does not take them")
    doc = inspect.getdoc(function) or ""
    return Operation(method, path, name, arguments, hints["return"], doc.partition("\n")[0], doc)
