"""The blocking client, for programs without asyncio.

Calls are passed to an ``AsyncClient``, whose event loop runs in a background thread. So threads can share one client,
and their simultaneous operations are sent in one batch.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self, TypeVar

from .aio import DEFAULT_TIMEOUT_S, AsyncClient
from .loop_thread import LoopThread

if TYPE_CHECKING:
    from ..api.cluster import ClusterStatus, Explanation, RingView
    from .admin import Administration
    from .requests import Key, Level
    from .version import Version

_K = TypeVar("_K", bound=str | bytes)
_Result = TypeVar("_Result")


class SyncAdministration:
    """``Administration`` for a ``Client``."""

    def __init__(self, client: AsyncClient, thread: LoopThread) -> None:
        self._client = client
        self._thread = thread

    def status(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> ClusterStatus:
        """Return the state of the cluster in the view of the first given node that answers."""
        return self._run(lambda admin: admin.status(timeout=timeout))

    def ring(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> RingView:
        """Return the newest epoch record of that node, with the owners' addresses."""
        return self._run(lambda admin: admin.ring(timeout=timeout))

    def explain(self, key: Key, *, timeout: float = DEFAULT_TIMEOUT_S) -> Explanation:
        """Return the replicas of a key and the version that each of them holds."""
        return self._run(lambda admin: admin.explain(key, timeout=timeout))

    def leave(self, name: str, *, timeout: float) -> None:
        """Make a node hand off all its data and leave the ring; return when that is complete."""
        self._run(lambda admin: admin.leave(name, timeout=timeout))

    def remove(self, name: str, *, timeout: float) -> None:
        """Remove a node that is down; return when it is no longer in the ring."""
        self._run(lambda admin: admin.remove(name, timeout=timeout))

    def _run(self, call: Callable[[Administration], Awaitable[_Result]]) -> _Result:
        async def called() -> _Result:
            return await call(self._client.admin)

        return self._thread.run(called())


class Client:
    """A thread-safe, blocking client of a cluster. It needs the address ("host:port") of at least one node.

    Arguments, results and errors are those of ``AsyncClient``. Close it when it is no longer needed, or use it in
    ``with``. It works before and after a fork, in the parent and in the child; see docs/clients.md.
    """

    def __init__(self, addresses: str | Iterable[str], *, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        self._client = AsyncClient(addresses, timeout=timeout)
        self._thread = LoopThread(self._client)
        self.admin = SyncAdministration(self._client, self._thread)
        """Administrative calls: status, ring, explain, leave, remove."""
        self._stop = weakref.finalize(
            self, self._thread.stop
        )  # also when collected, and when the interpreter ends

    def get(
        self,
        key: Key,
        *,
        consistency: Level | None = None,
        r: int | None = None,
        timeout: float | None = None,
    ) -> bytes | None:
        """Return the key's value, or None when there is none."""
        return self._thread.run(self._client.get(key, consistency=consistency, r=r, timeout=timeout))

    def put(
        self,
        key: Key,
        value: Key,
        *,
        consistency: Level | None = None,
        w: int | None = None,
        timeout: float | None = None,
    ) -> Version:
        """Store a value; return its version."""
        return self._thread.run(self._client.put(key, value, consistency=consistency, w=w, timeout=timeout))

    def delete(
        self,
        key: Key,
        *,
        consistency: Level | None = None,
        w: int | None = None,
        timeout: float | None = None,
    ) -> Version:
        """Delete a key, whether or not it exists; return the version of the deletion."""
        return self._thread.run(self._client.delete(key, consistency=consistency, w=w, timeout=timeout))

    def put_many(
        self,
        items: Mapping[_K, Key],
        *,
        consistency: Level | None = None,
        w: int | None = None,
        timeout: float | None = None,
    ) -> dict[_K, Version]:
        """Store many values; return versions by key. Raise ``PartialFailure`` as ``AsyncClient.put_many`` does."""
        return self._thread.run(self._client.put_many(items, consistency=consistency, w=w, timeout=timeout))

    def get_many(
        self,
        keys: Iterable[_K],
        *,
        consistency: Level | None = None,
        r: int | None = None,
        timeout: float | None = None,
    ) -> dict[_K, bytes | None]:
        """Return the values of many keys, by key; None for a key without one."""
        return self._thread.run(self._client.get_many(keys, consistency=consistency, r=r, timeout=timeout))

    def keys(self, prefix: Key = b"", *, timeout: float | None = None) -> Iterator[bytes]:
        """Yield all keys that begin with ``prefix``, each once, in token order; read them from nodes as needed."""
        chunks = self._client.key_chunks(prefix, timeout=timeout)
        try:
            while chunk := self._thread.run(_next_of(chunks)):
                yield from chunk
        finally:
            if self._stop.alive:
                self._thread.run(_closed(chunks))

    @property
    def seen_timestamp(self) -> int:
        """The highest version timestamp seen, as of ``AsyncClient.seen_timestamp``."""
        return self._client.seen_timestamp

    def close(self) -> None:
        """End all operations, close the connections, and end the thread. Closing twice has no effect."""
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<covey.Client {self._client.described}>"

    def __reduce__(self) -> NoReturn:
        self._client.__reduce__()

    def __del__(self) -> None:
        stop = self.__dict__.get("_stop")
        if stop is not None and stop.alive:
            warnings.warn(f"unclosed {type(self).__name__}", ResourceWarning, source=self, stacklevel=2)


async def _next_of(chunks: AsyncGenerator[Sequence[bytes], None]) -> Sequence[bytes]:
    """Return the next chunk; an empty one at the end."""
    async for chunk in chunks:
        return chunk
    return ()


async def _closed(chunks: AsyncGenerator[Sequence[bytes], None]) -> None:
    await chunks.aclose()
