"""Keys and values as JSON lines: text as UTF-8, anything else as base64 under ``key_b64`` / ``value_b64``."""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode, b64encode
from typing import NamedTuple

from .output import quoted


class Record(NamedTuple):
    key: bytes
    value: bytes


FIELDS = ("key", "key_b64", "value", "value_b64")
TEXT_GRACE_BYTES = 60
"""Content is written as text if that takes at most 1.5 times its length and this many bytes more."""
_STRING = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


def text_or_base64(name: str, content: bytes) -> dict[str, str]:
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {f"{name}_b64": b64encode(content).decode()}


def encode_record(record: Record) -> bytes:
    return b"{%b, %b}\n" % (_field("key", record.key), _field("value", record.value))


def _field(name: str, content: bytes) -> bytes:
    """Encode as text, unless escapes would make it longer than base64, so that the length of a line is bounded."""
    try:
        text = json.dumps(content.decode(), ensure_ascii=False).encode()
    except UnicodeDecodeError:
        text = None
    if text is None or len(text) > len(content) * 3 // 2 + TEXT_GRACE_BYTES:
        return b'"%b_b64": "%b"' % (name.encode(), b64encode(content))
    return b'"%b": %b' % (name.encode(), text)


def decode_record(line: bytes) -> Record:
    """Decode a line. Raise ValueError with the reason if it is not a record.

    Only a flat object of strings is parsed, so that no input causes deep nesting or a conversion of long numbers.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    try:
        fields = _flat_object(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    return Record(_content(fields, "key"), _content(fields, "value"))


def _flat_object(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    at = _after_space(text, 0)
    if not text.startswith("{", at):
        raise ValueError('not an object such as {"key": "k", "value": "v"}')
    at = _after_space(text, at + 1)
    while not text.startswith("}", at):
        if fields:
            at = _after(",", text, at)
        name, at = _string(text, at, "a field's name")
        if name not in FIELDS:
            raise ValueError(f"unknown field {quoted(name)}; known are {', '.join(FIELDS)}")
        if name in fields:
            raise ValueError(f"{name} occurs twice")
        fields[name], at = _string(text, _after(":", text, at), name)
        at = _after_space(text, at)
    if _after_space(text, at + 1) != len(text):
        raise json.JSONDecodeError("Extra data", text, at + 1)
    return fields


def _string(text: str, at: int, name: str) -> tuple[str, int]:
    """Return the string that begins at ``at``, and its end."""
    if at == len(text):
        raise json.JSONDecodeError("Unexpected end", text, at)
    if text[at] != '"':
        raise ValueError(f"{name}: expected a string")
    return _STRING.raw_decode(text, at)


def _after(mark: str, text: str, at: int) -> int:
    """Return the position of the token after ``mark``. Raise JSONDecodeError if ``mark`` does not follow."""
    at = _after_space(text, at)
    if not text.startswith(mark, at):
        raise json.JSONDecodeError(f"Expecting {mark!r}", text, at)
    return _after_space(text, at + 1)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _content(fields: dict[str, str], name: str) -> bytes:
    encoded_name = f"{name}_b64"
    if (name in fields) == (encoded_name in fields):
        raise ValueError(f"needs either {name} or {encoded_name}")
    try:
        if name in fields:
            return fields[name].encode()
        return b64decode(fields[encoded_name], validate=True)
    except UnicodeEncodeError:
        raise ValueError(f"{name}: text with a lone surrogate; use {encoded_name}") from None
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{encoded_name}: not base64: {error}") from None
