"""The addresses a client is given."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import InvalidRequest


def checked_addresses(given: str | Iterable[str]) -> tuple[str, ...]:
    """One or more host:port, each once, in the given order; raises InvalidRequest for anything else."""
    addresses = tuple(dict.fromkeys([given] if isinstance(given, str) else given))
    if not addresses:
        raise InvalidRequest("a client needs the address of at least one node, as host:port")
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise InvalidRequest(f"not an address (host:port): {address!r}")
    return addresses
