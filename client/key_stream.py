"""Listing of keys over a stream from a node. If the node fails, the listing continues at another node.

Keys arrive in token order, each once, so a new stream can continue after the last key received. A stream has a time
limit; a listing that takes longer continues with another stream in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from .dispatch import Dispatcher
from .errors import CoveyError, Timeout
from .links import NodeLink

MAX_STREAM_S = 300.0


class Listing:
    """All live keys that begin with ``prefix``, in chunks. Close it if it is not read to its end."""

    def __init__(self, dispatcher: Dispatcher, prefix: bytes, timeout_s: float) -> None:
        self._dispatcher = dispatcher
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._last_key = b""
        self._stream: AsyncGenerator[Sequence[bytes], None] | None = None

    async def next_chunk(self) -> Sequence[bytes]:
        """Return the next keys; empty at the end. Raise CoveyError, Timeout if no chunk arrives within the timeout."""
        while True:
            chunk = await self._next_or_reopened()
            if chunk is None:
                await self.close()
                return ()
            if chunk:  # an empty chunk shows that the node is still searching
                self._last_key = chunk[-1]
                return chunk

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()

    async def _next_or_reopened(self) -> Sequence[bytes] | None:
        if self._stream is not None:
            try:
                return await self._read(self._stream, asyncio.get_running_loop().time() + self._timeout_s)
            except CoveyError:
                await self.close()  # continue on another node
        return await self._dispatcher.ask_any(self._open, self._timeout_s)

    async def _open(self, link: NodeLink, deadline: float) -> Sequence[bytes] | None:
        stream = link.keys(
            MAX_STREAM_S, prefix=self._prefix, after_key=self._last_key, chunk_timeout_s=self._timeout_s
        )
        chunk = await self._read(stream, deadline)
        self._stream = stream
        return chunk

    @staticmethod
    async def _read(stream: AsyncGenerator[Sequence[bytes], None], deadline: float) -> Sequence[bytes] | None:
        """Return the next chunk, None at the end. If this raises, the stream has ended."""
        try:
            async with asyncio.timeout_at(deadline):
                async for chunk in stream:
                    return chunk
                return None
        except TimeoutError as error:
            raise Timeout("no more keys came in time") from error
