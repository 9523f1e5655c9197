"""logs/client.log: what was typed into the interactive shell and how it went, in the nodes' log format."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CLIENT_LOG = Path("logs/client.log")
NODE_FIELD = "client"
"""Stands where a node's log has the node's name."""


class ClientLog:
    """Appends one JSON object a line, each flushed."""

    def __init__(self, path: Path = CLIENT_LOG) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def write(self, event: str, level: str = "info", **fields: Any) -> None:
        head = {
            "timestamp": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": level,
            "event": event,
            "node": NODE_FIELD,
        }
        self._file.write(json.dumps(head | fields, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()
