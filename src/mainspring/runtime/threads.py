"""A bounded pool of threads for work that blocks, called from an event loop."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mainspring.core.errors import OverLimit


class Threads:
    """The bounded pool that runs service calls: beyond *waiting* calls in line, more are refused at once."""

    def __init__(self, threads: int, waiting: int = 256) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="control")
        self._free = threads + waiting

    async def run(self, call: Callable[[], Any]) -> Any:
        """Run *call* in a thread with the context of the caller; raises OverLimit when the line is full."""
        if self._free <= 0:
            raise OverLimit("the control plane has more calls in line than it takes; try again in a second")
        self._free -= 1
        try:
            context = contextvars.copy_context()
            return await asyncio.get_running_loop().run_in_executor(self._pool, context.run, call)
        finally:
            self._free += 1

    def close(self) -> None:
        """Let the calls that run finish; begin no other."""
        self._pool.shutdown(cancel_futures=True)
