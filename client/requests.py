"""Operations, made from callers' arguments, which are checked and converted to bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from ..api.channel import MAX_MESSAGE_BYTES
from ..api.operations import DELETE, GET, LEVELS, PUT, Consistency
from .arguments import checked_replicas, shown, wrong_type
from .errors import InvalidRequest

Key = str | bytes
Level = Literal["one", "quorum", "all"]

_MAX_OPERATION_BYTES = MAX_MESSAGE_BYTES - (64 << 10)
"""Leaves room for the other parts of a batch."""


@dataclass(slots=True, eq=False)
class Operation:
    """One get, put or delete. It is never changed, and may be sent several times, to several nodes."""

    kind: int
    key: bytes
    value: bytes
    """The value of a put; empty for others."""
    consistency: Consistency | None
    """None for the default, a quorum."""
    size_bytes: int

    @property
    def writes(self) -> bool:
        return self.kind != GET


def encoded(text: Key, what: str) -> bytes:
    """Return the bytes of a key or value: str is encoded as UTF-8."""
    if isinstance(text, bytes):
        return text
    if isinstance(text, str):
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise InvalidRequest(f"the {what} {shown(text)} cannot be written as UTF-8") from error
    raise wrong_type(what, type(text))


def refuse_duplicates(keys: Iterable[Key]) -> None:
    """Raise InvalidRequest if one key is given both as str and as bytes: its two values would have no order."""
    given = set(keys)
    kinds = set(map(type, given))
    if len(kinds) < 2:
        return
    for key in given:
        if isinstance(key, str) and encoded(key, "key") in given:
            raise InvalidRequest(f"{shown(key)} is given both as str and as bytes")


def get_operation(key: Key, consistency: Consistency | None) -> Operation:
    key_bytes = encoded(key, "key")
    return Operation(
        kind=GET, key=key_bytes, value=b"", consistency=consistency, size_bytes=_checked(len(key_bytes))
    )


def put_operation(key: Key, value: Key, consistency: Consistency | None) -> Operation:
    key_bytes, value_bytes = encoded(key, "key"), encoded(value, "value")
    size_bytes = _checked(len(key_bytes) + len(value_bytes))
    return Operation(
        kind=PUT, key=key_bytes, value=value_bytes, consistency=consistency, size_bytes=size_bytes
    )


def delete_operation(key: Key, consistency: Consistency | None) -> Operation:
    key_bytes = encoded(key, "key")
    return Operation(
        kind=DELETE, key=key_bytes, value=b"", consistency=consistency, size_bytes=_checked(len(key_bytes))
    )


def _checked(size_bytes: int) -> int:
    if size_bytes > _MAX_OPERATION_BYTES:
        raise InvalidRequest(
            f"key and value have {size_bytes} bytes; at most {_MAX_OPERATION_BYTES} can be sent"
        )
    return size_bytes


def consistency_of(level: Level | None, replicas: int | None, name: str) -> Consistency | None:
    """Return the consistency for the argument ``consistency``, or for ``r`` or ``w``; None for the default."""
    if level is None and replicas is None:
        return None
    if level is not None and replicas is not None:
        raise InvalidRequest(f"give either consistency or {name}, not both")
    if replicas is not None:
        return Consistency(replicas=checked_replicas(replicas, name))
    if not isinstance(level, str) or level not in LEVELS:
        raise InvalidRequest(f"consistency is one of {', '.join(get_args(Level))}, not {shown(level)}")
    return Consistency(level=LEVELS[level])
