"""Options that several commands share, and the client that they configure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .servers import choose_servers

if TYPE_CHECKING:
    from ..aio import AsyncClient

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The key.", show_default=False)]
ServerFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        help="A node to connect to; repeatable, or several separated by commas."
        " Default: COVEY_SERVER, else the seeds of ./seeds.json.",
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
TimeoutFlag = Annotated[
    float, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="Maximum time to wait for an answer.")
]

DEFAULT_TIMEOUT_S = 5.0
BULK_TIMEOUT_S = 10.0
"""For each operation of ``load`` and ``dump``, which keep many in flight."""

Command = Callable[["AsyncClient"], Awaitable[int]]
"""Does the work of a command with a connected client and returns the exit code."""


def path_of(text: str) -> Path:
    """Return a path. Refuse the empty text, which would mean the current folder."""
    if not text:
        raise typer.BadParameter("a path is not empty; . is the current folder")
    return Path(text)


def with_client(server: Sequence[str] | None, timeout_s: float, command: Command) -> int:
    """Run ``command`` with a client of the chosen servers and return its exit code."""
    return with_client_of(choose_servers(server), timeout_s, command)


def with_client_of(addresses: Sequence[str], timeout_s: float, command: Command) -> int:
    """Run ``command`` like ``with_client``, for callers that check the servers before they read their input."""

    async def run() -> int:
        from ..aio import AsyncClient

        async with AsyncClient(addresses, timeout=timeout_s) as client:
            return await command(client)

    return asyncio.run(run())
