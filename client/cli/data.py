"""``covey get|put|delete|keys``: single keys."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import CommandError, ExitCode, OutputError, cause
from .options import DEFAULT_TIMEOUT_S, ServerFlag, TimeoutFlag
from .output import complain, printable
from .servers import choose_servers
from .session import with_client, with_client_of

if TYPE_CHECKING:
    from ..aio import AsyncClient
    from ..version import Version

PANEL = "Data"
MAX_VALUE_BYTES = 16 << 20
"""The largest ``max_value_bytes`` that a cluster can be configured with."""

Key = Annotated[str, typer.Argument(metavar="KEY", help="The key.", show_default=False)]


def register(app: typer.Typer) -> None:
    for command in (get, put, delete, keys):
        app.command(rich_help_panel=PANEL)(command)


def get(key: Key, server: ServerFlag = None, timeout: TimeoutFlag = DEFAULT_TIMEOUT_S) -> int:
    """Print the value of KEY as it is; exit code 1 when there is none."""

    async def command(client: AsyncClient) -> int:
        value = await client.get(os.fsencode(key))
        if value is None:
            complain(f"no such key: {printable(key)}")
            return ExitCode.NOT_FOUND
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
    addresses = choose_servers(server)
    content = _value_of_stdin() if value == "-" else os.fsencode(value)

    async def command(client: AsyncClient) -> int:
        return acknowledged(await client.put(os.fsencode(key), content))

    return with_client_of(addresses, timeout, command)


def _value_of_stdin() -> bytes:
    """Raises CommandError after one byte more than any cluster takes."""
    try:
        content = sys.stdin.buffer.read(MAX_VALUE_BYTES + 1)
    except OSError as error:
        raise CommandError(f"standard input cannot be read: {cause(error)}") from error
    if len(content) > MAX_VALUE_BYTES:
        raise CommandError(
            f"standard input has more than {MAX_VALUE_BYTES} bytes, the longest value of any cluster"
        )
    return content


def delete(key: Key, server: ServerFlag = None, timeout: TimeoutFlag = DEFAULT_TIMEOUT_S) -> int:
    """Delete KEY, whether or not it is there, and print the version of the deletion."""

    async def command(client: AsyncClient) -> int:
        return acknowledged(await client.delete(os.fsencode(key)))

    return with_client(server, timeout, command)


def acknowledged(version: Version) -> ExitCode:
    """Print the version of a write. That the write is done is said also where the version cannot be written."""
    try:
        print(version, flush=True)
    except OutputError as error:
        raise OutputError(f"acknowledged as {version}, but {error}", error.code) from error
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
        async for key in client.keys(prefix=os.fsencode(prefix)):
            sys.stdout.buffer.write(key + b"\n")
        return ExitCode.DONE

    return with_client(server, timeout, command)
