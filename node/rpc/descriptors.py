"""Divides the descriptors (open files and connections) that the system allows this process.

A process without free descriptors cannot open the files of its storage, which ends it, or connect to peers. So the
storage, the node itself and its calls to peers each have a part that incoming connections cannot use.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Final

from ..errors import ConfigurationError

MIN_DESCRIPTORS: Final = 256
"""Minimum number of descriptors with which a node starts."""
OWN: Final = 64
"""Logs, locks, the loop, gRPC's polling, and files that are open for a moment."""
STORAGE_BESIDE_TABLES: Final = 32
MAX_TABLES: Final = 128
MIN_TABLES: Final = 32
MAX_LINKS: Final = 1024
CONNECTIONS_PER_LINK: Final = 3
CALLS: Final = 4
"""Divisor of the descriptors that gives those for connections to peers."""


@dataclass(frozen=True, slots=True)
class DescriptorBudget:
    tables: int
    """Table files that the storage keeps open."""
    links: int
    """Peers that are called at a time."""
    connections: int
    """Connections taken from outside."""


def budget_of(limit: int, max_connections: int) -> DescriptorBudget:
    """Divide this many descriptors. Raise ConfigurationError when they are too few to serve."""
    if limit < MIN_DESCRIPTORS:
        raise ConfigurationError(
            f"this process may have {limit} files and connections open; a node needs at least "
            f"{MIN_DESCRIPTORS}: raise the limit (ulimit -n, or LimitNOFILE in a systemd unit)"
        )
    tables = min(MAX_TABLES, max(MIN_TABLES, limit // 8))
    links = min(MAX_LINKS, limit // (CALLS * CONNECTIONS_PER_LINK))
    left = limit - OWN - STORAGE_BESIDE_TABLES - tables - CONNECTIONS_PER_LINK * links
    return DescriptorBudget(tables, links, min(max_connections, left))


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one; return the limit that then holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # such as an unlimited hard limit beyond what the system has
        return soft
    return hard if hard != resource.RLIM_INFINITY else MAX_OPEN


MAX_OPEN: Final = 1 << 20
"""The number that represents an unlimited value."""
