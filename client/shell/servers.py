"""Which nodes a command talks to: --server, else COVEY_SERVER, else the seeds of ./seeds.json, else loopback.

Only what the client needs of seeds.json is read here; the nodes check the whole of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .exits import CommandError

SEED_FILE = Path("seeds.json")
ENVIRONMENT_VARIABLE = "COVEY_SERVER"
DEFAULT_ADDRESS = "127.0.0.1:7001"
MAX_FILE_BYTES = 1 << 20
"""Of seeds.json; as a node reads it."""


def choose_servers(
    flags: Sequence[str] | None,
    environment: Mapping[str, str] = os.environ,
    seed_file: Path = SEED_FILE,
) -> tuple[str, ...]:
    """The addresses to try. Raises CommandError when what was given is no address."""
    if flags:
        return tuple(_checked(address, "--server") for address in flags)
    listed = [part.strip() for part in environment.get(ENVIRONMENT_VARIABLE, "").split(",")]
    if any(listed):
        return tuple(_checked(address, ENVIRONMENT_VARIABLE) for address in listed if address)
    content = read_seed_file(seed_file)
    return (content.seeds if content else ()) or (DEFAULT_ADDRESS,)


def split_address(address: str) -> tuple[str, int]:
    """Host (an IPv6 one without its brackets) and port; ValueError for anything else."""
    host, separator, port = address.rpartition(":")
    if not host or not separator or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is not HOST:PORT, such as {DEFAULT_ADDRESS}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _checked(address: str, origin: str) -> str:
    try:
        split_address(address)
    except ValueError as error:
        raise CommandError(f"{origin}: {error}") from error
    return address


@dataclass(frozen=True)
class SeedFile:
    seeds: tuple[str, ...]
    cluster_size: int | None


def read_seed_file(path: Path) -> SeedFile | None:
    """None when there is no such file. Raises CommandError when it cannot be understood."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            raise CommandError(f"{path}: it is longer than {MAX_FILE_BYTES} bytes")
        content = json.loads(text)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error
    except RecursionError as error:
        raise CommandError(f"{path}: it is nested too deeply") from error
    except ValueError as error:
        raise CommandError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise CommandError(f"{path}: expected an object with a list of seeds")
    return SeedFile(_seeds(content, path), _cluster_size(content, path))


def _seeds(content: dict[str, Any], path: Path) -> tuple[str, ...]:
    name = "seeds" if "seeds" in content else "servers"
    seeds = content.get(name, [])
    if not isinstance(seeds, list):
        raise CommandError(f"{path}: {name}: {seeds!r} is not a list of HOST:PORT")
    return tuple(_checked(_seed_address(seed), f"{path}: {name}") for seed in seeds)


def _seed_address(seed: Any) -> str:
    """A seed is ``host:port``, or in the older form an object with id, ip and port."""
    if isinstance(seed, dict):
        return f"{seed.get('ip', '')}:{seed.get('port', '')}"
    return str(seed)


def _cluster_size(content: dict[str, Any], path: Path) -> int | None:
    size = content.get("cluster_size")
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise CommandError(f"{path}: cluster_size: {size!r} is not a whole number of nodes, at least 1")
    return size
