"""Sees to it that no process outlives the one that started it; runs as a script, without the rest of Mainspring.

``guard.py run PARENT KEEPER COMMAND...`` binds its own life to process PARENT and becomes COMMAND. On Linux the kernel
does the binding (PR_SET_PDEATHSIG, see prctl(2)). KEEPER is the descriptor of a keeper's pipe, or -1.

``guard.py keep`` reads ``+GROUP`` and ``-GROUP`` lines from its standard input, and at the end of input, which comes
however its parent ended, kills the process groups that are left: grandchildren too, and on systems other than Linux.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_CANNOT_EXECUTE = 126
_NOT_FOUND = 127


def guarded(command: list[str], *, keeper: int = -1) -> list[str]:
    """Give the command line that runs *command* so that it dies (SIGKILL) with the process that calls this.

    On Linux that is when the *thread* which starts it ends, so start it from one that stays. Where there is no
    PR_SET_PDEATHSIG, only a keeper ends it.
    """
    return [sys.executable, "-I", "-S", __file__, "run", str(os.getpid()), str(keeper), *command]


def keeper_command() -> list[str]:
    """Give the command line of a keeper."""
    return [sys.executable, "-I", "-S", __file__, "keep"]


def _run(parent: int, keeper: int, command: list[str]) -> int:
    if sys.platform == "linux":
        # Imported here because it costs more than the rest of this script.
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if keeper >= 0:
        with suppress(BrokenPipeError):
            os.write(keeper, b"+%d\n" % os.getpid())
        os.close(keeper)
    if os.getppid() != parent:
        # The parent died before the binding was made.
        return _CANNOT_EXECUTE
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        # Python ignores them, and what is ignored stays so over exec.
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except FileNotFoundError:
        sys.stderr.write(f"{command[0]}: there is no such program\n")
        return _NOT_FOUND
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return _CANNOT_EXECUTE


def _keep() -> int:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin.buffer:
        group = int(line[1:])
        if line.startswith(b"+"):
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(_keep() if sys.argv[1] == "keep" else _run(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
