"""``covey node``: the command line of one node.

The parts of a node are imported only when it runs, since ``covey --help`` imports this module too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ...membership.record import MAX_WEIGHT, MIN_WEIGHT

LOG_FORMATS = ("json", "console")


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Run")(node)


def path_of(text: str) -> Path:
    """Return the path. Raise BadParameter for an empty text, which would mean the current folder."""
    if not text:
        raise typer.BadParameter("a path is not empty; . is the current folder")
    return Path(text)


# --- the options, in the order of the help ---

Name = Annotated[str, typer.Option(metavar="NAME", help="What people call it; unique in the cluster.")]
Listen = Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 takes any free one.")]
Data = Annotated[
    Path, typer.Option(metavar="DIR", parser=path_of, help="Its data folder; made when it is not there.")
]
Advertise = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Where others reach it, if not where it listens.")
]
Seeds = Annotated[
    list[str] | None,
    typer.Option(metavar="HOST:PORT", help="A node of the cluster; repeatable. Replaces the file's list."),
]
ConfigFile = Annotated[
    Path | None, typer.Option(metavar="FILE", parser=path_of, help="Configuration, such as seeds.json.")
]
Zone = Annotated[str, typer.Option(metavar="Z", help="Copies of a key go to distinct zones first.")]
Weight = Annotated[
    float,
    typer.Option(
        min=MIN_WEIGHT, max=MAX_WEIGHT, metavar="W", help="Its share of the keys relative to others'."
    ),
]
LogFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", parser=path_of, help="Append the log to FILE instead of stderr."),
]
LogFormatName = Annotated[str, typer.Option(metavar="json|console", help="How log lines look.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Goes before any file; repeatable.")
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Listen beyond this machine without authentication.")
]
AcceptRestoredData = Annotated[
    bool,
    typer.Option(
        "--accept-restored-data",
        help="Use a data folder that was restored from a copy as it is; writes made since the copy are given up.",
    ),
]


def node(
    name: Name,
    listen: Listen,
    data: Data,
    advertise: Advertise = None,
    seed: Seeds = None,
    config: ConfigFile = None,
    zone: Zone = "",
    weight: Weight = 1.0,
    log_file: LogFile = None,
    log_format: LogFormatName = "json",
    settings: Settings = None,
    insecure: Insecure = False,
    accept_restored_data: AcceptRestoredData = False,
) -> int:
    """Run one node in the foreground until SIGTERM, Ctrl-C, or `covey leave`."""
    if log_format not in LOG_FORMATS:
        raise typer.BadParameter(f"{log_format!r} is neither json nor console", param_hint="--log-format")
    assigned = assignments(settings or ())
    from .main import run_node
    from .options import NodeOptions

    return run_node(
        NodeOptions(
            name=name,
            listen=listen,
            advertise=advertise,
            seeds=tuple(seed or ()),
            config_file=config,
            data=data,
            zone=zone,
            weight=weight,
            log_file=log_file,
            log_format=log_format,
            settings=assigned,
            insecure=insecure,
            accept_restored_data=accept_restored_data,
        )
    )


def assignments(texts: Sequence[str]) -> dict[str, str]:
    """Return KEY=VALUE texts as a mapping; the last value of a key counts. Raise BadParameter for any other text."""
    assigned: dict[str, str] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--set")
        assigned[key] = value
    return assigned
