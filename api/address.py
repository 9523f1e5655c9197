"""Addresses: ``host:port``, an IPv6 host in brackets."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from ..errors import ConfigurationError
from .json_file import cut

MAX_PORT = 65535
IP4_LIKE = re.compile(r"[0-9.]+")
"""Matches what is meant as an IPv4 address: the last label of a name has a letter."""


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, *, any_port: bool = False) -> Address:
    """Read ``host:port``. Port 0 is taken only with ``any_port``: one can listen there, but not be reached.

    Raises ConfigurationError for anything else.
    """
    host, separator, port = text.strip().rpartition(":")
    if not host or not separator:
        raise ConfigurationError(
            f"{cut(text)!r} is not an address: expected host:port, such as 127.0.0.1:7001"
        )
    return Address(_parse_host(host, text), _parse_port(port, text, 0 if any_port else 1))


def _parse_host(host: str, text: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        if not _is_ipv6(host[1:-1]):
            raise ConfigurationError(
                f"{cut(text)!r} is not an address: {cut(host[1:-1])!r} is not an IPv6 address"
            )
        return host[1:-1]
    if _is_ipv6(host) or _is_ipv6(text):
        raise ConfigurationError(
            f"{cut(text)!r} is ambiguous: write an IPv6 address in brackets, such as [::1]:7001"
        )
    if IP4_LIKE.fullmatch(host) and not _is_ipv4(host):
        raise ConfigurationError(f"{text!r} is not an address: {host!r} is not an IPv4 address")
    if not host.isprintable() or any(character in host for character in " []/:@"):
        raise ConfigurationError(f"{cut(text)!r} is not an address: {cut(host)!r} is not a host name")
    return host


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _parse_port(port: str, text: str, lowest: int) -> int:
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and lowest <= int(port) <= MAX_PORT):
        raise ConfigurationError(
            f"{cut(text)!r} is not an address: its port must be from {lowest} to {MAX_PORT}"
        )
    return int(port)


def is_loopback(address: Address) -> bool:
    """Whether only this machine can reach what listens there; of names, localhost alone counts."""
    if address.host.rstrip(".").lower() == "localhost":
        return True
    ip = _ip(address)
    return ip is not None and ip.is_loopback


def is_unspecified(address: Address) -> bool:
    """Return whether the host is a wildcard for listening, to which nothing can connect: 0.0.0.0 and ``::``."""
    ip = _ip(address)
    return ip is not None and ip.is_unspecified


def _ip(address: Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None for a name; an IPv4 address that is written as an IPv6 one as what it is."""
    try:
        ip = ipaddress.ip_address(address.host)
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip
