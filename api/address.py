"""Addresses: ``host:port``, an IPv6 host in brackets."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple

MAX_PORT = 65535
MAX_HOST_LENGTH = 253
MAX_SHOWN = 80
"""Maximum number of characters of a text that an error repeats."""
_HOST_NAME = re.compile(r"[\w-]+(\.[\w-]+)*\.?")
_LIKE_IPV4 = re.compile(r"[0-9.]+")
"""Matches what is meant as an IPv4 address: the last label of a name has a letter."""


class NotAnAddress(ValueError):
    """A text that is not an address; the message repeats it and names what is allowed."""


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can reach what listens there; of names, only localhost counts."""
        if self.host.rstrip(".").lower() == "localhost":
            return True
        ip = self._ip
        return ip is not None and ip.is_loopback

    @property
    def is_unspecified(self) -> bool:
        """True if the host is a wildcard for listening, to which nothing can connect: 0.0.0.0 and ``::``."""
        ip = self._ip
        return ip is not None and ip.is_unspecified

    @property
    def _ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The IP address, as IPv4 if it is IPv4 mapped into IPv6; None for a name."""
        try:
            ip = ipaddress.ip_address(self.host)
        except ValueError:
            return None
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        return mapped or ip


def parse_address(text: str, *, any_port: bool = False) -> Address:
    """Parse ``host:port``; raise NotAnAddress. Port 0 is allowed only with ``any_port``: for listening."""
    host, separator, port = text.strip().rpartition(":")
    if not host or not separator:
        raise NotAnAddress(f"{_cut(text)!r} is not an address: expected host:port, such as 127.0.0.1:7001")
    return Address(_parse_host(host, text), _parse_port(port, text, 0 if any_port else 1))


def _parse_host(host: str, text: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        if not _is_ipv6(host[1:-1]):
            raise NotAnAddress(
                f"{_cut(text)!r} is not an address: {_cut(host[1:-1])!r} is not an IPv6 address"
            )
        return host[1:-1]
    if _is_ipv6(host) or _is_ipv6(text):
        raise NotAnAddress(
            f"{_cut(text)!r} is ambiguous: write an IPv6 address in brackets, such as [::1]:7001"
        )
    if _LIKE_IPV4.fullmatch(host) and not _is_ip(ipaddress.IPv4Address, host):
        raise NotAnAddress(f"{_cut(text)!r} is not an address: {_cut(host)!r} is not an IPv4 address")
    if len(host) > MAX_HOST_LENGTH or not _HOST_NAME.fullmatch(host):
        raise NotAnAddress(f"{_cut(text)!r} is not an address: {_cut(host)!r} is not a host name")
    return host


def _is_ipv6(text: str) -> bool:
    return _is_ip(ipaddress.IPv6Address, text)


def _is_ip(kind: Callable[[str], object], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _parse_port(port: str, text: str, lowest: int) -> int:
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and lowest <= int(port) <= MAX_PORT):
        raise NotAnAddress(f"{_cut(text)!r} is not an address: its port must be from {lowest} to {MAX_PORT}")
    return int(port)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
