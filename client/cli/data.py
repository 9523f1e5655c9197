"""``covey get|put|delete|keys``: single keys."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import CommandError, ExitCode, OutputError, cause
from .options import DEFAULT_TIMEOUT_S, KeyArgument, ServerFlag, TimeoutFlag, with_client, with_client_of
from .output import print_error, printable
from .servers import choose_servers

if TYPE_CHECKING:
    from ..aio import AsyncClient
    from ..version import Version

MAX_VALUE_BYTES = 16 << 20
"""Upper bound of the setting ``max_value_bytes``."""


def register(app: typer.Typer) -> None:
    for command in (get, put, delete, keys):
        app.command(rich_help_panel="Data")(command)


def get(key: KeyArgument, server: ServerFlag = None, timeout: TimeoutFlag = DEFAULT_TIMEOUT_S) -> int:
    """Print the value of KEY unchanged; exit code 1 if there is no such key."""

    async def command(client: AsyncClient) -> int:
        value = await client.get(os.fsencode(key))
        if value is None:
            print_error(f"no such key: {printable(key)}")
            return ExitCode.NOT_FOUND
        sys.stdout.buffer.write(value)
        if sys.stdout.isatty():
            sys.stdout.buffer.write(b"\n")
        return ExitCode.DONE

    return with_client(server, timeout, command)


def put(
    key: KeyArgument,
    value: Annotated[
        str,
        typer.Argument(
            metavar="VALUE", help="The value; - reads it from standard input.", show_default=False
        ),
    ],
    server: ServerFlag = None,
    timeout: TimeoutFlag = DEFAULT_TIMEOUT_S,
) -> int:
    """Store VALUE under KEY and print the version of the write."""
    addresses = choose_servers(server)
    content = _read_value() if value == "-" else os.fsencode(value)

    async def command(client: AsyncClient) -> int:
        return print_version(await client.put(os.fsencode(key), content))

    return with_client_of(addresses, timeout, command)


def _read_value() -> bytes:
    """Read a value from stdin. Raise CommandError if it is longer than any cluster accepts."""
    try:
        content = sys.stdin.buffer.read(MAX_VALUE_BYTES + 1)
    except OSError as error:
        raise CommandError(f"standard input cannot be read: {cause(error)}") from error
    if len(content) > MAX_VALUE_BYTES:
        raise CommandError(
            f"standard input has more than {MAX_VALUE_BYTES} bytes, the longest value of any cluster"
        )
    return content


def delete(key: KeyArgument, server: ServerFlag = None, timeout: TimeoutFlag = DEFAULT_TIMEOUT_S) -> int:
    """Delete KEY, whether or not it exists, and print the version of the deletion."""

    async def command(client: AsyncClient) -> int:
        return print_version(await client.delete(os.fsencode(key)))

    return with_client(server, timeout, command)


def print_version(version: Version) -> ExitCode:
    """Print the version of a write. Raise OutputError with the version if it cannot be printed."""
    try:
        print(version, flush=True)
    except OutputError as error:
        raise OutputError(f"acknowledged as {version}, but {error}", error.code) from error
    if version.superseded:
        print_error("acknowledged, but a newer version already exists; reads return that version")
    return ExitCode.DONE


def keys(
    prefix: Annotated[str, typer.Option(metavar="P", help="Only keys that begin with P.")] = "",
    server: ServerFlag = None,
    timeout: TimeoutFlag = DEFAULT_TIMEOUT_S,
) -> int:
    """Print every key, one per line, in token order."""

    async def command(client: AsyncClient) -> int:
        async for key in client.keys(prefix=os.fsencode(prefix)):
            sys.stdout.buffer.write(key + b"\n")
        return ExitCode.DONE

    return with_client(server, timeout, command)
