"""The addresses a client is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .arguments import shown
from .errors import InvalidRequest

MAX_ADDRESSES = 1000
MAX_HOST_LENGTH = 255
MAX_PORT_DIGITS = 5


def checked_addresses(given: object) -> tuple[str, ...]:
    """Return the addresses as host:port, each once, in the given order. Commas separate addresses in a text."""
    if isinstance(given, str):
        given = [given]
    if isinstance(given, bytes | Mapping) or not isinstance(given, Iterable):
        raise InvalidRequest(f"addresses are text (host:port) or a list of such, not {shown(given)}")
    addresses: dict[str, None] = {}
    for text in given:
        if not isinstance(text, str):
            raise InvalidRequest(f"an address is text (host:port), not {shown(text)}")
        for part in text.split(","):
            addresses[_checked_address(part.strip(), text)] = None
        if len(addresses) > MAX_ADDRESSES:
            raise InvalidRequest(f"a client takes at most {MAX_ADDRESSES} addresses")
    if not addresses:
        raise InvalidRequest("a client needs the address of at least one node, as host:port")
    return tuple(addresses)


def _checked_address(address: str, text: str) -> str:
    host, _, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    valid_host = 0 < len(host) <= MAX_HOST_LENGTH and host.isprintable() and " " not in host
    valid_port = port.isascii() and port.isdigit() and len(port) <= MAX_PORT_DIGITS and 0 < int(port) < 65536
    if not valid_host or not valid_port or (":" in host and not bracketed):
        raise InvalidRequest(f"not an address (host:port): {shown(text)}")
    return address
