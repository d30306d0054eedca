"""SIGTERM as an exception, while runs are logged: blocks end as they do on Ctrl-C, and so do their runs."""

from __future__ import annotations

import signal
import threading
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM


class Terminated(SystemExit):
    """This process was told to end by SIGTERM."""


class _State:
    users = 0
    terminated = False


def terminated() -> bool:
    """Tell whether SIGTERM came."""
    return _State.terminated


def raise_on_sigterm() -> bool:
    """Let SIGTERM raise `Terminated` in the main thread, unless somebody handles it already; tells whether it will."""
    if threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, _raise):
        return False
    signal.signal(signal.SIGTERM, _raise)
    _State.users += 1
    return True


def stop_raising() -> None:
    """Undo one `raise_on_sigterm`; what SIGTERM did before holds again after the last."""
    _State.users -= 1
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is _raise
    if _State.users == 0 and ours:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _raise(number: int, frame: FrameType | None) -> None:
    _State.terminated = True
    raise Terminated(EXIT_CODE)
