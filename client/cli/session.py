"""A command's connection to the cluster: opened for it, closed behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from .servers import choose_servers

if TYPE_CHECKING:
    from ..aio import AsyncClient


def with_client(
    server: Sequence[str] | None, timeout_s: float, command: Callable[[AsyncClient], Awaitable[int]]
) -> int:
    """Run ``command`` with a client of the chosen servers and return its exit code."""
    return with_client_of(choose_servers(server), timeout_s, command)


def with_client_of(
    addresses: Sequence[str], timeout_s: float, command: Callable[[AsyncClient], Awaitable[int]]
) -> int:
    """The same, for commands that wait for something else between choosing the servers and connecting."""
    return asyncio.run(_connected(addresses, timeout_s, command))


async def _connected(
    addresses: Sequence[str], timeout_s: float, command: Callable[[AsyncClient], Awaitable[int]]
) -> int:
    from ..aio import AsyncClient

    async with AsyncClient(addresses, timeout=timeout_s) as client:
        return await command(client)
