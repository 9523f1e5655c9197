"""Checks of callers' arguments. Each check raises InvalidRequest with one sentence, before anything is sent.

This module loads neither gRPC nor protobuf, so that a client can be made without them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

from ..api.address import NotAnAddress, parse_address
from .errors import InvalidRequest

MAX_TIMEOUT_S = 86_400.0
"""The longest timeout: a day. "No limit" (inf) is refused, since nodes need one as well."""
MAX_REPLICAS = 15
"""The largest replication factor that a cluster can have."""
MAX_NAME_BYTES = 255
MAX_SHOWN_CHARACTERS = 80
"""Maximum number of characters of a refused argument that a message repeats."""

MAX_ADDRESSES = 1000

_Key = TypeVar("_Key", bound=Hashable)


def checked_addresses(given: object) -> tuple[str, ...]:
    """Return the addresses as host:port, without duplicates, in order. A string may have several, with commas."""
    if isinstance(given, str):
        given = [given]
    if isinstance(given, bytes | Mapping) or not isinstance(given, Iterable):
        raise InvalidRequest(f"addresses are text (host:port) or a list of such, not {shown(given)}")
    addresses: dict[str, None] = {}
    for text in given:
        if not isinstance(text, str):
            raise InvalidRequest(f"an address is text (host:port), not {shown(text)}")
        try:
            addresses.update((str(parse_address(part)), None) for part in text.split(","))
        except NotAnAddress as error:
            raise InvalidRequest(str(error)) from None
        if len(addresses) > MAX_ADDRESSES:
            raise InvalidRequest(f"a client takes at most {MAX_ADDRESSES} addresses")
    if not addresses:
        raise InvalidRequest("a client needs the address of at least one node, as host:port")
    return tuple(addresses)


def checked_timeout(timeout_s: object) -> float:
    """Return the timeout in seconds."""
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float):
        raise InvalidRequest(f"timeout is a number of seconds, not {shown(timeout_s)}")
    if not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise InvalidRequest(
            f"timeout is a number of seconds above 0 and at most {MAX_TIMEOUT_S:.0f}, not {shown(timeout_s)}"
        )
    return float(timeout_s)


def checked_replicas(replicas: object, name: str) -> int:
    """Return the number of replicas that ``r`` or ``w`` asks for."""
    if isinstance(replicas, bool) or not isinstance(replicas, int) or not 1 <= replicas <= MAX_REPLICAS:
        raise InvalidRequest(
            f"{name} is a whole number of replicas from 1 to {MAX_REPLICAS}, not {shown(replicas)}"
        )
    return replicas


def checked_node_name(name: object) -> str:
    """Return the name of a node."""
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"a node's name is text, not {shown(name)}")
    try:
        size_bytes = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"the name {shown(name)} cannot be written as UTF-8") from error
    if size_bytes > MAX_NAME_BYTES:
        raise InvalidRequest(f"a node's name has at most {MAX_NAME_BYTES} bytes, not {size_bytes}")
    return name


def checked_items(items: object) -> None:
    """Check the argument of ``put_many``, a mapping of keys to values."""
    if not isinstance(items, Mapping):
        raise InvalidRequest(f"put_many takes a mapping of keys to values, not {shown(items)}")
    _check_types(items, "key")
    _check_types(items.values(), "value")


def checked_keys(keys: Iterable[_Key]) -> list[_Key]:
    """Return the keys that ``get_many`` is given, without duplicates."""
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise InvalidRequest(f"get_many takes several keys, for instance a list, not {shown(keys)}")
    try:
        unique = list(dict.fromkeys(keys))
    except TypeError as error:  # what cannot be hashed is neither str nor bytes
        raise InvalidRequest(f"a key is str or bytes: {error}") from error
    _check_types(unique, "key")
    return unique


def _check_types(texts: Iterable[object], what: str) -> None:
    for kind in set(map(type, texts)):
        if not issubclass(kind, str | bytes):
            raise wrong_type(what, kind)


def wrong_type(what: str, kind: type) -> InvalidRequest:
    return InvalidRequest(f"a {what} is str or bytes, not {kind.__name__}")


def shown(value: object) -> str:
    """Return a short description of an argument for a message."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        return f"a number of {value.bit_length()} bits"  # repr refuses to convert very long numbers
    if not isinstance(value, str | bytes | int | float | bool | None):
        return type(value).__name__
    text = repr(value[:MAX_SHOWN_CHARACTERS] if isinstance(value, str | bytes) else value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "…"
