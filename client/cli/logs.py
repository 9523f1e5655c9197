"""``covey logs``: the log files of several nodes, merged by time."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TextIO

import typer

from .exits import CommandError, ExitCode
from .log_lines import LEVELS, LogFilter, LogLine, merge, one_line, parse_line, parse_time
from .output import print_error, print_note

LOG_FOLDER = Path("logs")
POLL_INTERVAL_S = 0.2
MAX_LINE_CHARACTERS = 1 << 20
COLOUR_OF_LEVEL = {"debug": "2", "warning": "33", "error": "31", "critical": "1;31"}
"""ANSI parameters; a line of any other level has the terminal's default colour."""


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
    node: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="The node that logged it; repeatable.")
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Only events about this key.")] = None,
    level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help=f"The lowest level: {', '.join(LEVELS)}.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="UTC time, or 90s, 5m, 2h, 1d ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Like --since.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for new lines and print them.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the lines as they are in the files.")
    ] = False,
) -> int:
    """Merge the nodes' logs by time."""
    if level is not None and level not in LEVELS:
        raise CommandError(f"--level: {level!r} is none of {', '.join(LEVELS)}")
    shown = LogFilter(
        events=tuple(event or ()),
        nodes=tuple(node or ()),
        key=key,
        level=level,
        since=_parsed_time("--since", since),
        until=_parsed_time("--until", until),
    )
    with MergedLogs(files) as merged:
        printed = _print(filter(shown.admits, merged.new_lines()), as_json)
        if not printed and not follow:
            print_note("no line matches")
        if merged.skipped:
            print_error(f"skipped {merged.skipped} lines that are no log lines")
        while follow:
            time.sleep(POLL_INTERVAL_S)
            merged.open_new_files()
            _print(filter(shown.admits, merged.new_lines()), as_json)
    return ExitCode.DONE


def _parsed_time(flag: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_time(text, lambda: datetime.now(UTC))
    except (ValueError, OverflowError):
        raise CommandError(
            f"{flag}: {text!r} is neither an ISO time nor a span such as 90s, 5m, 2h, 1d"
        ) from None


def _print(lines: Iterable[LogLine], as_json: bool) -> int:
    """Print the lines and return their number."""
    printed = 0
    coloured = sys.stdout.isatty()
    for line in lines:
        sys.stdout.write((line.raw if as_json else _formatted(line, coloured)) + "\n")
        printed += 1
    sys.stdout.flush()
    return printed


def _formatted(line: LogLine, coloured: bool) -> str:
    level = str(line.fields.get("level", "?"))
    clock = line.time.astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]
    text = f"{clock} {level:<8} {line.fields.get('node', '?')!s:<6} {one_line(line.fields)}"
    colour = COLOUR_OF_LEVEL.get(level) if coloured else None
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text


class MergedLogs:
    """Open log files, the given files or logs/*.log, which may grow while they are read."""

    def __init__(self, files: Sequence[Path] | None) -> None:
        self._given = files
        self._open: dict[Path, TextIO] = {}
        self._incomplete: dict[Path, str] = {}
        """The last line of a file, while its newline has not been written."""
        self._closing = ExitStack()
        self.skipped = 0
        """Number of lines read that are no log lines."""

    def __enter__(self) -> MergedLogs:
        self.open_new_files()
        if not self._open:
            raise CommandError(
                f"no logs in {LOG_FOLDER}/; name the files, or run this in the folder of `covey up`"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def open_new_files(self) -> None:
        for path in self._given or sorted(LOG_FOLDER.glob("*.log")):
            if path not in self._open:
                try:
                    file = path.open(encoding="utf-8", errors="replace")
                except OSError as error:
                    raise CommandError(f"{path}: {error.strerror}") from error
                self._open[path] = self._closing.enter_context(file)

    def new_lines(self) -> Iterator[LogLine]:
        """Yield the lines that were not read before, ordered by time."""
        return merge(self._parsed(self._complete_lines(path)) for path in self._open)

    def _complete_lines(self, path: Path) -> Iterator[str]:
        """Yield lines up to the end of the file, or to a line without a newline.

        The middle of a line over ``MAX_LINE_CHARACTERS`` is dropped, so that memory is bounded.
        """
        file = self._open[path]
        while text := file.readline(MAX_LINE_CHARACTERS):
            line = self._incomplete.pop(path, "") + text
            if line.endswith("\n"):
                yield line
            else:
                self._incomplete[path] = line[:MAX_LINE_CHARACTERS]

    def _parsed(self, lines: Iterable[str]) -> Iterator[LogLine]:
        for raw in lines:
            line = parse_line(raw)
            if line is not None:
                yield line
            elif raw.strip():
                self.skipped += 1
