"""stdout is for what was asked for; stderr for people."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PIPED_TABLE_WIDTH = 4096
"""Columns. Nothing is padded to it."""
MAX_SHOWN = 80
"""Characters of what came from outside that a message repeats."""


def say(message: str) -> None:
    """A line for the person, besides the result. A stderr that takes none does not fail the command."""
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:
        # What is still buffered would fail once more, and change the exit code, when the interpreter ends.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stderr.fileno())
        os.close(null)


def complain(message: str) -> None:
    say(f"covey: {message}")


def printable(key: str) -> str:
    """A key from the command line, with bytes that are not UTF-8 as ``\\xff``."""
    return os.fsencode(key).decode(errors="backslashreplace")


def shortened(content: object) -> str:
    """Return text from outside as a message can repeat it: quoted, and of bounded length."""
    text = repr(content[: MAX_SHOWN + 1] if isinstance(content, str) else content)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(view: RenderableType) -> None:
    """Piped, tables are plain; nowhere are they cut."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPED_TABLE_WIDTH
    Console(highlight=False, markup=False, width=width).print(view, crop=False)


def progress_console() -> Console:
    """For bars and spinners on stderr; silent unless a person watches."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, quiet=not sys.stderr.isatty())
