"""stdout is for what was asked for; stderr for people."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from .exits import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

PIPED_TABLE_WIDTH = 160


def say(message: str) -> None:
    """A line for the person, besides the result."""
    print(message, file=sys.stderr, flush=True)


def complain(message: str) -> None:
    say(f"covey: {message}")


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def result_console() -> Console:
    """For tables on stdout. Piped, they are plain and wide enough not to be cut."""
    from rich.console import Console

    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else PIPED_TABLE_WIDTH)


def progress_console() -> Console:
    """For bars and spinners on stderr; silent unless a person watches."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, quiet=not sys.stderr.isatty())


@contextmanager
def streaming_stdout() -> Iterator[None]:
    """A reader of stdout that stops early (``| head``) ends the command silently."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered would fail once more when the interpreter flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(ExitCode.READER_GONE) from None
