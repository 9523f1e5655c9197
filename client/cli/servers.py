"""The addresses that a command connects to: --server, else COVEY_SERVER, else the seeds of ./seeds.json, else loopback.

Of seeds.json only the keys that a client needs are checked here; nodes check all of it.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...api.address import NotAnAddress, parse_address
from .exits import CommandError
from .output import print_note, quoted

SEED_FILE = Path("seeds.json")
ENVIRONMENT_VARIABLE = "COVEY_SERVER"
DEFAULT_ADDRESS = "127.0.0.1:7001"
RESOLVER_TIMEOUT_S = 1.0
MAX_FILE_BYTES = 1 << 20
MAX_SEEDS = 1000
MAX_DIGITS = 20
MAX_CLUSTER_SIZE = 100


def choose_servers(
    flags: Sequence[str] | None,
    environment: Mapping[str, str] = os.environ,
    seed_file: Path = SEED_FILE,
    note: Callable[[str], None] = print_note,
) -> tuple[str, ...]:
    """Return the addresses to try. Raise CommandError if one is malformed.

    At least one host of ``--server`` must be resolvable now; the hosts of the other sources may become so later.
    """
    if flags:
        addresses = _listed(",".join(flags), "--server")
        if all(_is_unknown(split_address(address)[0]) for address in addresses):
            raise CommandError(
                f"--server: there is no host of the name in {', '.join(addresses)}. Nothing was done."
            )
        return addresses
    if servers := environment.get(ENVIRONMENT_VARIABLE, "").replace(",", " ").strip():
        return _listed(",".join(servers.split()), ENVIRONMENT_VARIABLE)
    content = read_seed_file(seed_file)
    if content is not None and not content.seeds:
        note(f"{seed_file} lists no seeds: using {DEFAULT_ADDRESS}")
    return (content.seeds if content else ()) or (DEFAULT_ADDRESS,)


def _listed(text: str, origin: str) -> tuple[str, ...]:
    return tuple(_checked(part.strip(), origin) for part in text.split(","))


def split_address(address: str) -> tuple[str, int]:
    """Return the host (an IPv6 address without its brackets) and port. Raise ValueError for a malformed address."""
    try:
        return parse_address(address)
    except NotAnAddress:
        raise ValueError(
            f"{quoted(address)} is not HOST:PORT, such as {DEFAULT_ADDRESS} or [::1]:7001"
        ) from None


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _checked(address: str, origin: str) -> str:
    try:
        split_address(address)
    except ValueError as error:
        raise CommandError(f"{origin}: {error}") from error
    return address


def _is_unknown(host: str) -> bool:
    """Return True if the resolver answers that there is no such host; False if it is slow or fails."""
    if _is_ip(host):
        return False
    unknown: list[bool] = []

    def resolve() -> None:
        try:
            socket.getaddrinfo(host, None)
        except socket.gaierror as error:
            unknown.append(error.errno == socket.EAI_NONAME)

    # The resolver of the C library cannot be given a time limit.
    resolving = threading.Thread(target=resolve, daemon=True)
    resolving.start()
    resolving.join(RESOLVER_TIMEOUT_S)
    return any(unknown)


@dataclass(frozen=True)
class SeedFile:
    seeds: tuple[str, ...]
    cluster_size: int | None


def read_seed_file(path: Path) -> SeedFile | None:
    """Read a seed file. Return None if it does not exist. Raise CommandError if it is malformed."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error
    if len(text) > MAX_FILE_BYTES:
        raise CommandError(f"{path}: longer than {MAX_FILE_BYTES} bytes")
    try:
        content = json.loads(text, parse_int=_whole_number)
    except RecursionError:
        raise CommandError(f"{path}: not a seed file: nested too deeply") from None
    except ValueError as error:
        raise CommandError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise CommandError(f"{path}: expected an object with a list of seeds")
    return SeedFile(_seeds(content, path), _cluster_size(content, path))


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _seeds(content: dict[str, Any], path: Path) -> tuple[str, ...]:
    name = "seeds" if "seeds" in content else "servers"
    seeds = content.get(name, [])
    if not isinstance(seeds, list):
        raise CommandError(f"{path}: {name}: {quoted(seeds)} is not a list of HOST:PORT")
    if len(seeds) > MAX_SEEDS:
        raise CommandError(f"{path}: {name}: {len(seeds)} seeds, more than {MAX_SEEDS}")
    return tuple(_checked(_seed_address(seed), f"{path}: {name}") for seed in seeds)


def _seed_address(seed: Any) -> str:
    """Return the address of a seed: ``host:port``, or in the older form an object with id, ip and port."""
    if isinstance(seed, dict):
        ip = str(seed.get("ip", ""))
        return f"{f'[{ip}]' if ':' in ip else ip}:{seed.get('port', '')}"
    return str(seed)


def _cluster_size(content: dict[str, Any], path: Path) -> int | None:
    size = content.get("cluster_size")
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_CLUSTER_SIZE:
        raise CommandError(
            f"{path}: cluster_size: {quoted(size)} is not a whole number of nodes from 1 to {MAX_CLUSTER_SIZE}"
        )
    return size
