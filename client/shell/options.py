"""Flags that several commands share, with one wording."""

from __future__ import annotations

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
