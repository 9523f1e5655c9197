"""Where a node computes what takes too long for its event loop: rings, and the plans of their changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class InlineCompute:
    """Computes at once, on the loop: for tests and the simulator, whose runs depend on nothing but their seed."""

    async def run(self, work: Callable[[], T]) -> T:
        return work()


class ThreadCompute:
    """Computes in one thread of its own, one thing after another."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="covey-compute")

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        """Take no more work. What is being computed ends by itself, in well under a second."""
        self._executor.shutdown(wait=False, cancel_futures=True)
