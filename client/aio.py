"""The client for asyncio programs."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from .addresses import checked_addresses
from .errors import InvalidRequest, Unavailable

if TYPE_CHECKING:
    from .admin import Administration
    from .requests import Key, Level
    from .session import Session
    from .version import Version

DEFAULT_TIMEOUT_S = 5.0

_K = TypeVar("_K", bound=str | bytes)


class AsyncClient:
    """A client of the cluster that any of ``addresses`` ("host:port") belongs to; it learns of the rest.

    Keys and values are bytes, or str as UTF-8. ``timeout`` is in seconds and bounds an operation with all
    its retries. ``consistency`` is "one", "quorum" (default) or "all"; instead, ``r`` or ``w`` gives the
    number of replicas that must answer. What goes wrong is a ``CoveyError``; look at its ``maybe_applied``.

    Belongs to the event loop it is first used on; close it there, or use it in ``async with``.
    """

    def __init__(self, addresses: str | Iterable[str], *, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        self._addresses = checked_addresses(addresses)
        self._timeout_s = _checked_timeout(timeout)
        self._session: Session | None = None
        self._closed = False

    async def get(
        self,
        key: Key,
        *,
        consistency: Level | None = None,
        r: int | None = None,
        timeout: float | None = None,
    ) -> bytes | None:
        """The key's value, or None when there is none."""
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
        """Store a value; returns the version it got."""
        return await self._open().put(key, value, consistency, w, self._limit(timeout))

    async def delete(
        self,
        key: Key,
        *,
        consistency: Level | None = None,
        w: int | None = None,
        timeout: float | None = None,
    ) -> Version:
        """Delete a key, whether or not it is there; returns the version of the deletion."""
        return await self._open().delete(key, consistency, w, self._limit(timeout))

    async def put_many(
        self,
        items: Mapping[_K, Key],
        *,
        consistency: Level | None = None,
        w: int | None = None,
        timeout: float | None = None,
    ) -> dict[_K, Version]:
        """Store many values, independently of each other; returns their versions by key.

        ``timeout`` holds for each. Raises ``PartialFailure``, which tells what became of each key, when any
        of them failed.
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
        """The values of many keys, by key; None where there is none. Fails as ``put_many`` does."""
        return await self._open().get_all(keys, consistency, r, self._limit(timeout))

    async def keys(self, prefix: Key = b"", *, timeout: float | None = None) -> AsyncGenerator[bytes, None]:
        """All keys that begin with ``prefix``, each once, in token order, read as they are asked for.

        ``timeout`` holds for each step, not for the whole listing. Keys written or deleted meanwhile may or
        may not be among them.
        """
        async with aclosing(self.key_chunks(prefix, timeout=timeout)) as chunks:
            async for chunk in chunks:
                for key in chunk:
                    yield key

    async def key_chunks(
        self, prefix: Key = b"", *, timeout: float | None = None
    ) -> AsyncGenerator[Sequence[bytes], None]:
        """The same as ``keys``, in chunks as they arrive; none is empty."""
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
        """The highest version timestamp seen; every request carries it, which keeps this client's order."""
        return 0 if self._session is None else self._session.seen.timestamp

    async def close(self) -> None:
        """End what is under way and close the connections. Closing twice is no harm."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _open(self) -> Session:
        if self._closed:
            raise Unavailable("the client is closed")
        if self._session is None:
            from .session import Session  # loads gRPC, which is left until it is needed

            self._session = Session(self._addresses, random.Random(os.urandom(16)))
        return self._session

    def _limit(self, timeout: float | None) -> float:
        return self._timeout_s if timeout is None else _checked_timeout(timeout)


def _checked_timeout(timeout_s: float) -> float:
    if not timeout_s > 0:
        raise InvalidRequest(f"timeout is a number of seconds above 0, not {timeout_s!r}")
    return timeout_s
