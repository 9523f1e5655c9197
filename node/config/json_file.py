"""Reads JSON files that people or other programs may have written: within bounds, and with one sentence per error.

Rules:
- No more than a bound is read, whatever the file is; it must be UTF-8, with or without a byte order mark.
- Its nesting depth is bounded.
- A whole number has at most 20 digits, as a 64-bit number has. NaN and infinities, which Python reads, are refused
  by the settings (``setting``).
- An object has each key once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_DIGITS = 20


class BadJson(ValueError):
    """The content of a file is not what was expected. ``line`` is the place, or None."""

    def __init__(self, why: str, line: int | None = None) -> None:
        super().__init__(why)
        self.line = line


def read_bounded(file: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a file. Raise OSError, and BadJson when it is longer than ``max_bytes``."""
    with file.open("rb", buffering=0) as stream:
        content = bytearray()
        while len(content) <= max_bytes and (more := stream.read(max_bytes + 1 - len(content))):
            content += more
    if len(content) > max_bytes:
        raise BadJson(f"it is longer than {max_bytes} bytes")
    return bytes(content)


def read_json(file: Path, max_bytes: int = MAX_BYTES) -> Any:
    """Return what a JSON file holds. Raise OSError when it cannot be read, BadJson when the rules do not allow it."""
    return parse_json(read_bounded(file, max_bytes))


def parse_json(content: bytes) -> Any:
    """Parse JSON text. Raise BadJson when the rules do not allow it."""
    try:
        text = content.decode("utf-8-sig")
        _refuse_depth(text)
        return json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_int=_whole_number,
        )
    except UnicodeDecodeError as error:
        raise BadJson("not JSON: not UTF-8") from error
    except json.JSONDecodeError as error:
        raise BadJson(f"not JSON: {error.msg}", error.lineno) from error


def _refuse_depth(text: str) -> None:
    """Refuse text that is nested too deeply. Brackets within texts count too; no file of covey has as many."""
    depth = 0
    for character in text:
        if character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise BadJson(f"it is nested more than {MAX_DEPTH} deep")
        elif character in "]}":
            depth -= 1


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise BadJson(f"{cut(key)} is there twice")
            seen.add(key)
    return content


def _whole_number(text: str) -> int:
    if len(text.lstrip("-")) > MAX_DIGITS:
        raise BadJson(f"a whole number has at most {MAX_DIGITS} digits, not {len(text.lstrip('-'))}")
    return int(text)


def cut(text: str, most: int = 80) -> str:
    """Return a text, shortened for an error message."""
    return text if len(text) <= most else f"{text[:most]}..."
