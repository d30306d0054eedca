"""Capture of which program a run is: its command, its script, its environment and its code."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mainspring.client.capture.watchers import Captures
from mainspring.client.entries import Origin
from mainspring.client.queueing import RunQueue
from mainspring.core.errors import MainspringError
from mainspring.tracking.environment import capture_environment
from mainspring.tracking.model import MAX_TAG_CHARS
from mainspring.tracking.source import capture_source, looks_secret

_JOIN_S = 10.0
_MAX_SCRIPT_BYTES = 256 * 2**10
_SECRET_OPTION = re.compile(r"(?i)(pass(word|wd|phrase)?|secret|token|api[-_]?key|access[-_]?key|credential|auth)$")
_SECRET_VALUE = re.compile(
    r"AKIA[0-9A-Z]{16}|gh[pousr]_\w{36}|xox[baprs]-[\w-]{10}|sk-[\w-]{20}|AIza[\w-]{35}|glpat-[\w-]{20}|hf_\w{30}"
)
_PASSWORD_IN_URL = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
HIDDEN = "***"


class OriginWatcher:
    """Looks once, in a thread of its own: Git and the driver of a GPU may take their time."""

    def __init__(self, captures: Captures) -> None:
        self._captures = captures
        self._thread: threading.Thread | None = None

    def look(self, queue: RunQueue) -> None:
        """Begin to look when this is called for the first time."""
        if self._thread is None:
            if "command" in self._captures:
                queue.texts.extend((False, key, value[:MAX_TAG_CHARS]) for key, value in command_tags().items())
            self._thread = threading.Thread(target=self._capture, args=(queue,), name="run-origin", daemon=True)
            self._thread.start()

    def finish(self, queue: RunQueue) -> None:
        """Wait until all is seen, for some seconds."""
        self.look(queue)
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def _capture(self, queue: RunQueue) -> None:
        environment = capture_environment() if "environment" in self._captures else None
        code = capture_source() if "code" in self._captures else None
        with suppress(MainspringError):
            if environment is not None or code is not None:
                queue.append(Origin(queue.run, environment, code))
            if code is None and "code" in self._captures and (script := _script_bytes()) is not None:
                queue.keep_bytes(f"code/{script[0]}", script[1])


def command_tags() -> dict[str, str]:
    """Give what the run was started with, as tags; those of MLflow's names are what its page of a run shows."""
    script = script_path()
    tags = {
        "mainspring.command": shlex.join(without_secrets(sys.orig_argv)),
        "mainspring.folder": _folder(),
        "mainspring.host": socket.gethostname(),
        "mainspring.process": str(os.getpid()),
        "mlflow.source.name": str(script or Path(sys.executable).name),
        "mlflow.source.type": "LOCAL",
    }
    with suppress(OSError, KeyError, ImportError):
        tags["mlflow.user"] = getpass.getuser()
    return tags


def script_path() -> Path | None:
    """Give the script that this process runs; None in a notebook and at the prompt."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(file).absolute() if file and Path(file).is_file() else None


def without_secrets(arguments: Sequence[str]) -> list[str]:
    """Give a command line with what looks like a secret hidden: values of options such as ``--api-key``."""
    shown: list[str] = []
    hide_next = False
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if hide_next and not argument.startswith("-"):
            shown.append(HIDDEN)
        elif equals and _SECRET_OPTION.search(option):
            shown.append(f"{option}={HIDDEN}")
        elif _SECRET_VALUE.search(argument):
            shown.append(_SECRET_VALUE.sub(HIDDEN, argument))
        else:
            shown.append(_PASSWORD_IN_URL.sub(rf"\g<1>{HIDDEN}@", argument))
        hide_next = argument.startswith("-") and not equals and bool(_SECRET_OPTION.search(argument))
        del value
    return shown


def _folder() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # It was removed.
        return ""


def _script_bytes() -> tuple[str, bytes] | None:
    script = script_path()
    if script is None or looks_secret(script.name):
        return None
    with suppress(OSError):
        if script.stat().st_size <= _MAX_SCRIPT_BYTES:
            return script.name, script.read_bytes()
    return None
