"""A service at a distance: an object with the same methods, each of them an HTTP call."""

from __future__ import annotations

import math
from typing import Any, TypeVar, cast
from urllib.parse import quote

import httpx2
import msgspec

from mainspring.core.actor import current_actor
from mainspring.core.errors import BY_CODE, InvalidRequest, MainspringError, Unavailable
from mainspring.core.operations import Operation, operations
from mainspring.runtime.telemetry.trace import current_trace

S = TypeVar("S")


def remote(service: type[S], http: httpx2.Client) -> S:
    """Give an object that has the operations of *service* and carries each out at the control plane behind *http*.

    Errors come back as the types that the service itself raises; Unavailable when nothing answers.
    """
    methods = {op.name: _call(http, op) for op in operations(service)}
    return cast(S, type(f"Remote{service.__name__}", (), methods)())


def _call(http: httpx2.Client, op: Operation) -> Any:
    decoder = msgspec.json.Decoder(op.returns)
    names = [a.name for a in op.arguments]
    defaults = {a.name: a.default for a in op.arguments if not a.required}

    def call(self: object, *args: Any, **kwargs: Any) -> Any:
        values = _bind(op, names, args, kwargs)
        path = op.path.replace(":path}", "}").format_map(
            {a.name: _segment(op, values, a.name) for a in op.arguments if a.in_path}
        )
        rest = {
            name: value
            for name, value in values.items()
            if f"{{{name}" not in op.path and not (name in defaults and defaults[name] is value)
        }
        _check_numbers(rest)
        if op.in_query:
            return decoder.decode(send(http, op.method, path, params=_query(rest)).content)
        body = msgspec.json.encode(rest) if rest else b""
        return decoder.decode(send(http, op.method, path, content=body).content)

    call.__name__ = op.name
    call.__doc__ = op.doc
    return call


def send(http: httpx2.Client, method: str, path: str, **options: Any) -> httpx2.Response:
    """Send a request in the name of who acts here, within the trace of this context.

    Raises what the control plane answered, if that is an error, and Unavailable when nothing answers.
    """
    options["headers"] = {**options.get("headers", {}), **_context()}
    try:
        reply = http.request(method, path, **options)
    except httpx2.TransportError as error:
        raise no_answer(http, error) from error
    if reply.is_error:
        raise _error(reply)
    return reply


def no_answer(http: httpx2.Client, error: httpx2.TransportError) -> Unavailable:
    """Give the error that says that nobody answers."""
    return Unavailable(f"no control plane answers at {http.base_url}: {error}; is `mainspring up` running?")


def _bind(op: Operation, names: list[str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    if len(args) > len(names) or kwargs.keys() - set(names):
        raise TypeError(f"{op.name}() takes {', '.join(names)}; got {len(args)} values and {sorted(kwargs)}")
    values = dict(zip(names, args, strict=False))
    if twice := values.keys() & kwargs.keys():
        raise TypeError(f"{op.name}() got {', '.join(sorted(twice))} twice")
    values |= kwargs
    if missing := [a.name for a in op.arguments if a.required and a.name not in values]:
        raise TypeError(f"{op.name}() needs {', '.join(missing)}")
    return values


def _context() -> dict[str, bytes]:
    trace = current_trace()
    names = {"x-mainspring-actor": current_actor().name.encode()}
    return names if trace is None else {**names, "traceparent": trace.child().traceparent.encode()}


def _check_numbers(values: dict[str, Any]) -> None:
    for name, value in values.items():
        # JSON has no word for it: it would arrive as null, which means "not given".
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidRequest(f"{name} is {value}: expected a finite number", argument=name)


def _segment(op: Operation, values: dict[str, Any], name: str) -> str:
    text = str(values[name])
    # Servers take %2F for a slash and drop dots and empty parts: the call would arrive as another one.
    if f"{{{name}:path}}" not in op.path and (text in ("", ".", "..") or "/" in text):
        raise InvalidRequest(f"{text!r} cannot be the {name}: it stands in a path, where it would mean another call")
    return quote(text, safe="")


def _query(values: dict[str, Any]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        plain = msgspec.to_builtins(value)
        for entry in plain if isinstance(plain, list) and not _mistaken(plain) else [plain]:
            pairs.append((name, entry if isinstance(entry, str) else msgspec.json.encode(entry).decode()))
    return pairs


def _mistaken(values: list[Any]) -> bool:
    """Tell whether a list, written entry by entry, would be lost or read as another one: then it travels as JSON."""
    return not values or (len(values) == 1 and isinstance(values[0], str) and values[0].startswith("["))


def _error(reply: httpx2.Response) -> MainspringError:
    try:
        detail = msgspec.json.decode(reply.content)["error"]
        kind = BY_CODE.get(detail["code"], MainspringError)
        return kind(detail["message"], **detail.get("facts", {}))
    except (msgspec.DecodeError, KeyError, TypeError):
        return MainspringError(f"{reply.request.url} answered {reply.status_code}: {reply.text[:200]}")
