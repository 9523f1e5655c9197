"""``covey logs``: several nodes' logs as one story."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from .exits import CommandError, ExitCode
from .log_files import LogStory
from .log_lines import LEVELS, LogFilter, LogLine, one_line, parse_moment
from .output import complain, say

POLL_INTERVAL_S = 0.2
COLOUR_OF_LEVEL = {"debug": "2", "warning": "33", "error": "31", "critical": "1;31"}
"""ANSI parameters; a line of any other level keeps the terminal's own colour."""


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Look")(logs)


def logs(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="Log files; logs/*.log by default.")
    ] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Event, or a pattern such as 'member.*'; repeatable."),
    ] = None,
    node: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Who logged it; repeatable.")] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Only events about this key.")] = None,
    level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help=f"The least level: {', '.join(LEVELS)}.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="UTC time, or 90s, 5m, 2h, 1d ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="As --since.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is logged from now on.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the lines as they stand in the files.")
    ] = False,
) -> int:
    """Merge the nodes' logs by time."""
    wanted = LogFilter(
        events=tuple(event or ()),
        nodes=tuple(node or ()),
        key=key,
        level=_checked_level(level),
        since=_moment("--since", since),
        until=_moment("--until", until),
    )
    with LogStory(files) as story:
        printed = _print(filter(wanted.admits, story.so_far()), as_json)
        if not printed and not follow:
            say("no line matches")
        if story.skipped:
            complain(f"skipped {story.skipped} lines that are no log lines")
        while follow:
            time.sleep(POLL_INTERVAL_S)
            _print(filter(wanted.admits, story.news()), as_json)
    return ExitCode.DONE


def _checked_level(level: str | None) -> str | None:
    if level is not None and level not in LEVELS:
        raise CommandError(f"--level: {level!r} is none of {', '.join(LEVELS)}")
    return level


def _moment(flag: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_moment(text, lambda: datetime.now(UTC))
    except (ValueError, OverflowError):
        raise CommandError(
            f"{flag}: {text!r} is neither an ISO time nor a span such as 90s, 5m, 2h, 1d"
        ) from None


def _print(lines: Iterable[LogLine], as_json: bool) -> int:
    """Print the lines, and return how many they were."""
    printed = 0
    coloured = sys.stdout.isatty()
    for line in lines:
        sys.stdout.write((line.raw if as_json else _for_people(line, coloured)) + "\n")
        printed += 1
    sys.stdout.flush()
    return printed


def _for_people(line: LogLine, coloured: bool) -> str:
    level = str(line.fields.get("level", "?"))
    clock = line.time.astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]
    text = f"{clock} {level:<8} {line.fields.get('node', '?')!s:<6} {one_line(line.fields)}"
    colour = COLOUR_OF_LEVEL.get(level) if coloured else None
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text
