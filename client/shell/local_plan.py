"""Which nodes a local cluster consists of, and where each of them listens, keeps its data and logs."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .exits import CommandError
from .servers import SEED_FILE, read_seed_file, split_address

DEFAULT_SIZE = 3
DEFAULT_BASE_PORT = 7001
SEEDS_WITHOUT_FILE = 3
LOOPBACK = "127.0.0.1"
LOG_FOLDER = Path("logs")


@dataclass(frozen=True)
class NodePlan:
    name: str
    address: str
    data: Path
    log: Path


@dataclass(frozen=True)
class ClusterPlan:
    nodes: tuple[NodePlan, ...]
    seeds: tuple[str, ...]
    """Addresses of the first nodes; all of them are needed to form the cluster."""
    config: Path | None
    data: Path


def plan_cluster(size: int | None, data: Path, config: Path | None, base_port: int | None) -> ClusterPlan:
    """Nodes n1, n2 ... on the seeds' addresses, more on free ports after them. Raises CommandError."""
    content = read_seed_file(config or SEED_FILE)
    if config is not None and content is None:
        raise CommandError(f"--config: there is no file {config}")
    size = size or (content.cluster_size if content else None) or DEFAULT_SIZE
    listed = content.seeds if content and base_port is None else ()
    seeds = listed[:size] or _numbered_seeds(base_port or DEFAULT_BASE_PORT, size)
    for seed in seeds:
        _require_free(seed)
    addresses = [*seeds, *_free_addresses_after(seeds, size - len(seeds))]
    return ClusterPlan(
        nodes=tuple(
            NodePlan(f"n{n}", address, data / f"n{n}", LOG_FOLDER / f"server_n{n}.log")
            for n, address in enumerate(addresses, start=1)
        ),
        seeds=tuple(seeds),
        config=None if content is None else config or SEED_FILE,
        data=data,
    )


def _numbered_seeds(base_port: int, size: int) -> tuple[str, ...]:
    return tuple(f"{LOOPBACK}:{base_port + n}" for n in range(min(size, SEEDS_WITHOUT_FILE)))


def _free_addresses_after(seeds: Sequence[str], count: int) -> Iterator[str]:
    port = max(split_address(seed)[1] for seed in seeds)
    while count:
        port += 1
        if _is_free(LOOPBACK, port):
            count -= 1
            yield f"{LOOPBACK}:{port}"


def _require_free(seed: str) -> None:
    if not _is_free(*split_address(seed)):
        raise CommandError(
            f"{seed} is in use; end what listens there, or choose other ports with --base-port"
        )


def _is_free(host: str, port: int) -> bool:
    """Whether nobody listens there now. Other trouble with the address is for the node to tell."""
    if port > 65535:
        raise CommandError(f"no free ports left up to 65535 on {host}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True
