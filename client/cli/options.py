"""Flags that several commands share, with one wording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ServerFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        help="A node to talk to; repeatable, or several with commas."
        " Else COVEY_SERVER, else the seeds of ./seeds.json.",
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
TimeoutFlag = Annotated[
    float, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="Longest wait for an answer.")
]

DEFAULT_TIMEOUT_S = 5.0


def path_of(text: str) -> Path:
    """A path that is not empty: the empty one would mean the current folder."""
    if not text:
        raise typer.BadParameter("a path is not empty; . is the current folder")
    return Path(text)
