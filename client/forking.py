"""Keeps clients usable in a parent and in its children when the process forks.

gRPC does not work in the child of a fork: its threads exist in the parent only, and locks that they held stay locked in
the child. So every client closes its channels before the fork; gRPC ends its threads when its last channel is closed.

- Before the fork: operations under way get ``DRAIN_S`` to end, and new operations wait. Then all connections are
  closed. The threads that run clients' event loops are blocked until the fork is over, so that none opens another
  connection. A read that has not ended is retried after the fork; such a write ends with a Timeout whose
  ``maybe_applied`` is True.
- In the parent, the threads continue, and clients connect again when they have something to send.
- In the child, every client is like a new one, except that it keeps the highest version it has seen. It opens its
  connections when it needs them.

If gRPC still has threads at the fork, no client works in the child: each operation fails at once. Reasons are a client
on the event loop of the forking thread, and other users of gRPC in the process. The parent is not affected.

The threads are found by their names in /proc. On systems other than Linux, they are assumed to have ended once the
clients have closed their connections.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from .errors import Unavailable

DRAIN_S = 1.0
CLOSE_S = 2.0
"""Time for closing the connections, after ``DRAIN_S``."""
CALLS_END_S = 0.5
THREADS_END_S = 2.0
POLL_S = 0.001
COLLECT_EVERY_S = 0.01
"""The first pause between two garbage collections; it becomes longer while gRPC still has threads."""
LOAD_S = 30.0
HOLD_S = 60.0
"""Time after which a blocked thread continues in any case; a fork takes milliseconds."""

GRPC_FORK_SUPPORT = "GRPC_ENABLE_FORK_SUPPORT"
"""The environment variable that gRPC reads when it is first used."""

_TASKS = Path("/proc/self/task")
_GRPC_THREADS = ("grpc_", "event_engine", "lifeguard", "timer_manager", "resolver-exec", "default-exec")
"""Prefixes of the names of gRPC's threads."""

_UNUSABLE = (
    "gRPC was in use when this process was forked, so no client can work in it: close every AsyncClient of the"
    " forking thread's event loop and every other gRPC channel before the fork, or start the process by"
    ' "spawn" or "forkserver"'
)


class Forkable(Protocol):
    """A client with an event loop."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of its connections; None while it has none."""

    async def disconnect(self, drain_s: float) -> None:
        """Close all connections; open none before ``reconnect``."""

    def reconnect(self) -> None:
        """Let operations enter again."""

    def forget(self) -> None:
        """Return to the state of a new client, in a child process."""


class Restartable(Protocol):
    """An object that owns a thread."""

    def forget(self) -> None: ...


class _State:
    def __init__(self) -> None:
        self.clients: weakref.WeakSet[Forkable] = weakref.WeakSet()
        self.threads: weakref.WeakSet[Restartable] = weakref.WeakSet()
        self.registering = threading.Lock()
        """Held while the two sets are changed or read."""
        self.forking = threading.Lock()
        """Held from before a fork until after it."""
        self.loading = threading.Lock()
        """Held during a fork and during imports: a partly imported module would stay incomplete in the child."""
        self.latecomers: list[tuple[asyncio.AbstractEventLoop | None, Forkable]] | None = None
        """Clients that were first used while a fork was prepared; None if no fork is under way."""
        self.used = False
        """True if a client has used gRPC in this process."""
        self.holds: list[_Hold] = []
        self.clients_are_left = False
        self.grpc_is_left = False
        self.grpc_is_shared = False
        """True if gRPC had threads while no client was connected: other code in the process uses it."""
        self.unusable = False
        self.abandoned: list[object] = []
        """In a child, objects that belong to threads of the parent. They are never used and never freed."""


_state = _State()


def watch(client: Forkable) -> None:
    """Register a client, which closes its connections before every fork."""
    with _state.registering:
        _state.clients.add(client)


def watch_thread(thread: Restartable) -> None:
    """Register the owner of a thread, which starts a new one in a child."""
    with _state.registering:
        _state.threads.add(thread)


def abandon(*things: object) -> None:
    """Keep objects that belong to threads of the parent from being freed in this child."""
    _state.abandoned.extend(thing for thing in things if thing is not None)


def note_use() -> None:
    """Prepare for a client's use of gRPC. Raise Unavailable in a child in which gRPC cannot work."""
    if _state.unusable:
        raise Unavailable(_UNUSABLE)
    _state.used = True
    # Otherwise, gRPC's core would start its threads again in a child in which they would crash.
    os.environ.setdefault(GRPC_FORK_SUPPORT, "0")


def loading() -> threading.Lock:
    """Return the lock to hold while modules are imported for the first use of a client."""
    return _state.loading


def must_wait(client: Forkable, loop: asyncio.AbstractEventLoop | None) -> bool:
    """Return True if a fork is being prepared at the client's first use. Its ``reconnect`` is called after the fork."""
    with _state.registering:
        if _state.latecomers is None:
            return False
        _state.latecomers.append((loop, client))
        return True


class _Hold:
    """Closes the connections of the clients of one event loop, and blocks the loop until the fork is over."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clients: list[Forkable]) -> None:
        self.waits = False
        """True if the loop runs in another thread, which waits for the end of the fork."""
        self._loop = loop
        self._clients = clients
        self._disconnected = threading.Event()
        self._settled = threading.Event()
        """Set once this loop may be blocked."""
        self._ends_grpc = False
        self._held = threading.Event()
        self._forked = threading.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        try:
            if self._loop.is_running():
                self.waits = not self._runs_here
                if self.waits:
                    self._loop.call_soon_threadsafe(self._start)
            elif not self._loop.is_closed() and asyncio._get_running_loop() is None:
                self._loop.run_until_complete(self._disconnect())
        except RuntimeError:
            return  # the loop was closed just now; a check of gRPC's threads follows in any case

    def wait_until_disconnected(self, deadline: float) -> bool:
        """Return True once all connections are closed; False if some are not at the deadline."""
        if self._loop.is_closed():
            return True
        return not self._runs_here and self._disconnected.wait(max(0.0, deadline - time.monotonic()))

    def hold(self, *, end_grpc: bool = False) -> None:
        """Block the thread of the loop until the fork is over; with ``end_grpc``, it first waits for gRPC's end."""
        self._ends_grpc = end_grpc
        self._settled.set()
        self._held.wait(CLOSE_S + (THREADS_END_S if end_grpc else 0.0))

    def end(self) -> None:
        self._forked.set()
        if not self.waits and self._disconnected.is_set():
            self._reconnect()

    @property
    def _runs_here(self) -> bool:
        return asyncio._get_running_loop() is self._loop

    def _start(self) -> None:
        if not self._forked.is_set():
            self._task = self._loop.create_task(self._disconnect_and_wait())

    async def _disconnect_and_wait(self) -> None:
        try:
            await self._disconnect()
            while not (self._settled.is_set() or self._forked.is_set()):  # noqa: ASYNC110 - of another thread
                await asyncio.sleep(POLL_S)
            if self._ends_grpc:
                for _ in _ending_grpc():
                    await asyncio.sleep(POLL_S)
            self._held.set()
            self._forked.wait(HOLD_S)  # blocks the loop's thread, so that nothing connects before the fork
        finally:
            self._reconnect()

    async def _disconnect(self) -> None:
        await asyncio.gather(*(client.disconnect(DRAIN_S) for client in self._clients))
        deadline = time.monotonic() + CALLS_END_S
        while self._calls_are_left() and time.monotonic() < deadline:  # noqa: ASYNC110 - of gRPC
            await asyncio.sleep(POLL_S)
        self._disconnected.set()

    def _calls_are_left(self) -> bool:
        """Return True if gRPC still has tasks on the loop for calls that were ended."""
        names = (getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks(self._loop))
        return any(name.startswith("_AioCall.") for name in names)

    def _reconnect(self) -> None:
        for client in self._clients:
            client.reconnect()


def _before_fork() -> None:
    _state.forking.acquire(timeout=HOLD_S)
    _state.loading.acquire(timeout=LOAD_S)
    _state.grpc_is_left = _state.clients_are_left = True  # assumed until all of the following has succeeded
    by_loop: dict[asyncio.AbstractEventLoop, list[Forkable]] = {}
    with _state.registering:
        clients = list(_state.clients)
        _state.latecomers = []
    for client in clients:
        if client.loop is not None:
            by_loop.setdefault(client.loop, []).append(client)
    _state.holds = holds = [_Hold(loop, of_loop) for loop, of_loop in by_loop.items()]
    for hold in holds:
        hold.begin()
    deadline = time.monotonic() + DRAIN_S + CLOSE_S
    ended = [hold.wait_until_disconnected(deadline) for hold in holds]
    _state.clients_are_left = not all(ended)
    waiting = [hold for hold in holds if hold.waits]
    for hold in waiting[1:]:
        hold.hold()
    if _state.used and not (_state.clients_are_left or _state.grpc_is_shared):
        _end_grpc(waiting)
    for hold in waiting[:1]:
        hold.hold()
    _state.grpc_is_left = _grpc_runs()


def _end_grpc(waiting: list[_Hold]) -> None:
    """Wait until gRPC ends; on the thread of a loop if any runs, since gRPC must remove its reader from the loop."""
    if waiting:
        waiting[0].hold(end_grpc=True)
        return
    for _ in _ending_grpc():
        time.sleep(POLL_S)


def _ending_grpc() -> Iterator[None]:
    """Yield until gRPC has no threads, at most for ``THREADS_END_S``. It ends them when its last channel is freed."""
    began = time.monotonic()
    collect_after_s = 0.0
    while _grpc_runs():
        waited_s = time.monotonic() - began
        if waited_s > THREADS_END_S:
            _state.grpc_is_shared = True
            return
        if waited_s >= collect_after_s:
            gc.collect()  # frees channels that are part of a reference cycle
            collect_after_s = 2 * waited_s + COLLECT_EVERY_S
        yield


def _grpc_runs() -> bool:
    try:
        return any(_name(task).startswith(_GRPC_THREADS) for task in _TASKS.iterdir())
    except OSError:
        return False


def _name(task: Path) -> str:
    try:
        return (task / "comm").read_text()
    except OSError:
        return ""  # it has just ended


def _after_fork_in_parent() -> None:
    holds, _state.holds = _state.holds, []
    for hold in holds:
        hold.end()
    with _state.registering:
        latecomers, _state.latecomers = _state.latecomers, None
    for loop, client in latecomers or ():
        with suppress(RuntimeError):  # the loop is closed
            client.reconnect() if loop is None else loop.call_soon_threadsafe(client.reconnect)
    for lock in (_state.loading, _state.forking):
        with suppress(RuntimeError):  # it could not be acquired in time
            lock.release()


def _after_fork_in_child() -> None:
    _state.forking, _state.loading, _state.registering = (threading.Lock() for _ in range(3))
    _state.latecomers = None
    _state.abandoned.extend(_state.holds)
    _state.holds = []
    supported = not _state.clients_are_left and _grpc_supports_forks()
    if _state.grpc_is_left and not supported:
        _state.unusable = True
        _state.abandoned.append(_state.abandoned)  # a cycle, so that it is not freed with this module either
        gc.freeze()  # freeing gRPC's objects would wait for its threads, which do not exist here
    for client in list(_state.clients):
        client.forget()
    for thread in list(_state.threads):
        thread.forget()


def _grpc_supports_forks() -> bool:
    """Return True if the application has enabled gRPC's fork support, which covers its blocking channels."""
    return os.environ.get(GRPC_FORK_SUPPORT, "0").lower() in ("1", "true", "yes")


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)
