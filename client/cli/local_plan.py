"""The nodes of a local cluster: addresses, data folders and log files, and what prevents them from starting."""

from __future__ import annotations

import errno
import fcntl
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .exits import CommandError
from .servers import SEED_FILE, read_seed_file, split_address

DEFAULT_SIZE = 3
DEFAULT_BASE_PORT = 7001
SEEDS_WITHOUT_FILE = 3
LOOPBACK = "127.0.0.1"
LOG_FOLDER = Path("logs")
FLAG_OF_SETTING = {"cluster_size": "--size N", "seeds": "a file with --config, or --base-port P"}
"""Settings that the plan decides before any node reads its settings, and what to give instead."""
NODE_LOCK = "lock"
"""File in a node's data folder, locked while its process runs, which contains the process id."""
MAX_PID_DIGITS = 10


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
    """Addresses of the first nodes, all of which are needed to form the cluster."""
    config: Path | None
    data: Path
    settings: tuple[str, ...] = ()
    """KEY=VALUE, passed to every node."""


def plan_cluster(
    size: int | None,
    data: Path,
    *,
    config: Path | None = None,
    base_port: int | None = None,
    settings: Sequence[str] = (),
) -> ClusterPlan:
    """Plan nodes n1, n2 ... on the addresses of the seeds, then on free ports above them. Raise CommandError."""
    for setting in settings:
        if setting.partition("=")[0] in FLAG_OF_SETTING:
            raise CommandError(f"--set {setting}: use {FLAG_OF_SETTING[setting.partition('=')[0]]} instead")
    content = read_seed_file(config or SEED_FILE)
    if config is not None and content is None:
        raise CommandError(f"--config: there is no file {config}")
    size = size or (content.cluster_size if content else None) or DEFAULT_SIZE
    listed = tuple(dict.fromkeys(content.seeds)) if content and base_port is None else ()
    seeds = listed[:size] or _numbered_seeds(base_port or DEFAULT_BASE_PORT, size)
    addresses = [*seeds, *_addresses_after(seeds, size - len(seeds))]
    return ClusterPlan(
        nodes=tuple(
            NodePlan(name=f"n{n}", address=address, data=data / f"n{n}", log=LOG_FOLDER / f"server_n{n}.log")
            for n, address in enumerate(addresses, start=1)
        ),
        seeds=tuple(seeds),
        config=None if content is None else config or SEED_FILE,
        data=data,
        settings=tuple(settings),
    )


def _numbered_seeds(base_port: int, size: int) -> tuple[str, ...]:
    return tuple(f"{LOOPBACK}:{base_port + n}" for n in range(min(size, SEEDS_WITHOUT_FILE)))


def _addresses_after(seeds: Sequence[str], count: int) -> Iterator[str]:
    """Yield ``count`` free addresses. Seeds are checked later: a node of an earlier run may still listen there."""
    port = max(split_address(seed)[1] for seed in seeds)
    while count:
        port += 1
        if port > 65535:
            raise CommandError(f"no free port up to 65535 on {LOOPBACK}")
        with socket.socket() as probe:
            if _bind_fault(probe, LOOPBACK, port) is None:
                count -= 1
                yield f"{LOOPBACK}:{port}"


def check_seeds(plan: ClusterPlan) -> None:
    """Raise CommandError unless every seed is a free address on this machine's loopback interface."""
    with ExitStack() as probes:
        for seed in plan.seeds:
            host, port = _loopback(seed)
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            # Open until all are checked, so that two names of one address conflict.
            probe = probes.enter_context(socket.socket(family))
            fault = _bind_fault(probe, host, port)
            if fault is None:
                probe.listen()
            elif fault.errno == errno.EADDRINUSE:
                raise CommandError(
                    f"{seed} is in use; end the process that listens there, or choose other ports with --base-port"
                )
            else:
                raise CommandError(f"{seed}: no node can listen there: {fault.strerror}")


def _loopback(seed: str) -> tuple[str, int]:
    """Return the IP address and port of a seed. Raise CommandError if it is not on the loopback interface."""
    host, port = split_address(seed)
    try:
        ip = str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise CommandError(f"{seed}: no node can listen there: {error.strerror}") from error
    if not (ip.startswith("127.") or ip == "::1"):
        raise CommandError(
            f"{seed} is not on the loopback interface of this machine, where `covey up` runs all its nodes;"
            " choose ports there with --base-port, or start each node with `covey node`"
        )
    return ip, port


def _bind_fault(probe: socket.socket, host: str, port: int) -> OSError | None:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((host, port))
    except OSError as error:
        return error
    return None


def still_running(nodes: Iterable[NodePlan]) -> dict[str, int]:
    """Return the process ids, by node name, of the processes that have locked data folders of ``nodes``."""
    holders = ((node.name, _holder(node.data / NODE_LOCK)) for node in nodes)
    return {name: holder for name, holder in holders if holder is not None}


def _holder(lock_file: Path) -> int | None:
    """Return the id of the process that has locked the file, 0 if it is unreadable, or None if no process has."""
    try:
        with lock_file.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        content = lock_file.read_bytes()[:MAX_PID_DIGITS]
        return int(content) if content.isdigit() else 0
    except OSError:
        return None
    return None
