"""Structured logs: one JSON object per line, with the trace it belongs to."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import IO

import msgspec

from mainspring.runtime.telemetry.trace import current_trace

# What every record has: the rest was given by the caller as `extra`.
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_WRITTEN = frozenset(("at", "level", "logger", "event", "plane", "pid", "trace_id", "span_id", "error", "stack"))


class JsonLines(logging.Formatter):
    """One line per record: at, level, logger, event, plane, pid, trace ids, `extra` fields, error.

    A field of `extra` that has the name of one of these gets a trailing underscore. Values that JSON does not know
    are written as their `repr`; nothing that is logged can raise.
    """

    def __init__(self, plane: str = "") -> None:
        super().__init__()
        self._plane = plane

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _message(record),
        }
        if self._plane:
            line["plane"] = self._plane
        line["pid"] = record.process
        if (trace := current_trace()) is not None:
            line["trace_id"], line["span_id"] = trace.trace_id, trace.span_id
        for name, value in vars(record).items():
            if name not in _PLAIN:
                line[f"{name}_" if name in _WRITTEN else name] = value
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return _one_line(line)


def start_logs(
    plane: str, *, level: str = "INFO", stream: IO[str] | None = None, path: str | None = None
) -> logging.Handler:
    """Send the logs of this process to *stream* (default: standard error) or append them to the file *path*.

    Replaces what an earlier call set up. Raises ValueError for a level that does not exist, OSError if the file
    cannot be opened.
    """
    handler: logging.Handler = logging.FileHandler(path) if path else logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(plane))
    root = logging.getLogger()
    for earlier in [known for known in root.handlers if isinstance(known.formatter, JsonLines)]:
        root.removeHandler(earlier)
        earlier.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    return handler


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:
        # Whoever reads the log can do more with the words as they are than with their absence.
        return f"{record.msg!r} % {_shown(record.args)} ({type(error).__name__})"


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"


_encode = msgspec.json.Encoder(enc_hook=_shown).encode


def _one_line(line: dict[str, object]) -> str:
    try:
        return _encode(line).decode()
    except (TypeError, ValueError, RecursionError):
        return _encode({name: _plain(value) for name, value in line.items()}).decode()


def _plain(value: object) -> object:
    """*value* as something that surely encodes: text without lone surrogates."""
    if isinstance(value, (bool, float)) or value is None:
        return value
    text = value if isinstance(value, str) else _shown(value)
    return text.encode("utf-8", "backslashreplace").decode()
