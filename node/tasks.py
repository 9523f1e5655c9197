"""Background tasks with an owner. When the owner closes, each has ended or is cancelled; each failure is reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any


async def wait_at_most(timeout_s: float, event: asyncio.Event) -> None:
    """Return when the event is set, or after ``timeout_s``."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()


class Tasks:
    def __init__(self, on_failure: Callable[[BaseException], None], max_running: int = 1000) -> None:
        self.on_failure = on_failure
        """Called with the error of a task that failed, and with other errors after which the node cannot continue."""
        self._max_running = max_running
        self._running: dict[asyncio.Task[Any], None] = {}  # in the order in which they began
        self._closed = False

    def spawn(self, work: Coroutine[Any, Any, None]) -> bool:
        """Begin ``work`` as a task. Return False, without beginning it, after ``close`` or if too many tasks run."""
        if self._closed or len(self._running) >= self._max_running:
            work.close()
            return False
        task = asyncio.get_running_loop().create_task(work)
        self._running[task] = None
        task.add_done_callback(self._ended)
        return True

    async def close(self) -> None:
        self._closed = True
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.on_failure(error)
