"""A thread with an event loop that serves one ``AsyncClient``."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from typing import Any, Generic, TypeVar

from . import forking
from .aio import AsyncClient
from .errors import Unavailable

CLOSING_TIMEOUT_S = 1.0

_Result = TypeVar("_Result")


class _Call(Generic[_Result]):
    """A coroutine that the loop runs and another thread waits for."""

    def __init__(self, work: Coroutine[Any, Any, _Result]) -> None:
        self._work = work
        self._task: asyncio.Task[_Result] | None = None
        self._given_up = False
        self._under_way = threading.Lock()  # released when the work ends; much faster than an Event
        self._under_way.acquire()

    def wait(self) -> None:
        """Wait until the work ends. An interrupt of this thread is raised here."""
        self._under_way.acquire()

    def result(self) -> _Result:
        """Return the result of the work, or raise its error; call it after ``wait``."""
        if self._task is None or self._task.cancelled():
            raise CancelledError
        return self._task.result()

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin the work, on the loop."""
        if self._given_up:
            self._work.close()
            return
        self._task = loop.create_task(self._work)
        self._task.add_done_callback(self._end)

    def give_up(self) -> None:
        """Cancel the work, on the loop, since its caller has stopped waiting."""
        self._given_up = True
        if self._task is not None:
            self._task.cancel()

    def _end(self, _: asyncio.Task[_Result]) -> None:
        self._under_way.release()


class LoopThread:
    """Runs an event loop in a thread, from the first call until ``stop``. A child process gets a new thread.

    It has no reference to its ``Client``, so that the client can be garbage collected.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._process = os.getpid()
        self._guard = threading.RLock()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._handed_over: list[_Call[Any]] = []
        """Calls that the loop was woken for and has not begun yet."""
        forking.watch_thread(self)

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run ``work`` on the loop and return its result, or raise its error. An interrupt cancels it."""
        call = _Call(work)
        try:
            self._hand_over(call)
        except BaseException:
            work.close()  # it will never run
            raise
        try:
            call.wait()
        except BaseException:
            self._give_up(call)
            raise
        return call.result()

    def stop(self) -> None:
        """Close the client and end the thread. Operations under way fail."""
        if os.getpid() != self._process:
            return  # this is a copy in a child process, which does not have the thread
        with self._guard:
            loop, thread = self._loop, self._thread
            if loop is not None and not self._stopping:
                asyncio.run_coroutine_threadsafe(self._shut_down(loop), loop)
            self._stopping = True
        if loop is None:
            self._client.refuse_all()
        if (
            thread is not None and threading.current_thread() is not thread
        ):  # it is, if the client is collected on it
            thread.join()

    def forget(self) -> None:
        """Drop the parent's thread, in a child process; a new thread starts when it is needed."""
        forking.abandon(self._loop, self._handed_over)
        self._process = os.getpid()
        self._guard = threading.RLock()
        self._loop = self._thread = None
        self._handed_over = []

    def _hand_over(self, call: _Call[Any]) -> None:
        if os.getpid() != self._process:
            raise Unavailable(
                "this process was not forked by Python, so its clients cannot work; make another one here"
            )
        if threading.current_thread() is self._thread:
            raise RuntimeError("a Client cannot be waited for on its own thread")
        with self._guard:
            if self._stopping:
                raise Unavailable("the client is closed")
            loop = self._loop or self._start()
            self._handed_over.append(call)
            if len(self._handed_over) == 1:  # a call added before the loop runs need not wake it again
                loop.call_soon_threadsafe(self._begin, loop)

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = _new_loop()
        thread = threading.Thread(target=self._serve, args=[loop], name="covey-client", daemon=True)
        thread.start()
        self._loop, self._thread = loop, thread
        return loop

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._guard:
            calls, self._handed_over = self._handed_over, []
        for call in calls:
            call.begin(loop)

    def _give_up(self, call: _Call[Any]) -> None:
        with self._guard:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(call.give_up)

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_forever()
        finally:
            loop.close()

    async def _shut_down(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            await self._client.close()
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            if others:
                _, left = await asyncio.wait(others, timeout=CLOSING_TIMEOUT_S)
                for task in left:
                    task.cancel()
                await asyncio.gather(*left, return_exceptions=True)
        finally:
            loop.call_soon(loop.stop)


def _new_loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    with forking.loading():
        import uvloop  # loaded late: asynchronous programs have another loop
    return uvloop.new_event_loop()
