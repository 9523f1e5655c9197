"""logs/client.log: what was typed into the interactive shell and how it went, in the nodes' log format."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .output import complain

CLIENT_LOG = Path("logs/client.log")
NODE_FIELD = "client"
"""Stands where a node's log has the node's name."""


class ClientLog:
    """Appends one JSON object a line, unbuffered.

    A key that is not UTF-8 is written with lone surrogates, which JSON can escape, and reads back as it was. The first
    line that cannot be written ends the log with a message; operations are not affected.
    """

    def __init__(self, path: Path = CLIENT_LOG) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._failed = False

    def write(self, event: str, level: str = "info", **fields: Any) -> None:
        head = {
            "timestamp": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": level,
            "event": event,
            "node": NODE_FIELD,
        }
        if self._failed:
            return
        try:
            self._file.write(
                json.dumps(head | fields, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
            )
        except OSError as error:
            self._failed = True
            complain(f"{self._path}: {error.strerror}; nothing more is logged")

    def close(self) -> None:
        self._file.close()
