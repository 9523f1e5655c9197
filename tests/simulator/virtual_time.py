"""An asyncio loop whose clock jumps to the next timer, and the simulated processes that run on it.

Callbacks run in the order in which they became ready, so that a run depends only on its inputs. A callback belongs to
the process in whose context it was created; while a process is paused its callbacks are deferred, expired timers
included, and all run when it resumes, as after SIGSTOP and SIGCONT.

A process that is charged for CPU time is busy in virtual time for as long as its callbacks use the real processor, and
its next callbacks wait. Such a run depends on the machine and cannot be repeated exactly.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import heapq
import itertools
import time
from asyncio import base_events
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


MAX_CPU_S = 100.0
"""Maximum processor time of a run. A test's time limit cannot end a run: its error ends only the current task."""


class RunTooLong(AssertionError):
    """The run took too much processor time without ending."""


class Deadlock(AssertionError):
    """Every task waits and no timer is set."""


class Process:
    """An operating system process, as far as the loop is concerned."""

    def __init__(self) -> None:
        self.context = contextvars.copy_context()
        self.context.run(_PROCESS.set, self)
        self.paused = False
        self.deferred: deque[asyncio.Handle] = deque()
        self.charged = False
        self.cpu_s = 0.0
        """CPU time used so far, if the process is charged."""
        self.longest: tuple[float, str] = (0.0, "")
        """Duration and name of the longest callback."""
        self.elsewhere_s = 0.0
        """CPU time that the current callback spent in a thread beside the loop."""
        self.busy_until_s = 0.0
        self.backlog: deque[asyncio.Handle] = deque()
        self._loop = asyncio.get_running_loop()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        assert isinstance(self._loop, VirtualTimeLoop)
        self._loop.run_these(self.deferred)
        self.deferred.clear()

    def create_task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        return self._loop.create_task(work, context=self.context.copy())

    def run(self, handle: asyncio.Handle) -> None:
        """Run a callback, or queue it while the processor is busy with earlier callbacks."""
        self.backlog.append(handle)
        if len(self.backlog) == 1:
            self._work()

    def _work(self) -> None:
        while self.backlog:
            now_s = self._loop.time()
            if self.busy_until_s > now_s + IMMEDIATE_S:
                self._loop.call_at(self.busy_until_s, self._work, context=_NO_PROCESS)
                return
            handle = self.backlog[0]
            if self.paused:
                self.deferred.extend(self.backlog)
                self.backlog.clear()
                return
            if not handle.cancelled():
                self._charge(handle, now_s)
            self.backlog.popleft()

    def _charge(self, handle: asyncio.Handle, now_s: float) -> None:
        self.elsewhere_s = 0.0
        began_s = time.thread_time()
        handle._run()  # type: ignore[attr-defined]
        cost_s = max(0.0, time.thread_time() - began_s - self.elsewhere_s)
        self.cpu_s += cost_s
        if cost_s > self.longest[0]:
            self.longest = cost_s, repr(handle)
        self.busy_until_s = max(self.busy_until_s, now_s) + cost_s

    async def compute(self, work: Callable[[], T]) -> T:
        """Run ``work`` as in a thread of the process, beside its loop."""
        began_s = time.thread_time()
        result = work()
        cost_s = time.thread_time() - began_s
        self.elsewhere_s += cost_s
        await asyncio.sleep(cost_s)
        return result


IMMEDIATE_S = 0.0001
"""Shorter waits accumulate before they delay anything."""
_NO_PROCESS = contextvars.Context()
_PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class VirtualTimeLoop(base_events.BaseEventLoop):
    """A loop of callbacks and timers only: no files, sockets, signals, threads or processes."""

    _ready: deque[asyncio.Handle]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        """A heap of (time, order of creation, timer)."""
        self._set = itertools.count()
        self._latest_s = time.process_time() + MAX_CPU_S

    def time(self) -> float:
        return self._now_s

    def run_these(self, handles: deque[asyncio.Handle]) -> None:
        """Append handles that became ready earlier."""
        self._ready.extend(handles)

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._set), timer))
        return timer

    def _run_once(self) -> None:
        """Run everything that is due at one instant. Replaces the base class's method, which needs a selector."""
        ready, timers = self._ready, self._timers
        if not ready:
            if time.process_time() > self._latest_s and not self._stopping:
                raise RunTooLong(
                    f"none after {self._now_s:.0f} virtual and {MAX_CPU_S:g} s of processor time"
                )
            self._jump()
        now_s = self._now_s
        while timers and timers[0][0] <= now_s:
            ready.append(heapq.heappop(timers)[2])
        while ready and not self._stopping:
            handle = ready.popleft()
            if handle._cancelled:  # type: ignore[attr-defined]
                continue
            process = handle._context.get(_PROCESS)  # type: ignore[attr-defined]
            if process is not None and process.paused:
                process.deferred.append(handle)
            elif process is not None and process.charged:
                process.run(handle)
            else:
                handle._run()  # type: ignore[attr-defined]

    def _jump(self) -> None:
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if timers:
            self._now_s = max(self._now_s, timers[0][0])
        elif not self._stopping:
            raise Deadlock

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: a cancelled timer leaves the heap when it is due."""

    def _write_to_self(self) -> None:
        """Do nothing: there is no selector to wake."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` in virtual time, without waiting in real time."""
    with _no_collection(), asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Disable garbage collection, which takes a fifth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Turn a coroutine function into a test that runs in virtual time."""

    @functools.wraps(test)
    def timeless(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return timeless
