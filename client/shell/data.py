"""``covey get|put|delete|keys``: single keys."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import ExitCode
from .options import DEFAULT_TIMEOUT_S, ServerFlag, TimeoutFlag
from .output import complain, streaming_stdout
from .session import with_client

if TYPE_CHECKING:
    from ..aio import AsyncClient
    from ..version import Version

PANEL = "Data"

Key = Annotated[str, typer.Argument(metavar="KEY", help="The key.", show_default=False)]


def register(app: typer.Typer) -> None:
    for command in (get, put, delete, keys):
        app.command(rich_help_panel=PANEL)(command)


def get(key: Key, server: ServerFlag = None, timeout: TimeoutFlag = DEFAULT_TIMEOUT_S) -> int:
    """Print the value of KEY as it is; exit code 1 when there is none."""

    async def command(client: AsyncClient) -> int:
        value = await client.get(os.fsencode(key))
        if value is None:
            complain(f"no such key: {key}")
            return ExitCode.NOT_FOUND
        with streaming_stdout():
            sys.stdout.buffer.write(value)
            if sys.stdout.isatty():
                sys.stdout.buffer.write(b"\n")
        return ExitCode.DONE

    return with_client(server, timeout, command)


def put(
    key: Key,
    value: Annotated[
        str,
        typer.Argument(
            metavar="VALUE", help="The value; - reads it from standard input.", show_default=False
        ),
    ],
    server: ServerFlag = None,
    timeout: TimeoutFlag = DEFAULT_TIMEOUT_S,
) -> int:
    """Store VALUE under KEY and print the version it got."""
    content = sys.stdin.buffer.read() if value == "-" else os.fsencode(value)

    async def command(client: AsyncClient) -> int:
        return acknowledged(await client.put(os.fsencode(key), content))

    return with_client(server, timeout, command)


def delete(key: Key, server: ServerFlag = None, timeout: TimeoutFlag = DEFAULT_TIMEOUT_S) -> int:
    """Delete KEY, whether or not it is there, and print the version of the deletion."""

    async def command(client: AsyncClient) -> int:
        return acknowledged(await client.delete(os.fsencode(key)))

    return with_client(server, timeout, command)


def acknowledged(version: Version) -> ExitCode:
    print(version)
    if version.superseded:
        complain("acknowledged, but a newer version already stood: reads return that one")
    return ExitCode.DONE


def keys(
    prefix: Annotated[str, typer.Option(metavar="P", help="Only keys that begin with P.")] = "",
    server: ServerFlag = None,
    timeout: TimeoutFlag = DEFAULT_TIMEOUT_S,
) -> int:
    """Print every key, one a line, in token order."""

    async def command(client: AsyncClient) -> int:
        with streaming_stdout():
            async for key in client.keys(prefix=os.fsencode(prefix)):
                sys.stdout.buffer.write(key + b"\n")
        return ExitCode.DONE

    return with_client(server, timeout, command)
