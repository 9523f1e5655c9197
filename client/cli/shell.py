"""``covey shell``: get, put, delete and keys over one connection, from a prompt or from a pipe.

Commands and their outcomes are logged to logs/client.log in the nodes' log format.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from ..errors import CoveyError
from .data import print_version
from .exits import CommandError, ExitCode, exit_code, explanation
from .line_source import lines_of
from .options import DEFAULT_TIMEOUT_S, ServerFlag, TimeoutFlag, with_client
from .output import print_error, printable

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
MAX_KNOWN_KEYS = 10_000
"""Keys remembered for completion."""
LOG_FILE = Path("logs/client.log")
LOG_NODE = "client"
"""Value of the field ``node``, which in a node's log is the node's name."""


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Data")(shell)


def shell(server: ServerFlag = None, timeout: TimeoutFlag = DEFAULT_TIMEOUT_S) -> int:
    """Read get, put, delete and keys from a prompt or a pipe. Log to logs/client.log.

    For commands from a pipe, the exit code is that of the worst line.
    """

    async def command(client: AsyncClient) -> int:
        with _open_log() as log:
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


class ClientLog:
    """Log of one JSON object per line, unbuffered.

    A key that is not UTF-8 is written with lone surrogates, which JSON can escape and which decode to the same bytes.
    After the first line that cannot be written, nothing more is logged; operations are not affected.
    """

    def __init__(self) -> None:
        LOG_FILE.parent.mkdir(parents=True, exist_ok=True)
        self._file = LOG_FILE.open("ab", buffering=0)
        self._failed = False

    def write(self, event: str, level: str = "info", **fields: Any) -> None:
        if self._failed:
            return
        timestamp = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        head = {"timestamp": timestamp, "level": level, "event": event, "node": LOG_NODE}
        line = json.dumps(head | fields, ensure_ascii=False)
        try:
            self._file.write(line.encode(errors="backslashreplace") + b"\n")
        except OSError as error:
            self._failed = True
            print_error(f"{LOG_FILE}: {error.strerror}; nothing more is logged")

    def close(self) -> None:
        self._file.close()


@contextmanager
def _open_log() -> Iterator[ClientLog]:
    try:
        log = ClientLog()
    except OSError as error:
        raise CommandError(f"{LOG_FILE}: {error.strerror}") from error
    log.write("shell.started")
    try:
        yield log
    finally:
        log.write("shell.ended")
        log.close()


class Line(NamedTuple):
    """A parsed line: the command, the key or prefix, and the rest."""

    command: str
    key: str | None = None
    value: str | None = None


def parse(text: str) -> Line:
    """Parse a line. Words are separated by spaces; a key that contains spaces is quoted.

    A value is the rest of the line. Quotes around the entire value are removed, so that a value can be empty.
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
    """Interpreter of lines: executes each, prints its result or error, and continues with the next."""

    def __init__(self, client: AsyncClient, log: ClientLog) -> None:
        self._client = client
        self._log = log
        self.known_keys: dict[str, None] = {}
        """Keys that were typed or listed, for completion; at most ``MAX_KNOWN_KEYS``."""

    async def serve(self, lines: AsyncIterator[str]) -> ExitCode:
        """Execute lines until they end or one is ``exit``. Return the exit code of the worst line."""
        worst = ExitCode.DONE
        async for text in lines:
            if not text.strip():
                continue
            line = parse(text)
            if line.command in ("exit", "quit"):
                break
            worst = max(worst, await self._execute(line))
        return worst

    async def _execute(self, line: Line) -> ExitCode:
        began_at = time.monotonic()
        try:
            code = await self._run(line)
        except CommandError as error:
            print_error(str(error))
            return error.code
        except CoveyError as error:
            print_error(explanation(error))
            self._log.write(
                "shell.failed",
                level="error",
                command=line.command,
                key=line.key,
                error=type(error).__name__,
                reason=str(error),
                maybe_applied=error.maybe_applied,
            )
            return exit_code(error)
        took_ms = round((time.monotonic() - began_at) * 1000, 3)
        self._log.write("shell.command", command=line.command, key=line.key, took_ms=took_ms)
        return code

    async def _run(self, line: Line) -> ExitCode:
        match line:
            case Line("get", str(key), None):
                return await self._get(key)
            case Line("put", str(key), str(value)):
                print_version(await self._client.put(os.fsencode(key), os.fsencode(value)))
                self._remember(key)
            case Line("delete", str(key), None):
                print_version(await self._client.delete(os.fsencode(key)))
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
            print_error(f"no such key: {printable(key)}")
            return ExitCode.NOT_FOUND
        _print_bytes(value)
        self._remember(key)
        return ExitCode.DONE

    async def _keys(self, prefix: str) -> None:
        async for key in self._client.keys(prefix=os.fsencode(prefix)):
            _print_bytes(key)
            self._remember(os.fsdecode(key))

    def _remember(self, key: str) -> None:
        if len(self.known_keys) < MAX_KNOWN_KEYS:
            self.known_keys[key] = None


def _print_bytes(content: bytes) -> None:
    sys.stdout.buffer.write(content + b"\n")
    sys.stdout.buffer.flush()
