"""A thread with an event loop that serves one ``AsyncClient``."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from .aio import AsyncClient
from .errors import Unavailable

CLOSING_TIMEOUT_S = 1.0

_Result = TypeVar("_Result")


class LoopThread:
    """Runs until it is stopped. Does not know the ``Client`` it works for, so that one can be collected."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._loop = asyncio.new_event_loop()
        self._process = os.getpid()
        self._guard = threading.RLock()
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="covey-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Have ``work`` done on the loop and wait for it; raises what it raises. An interrupt ends it."""
        try:
            future = self._hand_over(work)
        except BaseException:
            work.close()  # it will never run
            raise
        try:
            return future.result()
        finally:
            future.cancel()

    def stop(self) -> None:
        """Close the client and end the thread; what is under way ends with its errors."""
        if os.getpid() != self._process:
            return  # a fork's copy: the thread is not in this process
        with self._guard:
            if not self._stopping:
                self._stopping = True
                asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop)
        if threading.current_thread() is not self._thread:  # it is when the collector comes by there
            self._thread.join()

    def _hand_over(self, work: Coroutine[Any, Any, _Result]) -> Future[_Result]:
        if os.getpid() != self._process:
            raise RuntimeError("this client was made before a fork; make another one in the child process")
        if threading.current_thread() is self._thread:
            raise RuntimeError("a Client cannot be waited for on its own thread")
        with self._guard:
            if self._stopping:
                raise Unavailable("the client is closed")
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    async def _shut_down(self) -> None:
        try:
            await self._client.close()
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            if others:
                _, left = await asyncio.wait(others, timeout=CLOSING_TIMEOUT_S)
                for task in left:
                    task.cancel()
                await asyncio.gather(*left, return_exceptions=True)
        finally:
            self._loop.call_soon(self._loop.stop)
