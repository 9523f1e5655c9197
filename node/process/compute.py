"""Computes rings and the plans of their changes, which take too long for a node's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class ThreadCompute:
    """Runs functions in a separate thread, one after another."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="covey-compute")

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        """Accept no more functions. One that is running ends by itself, in well under a second."""
        self._executor.shutdown(wait=False, cancel_futures=True)
