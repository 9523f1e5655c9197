"""``covey shell``: get, put, delete and keys over one connection, typed or piped in."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import typer

from ..errors import CoveyError
from .client_log import ClientLog
from .data import acknowledged
from .exits import CommandError, ExitCode, exit_code, explanation
from .line_source import lines_of
from .options import DEFAULT_TIMEOUT_S, ServerFlag, TimeoutFlag
from .output import complain, printable
from .session import with_client

if TYPE_CHECKING:
    from ..aio import AsyncClient

USAGE = {
    "get": "get <key>",
    "put": "put <key> <value>",
    "delete": "delete <key>",
    "keys": "keys [<prefix>]",
    "help": "help",
    "exit": "exit",
}
KEYS_REMEMBERED = 10_000
"""For completion."""


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Data")(shell)


def shell(server: ServerFlag = None, timeout: TimeoutFlag = DEFAULT_TIMEOUT_S) -> int:
    """Type get, put, delete and keys at a prompt, or pipe them in. Logs to logs/client.log.

    Piped in, the exit code is that of the worst line.
    """

    async def command(client: AsyncClient) -> int:
        with _log() as log:
            shell = Shell(client, log)
            if not sys.stdin.isatty():
                return await shell.serve(_piped_lines())
            from .prompt import ShellCompleter, prompted_lines

            await shell.serve(prompted_lines(ShellCompleter(USAGE, shell.known_keys)))
            return ExitCode.DONE

    return with_client(server, timeout, command)


async def _piped_lines() -> AsyncIterator[str]:
    async for line in lines_of(sys.stdin.buffer):
        yield os.fsdecode(line)


@contextmanager
def _log() -> Iterator[ClientLog]:
    try:
        log = ClientLog()
    except OSError as error:
        raise CommandError(f"logs/client.log: {error.strerror}") from error
    log.write("shell.started")
    try:
        yield log
    finally:
        log.write("shell.ended")
        log.close()


class Line(NamedTuple):
    """A parsed line: the command, then the key (or prefix), then all that follows it."""

    command: str
    key: str | None = None
    value: str | None = None


def parse(text: str) -> Line:
    """Words are separated by spaces; a key with spaces is quoted. A value is the rest of the line, as typed.

    A value wholly in quotes loses them, so that an empty one can be given.
    """
    command, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    if not rest:
        return Line(command.lower())
    key, value = _first_word(rest)
    return Line(command.lower(), key, _unquoted(value) if value else None)


def _first_word(text: str) -> tuple[str, str]:
    quote = text[0]
    if quote in "'\"" and (end := text.find(quote, 1)) > 0:
        word, rest = text[1:end], text[end + 1 :]
    else:
        word, _, rest = text.partition(" ")
    return word, rest.strip()


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text


class Shell:
    """Runs lines against a client, prints what they bring, and goes on after errors."""

    def __init__(self, client: AsyncClient, log: ClientLog) -> None:
        self._client = client
        self._log = log
        self.known_keys: dict[str, None] = {}
        """Keys that were typed or listed, for completion; bounded."""

    async def serve(self, lines: AsyncIterator[str]) -> ExitCode:
        """Until the lines end or one says exit; the code of the worst line."""
        worst = ExitCode.DONE
        async for text in lines:
            if not text.strip():
                continue
            line = parse(text)
            if line.command in ("exit", "quit"):
                break
            worst = max(worst, await self._attempt(line))
        return worst

    async def _attempt(self, line: Line) -> ExitCode:
        began_at = time.monotonic()
        try:
            code = await self._run(line)
        except CommandError as error:
            complain(str(error))
            return error.code
        except CoveyError as error:
            complain(explanation(error))
            self._log_failure(line, error)
            return exit_code(error)
        took_ms = round((time.monotonic() - began_at) * 1000, 3)
        self._log.write("shell.command", command=line.command, key=line.key, took_ms=took_ms)
        return code

    def _log_failure(self, line: Line, error: CoveyError) -> None:
        self._log.write(
            "shell.failed",
            level="error",
            command=line.command,
            key=line.key,
            error=type(error).__name__,
            reason=str(error),
            maybe_applied=error.maybe_applied,
        )

    async def _run(self, line: Line) -> ExitCode:
        match line:
            case Line("get", str(key), None):
                return await self._get(key)
            case Line("put", str(key), str(value)):
                acknowledged(await self._client.put(os.fsencode(key), os.fsencode(value)))
                self._remember(key)
            case Line("delete", str(key), None):
                acknowledged(await self._client.delete(os.fsencode(key)))
            case Line("keys", prefix, None):
                await self._keys(prefix or "")
            case Line("help"):
                print("\n".join(USAGE.values()))
            case _:
                raise CommandError(f"usage: {USAGE.get(line.command, ' | '.join(USAGE.values()))}")
        return ExitCode.DONE

    async def _get(self, key: str) -> ExitCode:
        value = await self._client.get(os.fsencode(key))
        if value is None:
            complain(f"no such key: {printable(key)}")
            return ExitCode.NOT_FOUND
        _print_bytes(value)
        self._remember(key)
        return ExitCode.DONE

    async def _keys(self, prefix: str) -> None:
        async for key in self._client.keys(prefix=os.fsencode(prefix)):
            _print_bytes(key)
            self._remember(os.fsdecode(key))

    def _remember(self, key: str) -> None:
        if len(self.known_keys) < KEYS_REMEMBERED:
            self.known_keys[key] = None


def _print_bytes(content: bytes) -> None:
    sys.stdout.buffer.write(content + b"\n")
    sys.stdout.buffer.flush()
