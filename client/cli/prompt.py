"""The prompt of the interactive shell: history across sessions, completion of commands and known keys.

Imported only when stdin is a terminal, because prompt-toolkit is slow to load.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

HISTORY_FILE = ".covey_history"
"""In the home folder."""


class ShellCompleter(Completer):
    """Completion from ``commands`` for the first word and from ``keys`` for the second."""

    def __init__(self, commands: Iterable[str], keys: Collection[str]) -> None:
        self._commands = tuple(commands)
        self._keys = keys

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        words = document.text_before_cursor.split(" ")
        if len(words) > 2:
            return
        candidates = self._commands if len(words) == 1 else sorted(self._keys)
        for candidate in candidates:
            if candidate.startswith(words[-1]):
                yield Completion(candidate, start_position=-len(words[-1]))


async def prompted_lines(completer: Completer) -> AsyncIterator[str]:
    """Yield the lines that are typed, until Ctrl-D. Ctrl-C discards a line."""
    session: PromptSession[str] = PromptSession(history=_history(), completer=completer)
    while True:
        try:
            yield await session.prompt_async("covey> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


def _history() -> History:
    """Return a history on disk, or in memory if the home folder cannot be written."""
    file = Path.home() / HISTORY_FILE
    try:
        file.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return LenientHistory(str(file))


class LenientHistory(FileHistory):
    """History that stores bytes that are not UTF-8 as backslash escapes, since the file must be valid UTF-8."""

    def store_string(self, string: str) -> None:
        with suppress(OSError):
            super().store_string(string.encode(errors="backslashreplace").decode())
