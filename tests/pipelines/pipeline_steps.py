"""Steps that the tests run in child processes; effects are files in the folder ``parameters["folder"]``."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mainspring.core.actor import current_actor
from mainspring.core.errors import InvalidData, Unavailable
from mainspring.pipelines.context import StepContext


def folder(context: StepContext) -> Path:
    return Path(context.parameters["folder"])


def note(context: StepContext, text: str) -> None:
    """Append a line to what was done; one write, so that lines of several processes stay whole."""
    with (folder(context) / "notes").open("ab", buffering=0) as file:
        file.write(f"{text}\n".encode())


def effect(context: StepContext, label: str) -> None:
    """Do something that a token makes happen once: the second who creates the file is refused."""
    name = context.token(label).replace("/", "_")
    try:
        (folder(context) / name).open("x").close()
    except FileExistsError:
        return
    note(context, f"effect {name}")


def who(context: StepContext) -> list[str]:
    return [current_actor().name, current_actor().origin]


def add(context: StepContext) -> int:
    return sum(context.inputs.values()) + int(context.parameters.get("plus", 1))


def work(context: StepContext) -> str:
    """Two effects with time between them, so that a kill may come before, between or after them."""
    note(context, f"begin {context.step} {os.getpid()}")
    effect(context, "first")
    time.sleep(context.parameters.get("pause_s", 0.0))
    effect(context, "second")
    note(context, f"end {context.step} {os.getpid()}")
    return context.step


def describe(context: StepContext) -> dict[str, Any]:
    return {
        "run": context.run,
        "step": context.step,
        "attempt": context.attempt,
        "parameters": context.parameters,
        "inputs": context.inputs,
        "token": context.token("x"),
        "pid": os.getpid(),
    }


def talk(context: StepContext) -> None:
    print("to stdout")
    print("to stderr", file=sys.stderr)
    os.write(1, b"by the descriptor\n")


def flood(context: StepContext) -> None:
    for number in range(100_000):
        print(f"line {number}")


def complain(context: StepContext) -> None:
    raise ValueError("the first line\nthe second line")


def refuse(context: StepContext) -> None:
    raise InvalidData("column age is missing")


def recover(context: StepContext) -> int:
    if context.attempt < 3:
        raise Unavailable("not yet")
    return context.attempt


def leave(context: StepContext) -> None:
    sys.exit(3)


def vanish(context: StepContext) -> None:
    os._exit(7)


def crash(context: StepContext) -> None:
    ctypes.string_at(0)


def sleep(context: StepContext) -> None:
    note(context, f"sleeping {os.getpid()}")
    time.sleep(context.parameters["sleep_s"])
    note(context, "slept")


def sleep_with_company(context: StepContext) -> None:
    company = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    note(context, f"company {company.pid}")
    time.sleep(60)


def wait_for_file(context: StepContext) -> None:
    note(context, f"waiting {os.getpid()}")
    context.progress("waiting", 0.5)
    while not (folder(context) / "go").exists():
        time.sleep(0.01)


def alone(context: StepContext) -> None:
    """Fail when another process runs the same step now."""
    mark = folder(context) / f"running-{context.step}"
    mark.open("x").close()
    time.sleep(0.01)
    mark.unlink()


def too_much(context: StepContext) -> str:
    return "x" * (2 << 20)


def grow(context: StepContext) -> int:
    context.platform.append(bytearray(64 << 20))
    return os.getpid()


def use_platform(context: StepContext) -> list[str]:
    context.platform.append(context.step)
    return list(context.platform)


def open_platform(home: str) -> list[Any]:
    return [home]
