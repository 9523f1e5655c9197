"""Keys and values as JSON lines: text as UTF-8, anything else as base64 under ``key_b64`` / ``value_b64``."""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from typing import Any, NamedTuple


class Record(NamedTuple):
    key: bytes
    value: bytes


def text_or_base64(name: str, content: bytes) -> dict[str, str]:
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {f"{name}_b64": b64encode(content).decode()}


def encode_record(record: Record) -> bytes:
    fields = text_or_base64("key", record.key) | text_or_base64("value", record.value)
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def decode_record(line: bytes) -> Record:
    """Raises ValueError, saying what is wrong, for anything but a record."""
    try:
        fields = json.loads(line)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("not a record: nested too deeply") from None
    if not isinstance(fields, dict):
        raise ValueError('not an object such as {"key": "k", "value": "v"}')
    return Record(_content(fields, "key"), _content(fields, "value"))


def _content(fields: dict[str, Any], name: str) -> bytes:
    encoded_name = f"{name}_b64"
    if (name in fields) == (encoded_name in fields):
        raise ValueError(f"needs either {name} or {encoded_name}")
    content = fields[name] if name in fields else fields[encoded_name]
    if not isinstance(content, str):
        raise ValueError(f"{name}: expected a string")
    try:
        return content.encode() if name in fields else b64decode(content, validate=True)
    except UnicodeEncodeError:
        raise ValueError(f"{name}: text with a lone surrogate; use {encoded_name}") from None
    except binascii.Error as error:
        raise ValueError(f"{encoded_name}: not base64: {error}") from None
