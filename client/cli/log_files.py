"""Growing log files of several nodes, read as one story."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from .exits import CommandError
from .log_lines import LogLine, merge, parse_line

DEFAULT_FOLDER = Path("logs")
MAX_LINE = 1 << 20
"""Characters."""


class LogStory:
    """Open log files, read to their ends and then for what is appended. Without given files, logs/*.log."""

    def __init__(self, files: Sequence[Path] | None) -> None:
        self._given = files
        self._open: dict[Path, TextIO] = {}
        self._unfinished: dict[Path, str] = {}
        self._closing = ExitStack()
        self.skipped = 0
        """Lines so far that are no log lines."""

    def __enter__(self) -> LogStory:
        self._open_new_files()
        if not self._open:
            raise CommandError(
                f"no logs in {DEFAULT_FOLDER}/; name the files, or run this where `covey up` runs"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def so_far(self) -> Iterator[LogLine]:
        return merge(self._parsed(self._finished_lines(path)) for path in self._open)

    def news(self) -> list[LogLine]:
        """What was appended since the last look, also in files that are new."""
        self._open_new_files()
        return list(self.so_far())

    def _open_new_files(self) -> None:
        for path in self._given or sorted(DEFAULT_FOLDER.glob("*.log")):
            if path not in self._open:
                self._open[path] = self._closing.enter_context(_opened(path))

    def _finished_lines(self, path: Path) -> Iterator[str]:
        """Lines up to the end of the file; a last line still being written waits for its end.

        Of a line longer than any log line the middle is left out, so that memory stays bounded.
        """
        file = self._open[path]
        while text := file.readline(MAX_LINE):
            line = self._unfinished.pop(path, "") + text
            if line.endswith("\n"):
                yield line
            else:
                self._unfinished[path] = line[:MAX_LINE]

    def _parsed(self, lines: Iterable[str]) -> Iterator[LogLine]:
        for raw in lines:
            line = parse_line(raw)
            if line is not None:
                yield line
            elif raw.strip():
                self.skipped += 1


def _opened(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error
