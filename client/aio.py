"""The client for asyncio programs."""

from __future__ import annotations

import asyncio
import os
import random
import warnings
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self, TypeVar

from . import forking
from .arguments import checked_addresses, checked_timeout
from .cluster_identity import ClusterIdentity
from .errors import InvalidRequest, Unavailable
from .version import HighestSeen

if TYPE_CHECKING:
    from .admin import Administration
    from .requests import Key, Level
    from .session import Session
    from .version import Version

DEFAULT_TIMEOUT_S = 5.0
MAX_ADDRESSES_SHOWN = 5

_running_loop = asyncio._get_running_loop
"""Returns the event loop that runs in this thread; None when there is none."""

_ANOTHER_LOOP = "this AsyncClient belongs to another event loop; make one for each loop, and close it there"

_K = TypeVar("_K", bound=str | bytes)


class AsyncClient:
    """A client of a cluster. It needs the address ("host:port") of at least one node, and learns of the others.

    Keys and values are bytes, or str as UTF-8. ``timeout`` is in seconds and bounds an operation with all
    its retries. ``consistency`` is "one", "quorum" (default) or "all"; instead, ``r`` or ``w`` gives the
    number of replicas that must answer. Errors are ``CoveyError``, with ``maybe_applied``.

    A client belongs to the event loop on which it is first used; close it there, or use it in ``async with``. In the
    child of a fork it works like a new client; see docs/clients.md.
    """

    def __init__(self, addresses: str | Iterable[str], *, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        self._addresses = checked_addresses(addresses)
        self._timeout_s = checked_timeout(timeout)
        self._session: Session | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """The event loop that the session belongs to."""
        self._cluster = ClusterIdentity(self._addresses)
        """The cluster. Kept from session to session, so that the child of a fork stays in its parent's cluster."""
        self._seen = HighestSeen()
        """The highest version timestamp that the client has seen, in all its sessions."""
        self._closed = False
        forking.watch(self)

    async def get(
        self,
        key: Key,
        *,
        consistency: Level | None = None,
        r: int | None = None,
        timeout: float | None = None,
    ) -> bytes | None:
        """Return the key's value, or None when there is none."""
        return await self._open().get(key, consistency, r, self._limit(timeout))

    async def put(
        self,
        key: Key,
        value: Key,
        *,
        consistency: Level | None = None,
        w: int | None = None,
        timeout: float | None = None,
    ) -> Version:
        """Store a value; return its version."""
        return await self._open().put(key, value, consistency, w, self._limit(timeout))

    async def delete(
        self,
        key: Key,
        *,
        consistency: Level | None = None,
        w: int | None = None,
        timeout: float | None = None,
    ) -> Version:
        """Delete a key, whether or not it exists; return the version of the deletion."""
        return await self._open().delete(key, consistency, w, self._limit(timeout))

    async def put_many(
        self,
        items: Mapping[_K, Key],
        *,
        consistency: Level | None = None,
        w: int | None = None,
        timeout: float | None = None,
    ) -> dict[_K, Version]:
        """Store many values, independently of each other; return their versions by key.

        ``timeout`` applies to each of them. Raise ``PartialFailure``, which has the result of each key, if any failed.
        """
        return await self._open().put_all(items, consistency, w, self._limit(timeout))

    async def get_many(
        self,
        keys: Iterable[_K],
        *,
        consistency: Level | None = None,
        r: int | None = None,
        timeout: float | None = None,
    ) -> dict[_K, bytes | None]:
        """Return the values of many keys, by key; None for a key without one. Fails like ``put_many``."""
        return await self._open().get_all(keys, consistency, r, self._limit(timeout))

    async def keys(self, prefix: Key = b"", *, timeout: float | None = None) -> AsyncGenerator[bytes, None]:
        """Yield all keys that begin with ``prefix``, each once, in token order; read them from nodes as needed.

        ``timeout`` applies to each step, not to the entire listing. A key that is written or deleted meanwhile may or
        may not be yielded.
        """
        async with aclosing(self.key_chunks(prefix, timeout=timeout)) as chunks:
            async for chunk in chunks:
                for key in chunk:
                    yield key

    async def key_chunks(
        self, prefix: Key = b"", *, timeout: float | None = None
    ) -> AsyncGenerator[Sequence[bytes], None]:
        """Yield what ``keys`` yields, in chunks as they arrive from nodes; no chunk is empty."""
        listing = self._open().list_keys(prefix, self._limit(timeout))
        try:
            while chunk := await listing.next_chunk():
                yield chunk
        finally:
            await listing.close()

    @property
    def admin(self) -> Administration:
        """Administrative calls: status, ring, explain, leave, remove."""
        return self._open().admin

    @property
    def seen_timestamp(self) -> int:
        """The highest version timestamp seen. Every request carries it, so that this client's writes stay in order."""
        return self._seen.timestamp

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that the client belongs to; None before it is used and after it is closed."""
        return self._loop

    async def close(self) -> None:
        """End all operations and close the connections. Closing twice has no effect."""
        session, loop = self._session, self._loop
        if session is not None and loop is not asyncio.get_running_loop() and not (loop and loop.is_closed()):
            raise InvalidRequest(_ANOTHER_LOOP)
        self.refuse_all()
        self._end_session()
        if session is not None and loop is asyncio.get_running_loop():
            await session.close()

    def refuse_all(self) -> None:
        """Make all later operations fail because the client is closed."""
        self._closed = True

    async def disconnect(self, drain_s: float) -> None:
        """Close all connections before a fork; operations wait until ``reconnect``."""
        if self._session is not None:
            await self._session.disconnect(drain_s)

    def reconnect(self) -> None:
        """Continue after a fork; connections are opened when they are needed."""
        if self._session is not None:
            self._session.reconnect()

    def forget(self) -> None:
        """Drop the parent's session, in a child process, without using it; a new session is made when needed."""
        forking.abandon(self._session, self._loop)
        self._end_session()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<covey.AsyncClient {self.described}>"

    @property
    def described(self) -> str:
        """The addresses that were given, and whether the client is in use, as shown by ``repr``."""
        shown = ", ".join(self._addresses[:MAX_ADDRESSES_SHOWN])
        more = len(self._addresses) - MAX_ADDRESSES_SHOWN
        state = "closed" if self._closed else "unused" if self._session is None else "open"
        return f"{shown} and {more} more ({state})" if more > 0 else f"{shown} ({state})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a client cannot be pickled or copied; make one in each process, with the same addresses"
        )

    def __del__(self) -> None:
        session, loop = self.__dict__.get("_session"), self.__dict__.get("_loop")
        if session is None:
            return
        warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
        if loop is not None and not loop.is_closed():
            with suppress(RuntimeError):  # it was closed just now
                loop.call_soon_threadsafe(_close_unowned, session)

    def _open(self) -> Session:
        session = self._session
        if session is None or self._loop is not _running_loop():
            return self._opened()
        return session

    def _opened(self) -> Session:
        if self._closed:
            raise Unavailable("the client is closed")
        if self._session is not None and self._loop is not None:
            raise InvalidRequest(_ANOTHER_LOOP)
        loop = _running_loop()  # None if only ``admin`` was used so far
        if self._session is None:
            forking.note_use()
            self._session = _session_class()(
                self._addresses, random.Random(os.urandom(16)), self._cluster, self._seen
            )
            if forking.must_wait(self, loop):
                self._session.wait_for_fork()
        self._loop = loop
        return self._session

    def _end_session(self) -> None:
        self._session = self._loop = None

    def _limit(self, timeout: float | None) -> float:
        return self._timeout_s if timeout is None else checked_timeout(timeout)


_loaded: type[Session] | None = None


def _session_class() -> type[Session]:
    """Import gRPC when it is first needed."""
    global _loaded
    if _loaded is None:
        with forking.loading():
            from .session import Session

            _loaded = Session
    return _loaded


_closing: set[asyncio.Task[None]] = set()
"""Tasks that close sessions whose client was collected before it was closed."""


def _close_unowned(session: Session) -> None:
    task = asyncio.get_running_loop().create_task(session.close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)
