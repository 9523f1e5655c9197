"""A private network with real faults: each host is a network namespace, and all are on one bridge.

Rules
- Nothing leads out of it: neither the machine's own network nor another run's can be reached, so that all
  hosts may have the same addresses in every run.
- A host's faults are rules of its own packet filter, and are replaced whole: what comes in from some hosts is
  dropped, and so is a share of what comes in at all. What a host sends to itself is never touched.
- Namespaces are named after the process that made them. It removes them, and what still runs in them, at the
  end; those of a process that died before it could are removed by the next one.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

TOOLS = {"ip": "iproute2", "nft": "nftables"}
"""By the Debian packages they come in."""
NAMESPACE = re.compile(r"covey-(\d+)-\S+")
ADDRESS = "10.213.77.{}"
FIRST_HOST = 11
CLIENT = "client"
"""The host that is always there."""
BRIDGE = "bridge0"
LINK = "link0"

_serial = count(1)


class NoNetwork(Exception):
    """Why this machine gives no network namespaces."""


class CommandFailed(Exception):
    """A command failed that should have succeeded; carries its output."""


@dataclass
class Host:
    """One namespace with one address."""

    namespace: str
    address: str
    dropped: set[str] = field(default_factory=set)
    """Addresses that nothing is taken from."""
    loss_percent: int = 0

    @property
    def prefix(self) -> tuple[str, ...]:
        """A command that runs another one on this host, as the same process."""
        return ("ip", "netns", "exec", self.namespace)

    def rules(self) -> str:
        """A script for nft that replaces the rules there are, at once."""
        lines = [f'iifname "{LINK}" ip saddr {address} drop' for address in sorted(self.dropped)]
        if self.loss_percent:
            chosen = f"numgen random mod 100 < {self.loss_percent}" if self.loss_percent < 100 else ""
            lines.append(f'iifname "{LINK}" {chosen} drop')
        chain = "\n".join(["chain input {", "type filter hook input priority 0; policy accept;", *lines, "}"])
        return f"table inet faults\ndelete table inet faults\ntable inet faults {{\n{chain}\n}}\n"


class Network:
    """Hosts by name, created when first used; all can reach each other until a fault is set."""

    def __init__(self) -> None:
        self._name = f"covey-{os.getpid()}-{next(_serial)}"
        self._switch = f"{self._name}-switch"
        self._hosts: dict[str, Host] = {}
        self._changing = threading.RLock()
        """One thread may plug a host in while another heals them all."""
        _run("ip", "netns", "add", self._switch)
        try:
            _in(self._switch, "link", "add", BRIDGE, "type", "bridge")
            _in(self._switch, "link", "set", BRIDGE, "up")
            self.host(CLIENT)  # which shows that everything needed is allowed
        except CommandFailed:
            self.close()
            raise

    def host(self, name: str) -> Host:
        with self._changing:
            if name not in self._hosts:
                self._plug_in(name, FIRST_HOST + len(self._hosts))
            return self._hosts[name]

    # --- faults ---

    def cut(self, some: Iterable[str], others: Iterable[str]) -> None:
        """Neither side hears the other."""
        sides = list(some), list(others)
        self.drop_from(*sides)
        self.drop_from(*reversed(sides))

    def drop_from(self, listeners: Iterable[str], speakers: Iterable[str]) -> None:
        """Nothing that the speakers send arrives at the listeners; what the listeners send does."""
        unheard = [self.host(name).address for name in speakers]
        for name in listeners:
            self.host(name).dropped.update(unheard)
            self._apply(self.host(name))

    def lose(self, percent: int, names: Iterable[str]) -> None:
        """Lose this share of all packets that arrive at these hosts."""
        for name in names:
            self.host(name).loss_percent = percent
            self._apply(self.host(name))

    def heal(self) -> None:
        """Everyone hears everyone, always."""
        with self._changing:
            for host in self._hosts.values():
                host.dropped.clear()
                host.loss_percent = 0
                self._apply(host)

    def close(self) -> None:
        for namespace in [*(host.namespace for host in self._hosts.values()), self._switch]:
            with suppress(CommandFailed):  # it was never made
                _remove(namespace)

    def _plug_in(self, name: str, number: int) -> None:
        host = self._hosts[name] = Host(f"{self._name}-{name}", ADDRESS.format(number))
        _run("ip", "netns", "add", host.namespace)
        port = f"port{number}"
        _in(host.namespace, "link", "add", LINK, "type", "veth", "peer", "name", port, "netns", self._switch)
        _in(self._switch, "link", "set", port, "master", BRIDGE, "up")
        _in(host.namespace, "address", "add", f"{host.address}/24", "dev", LINK)
        for interface in ("lo", LINK):
            _in(host.namespace, "link", "set", interface, "up")
        self._apply(host)

    def _apply(self, host: Host) -> None:
        _run(*host.prefix, "nft", "-f", "-", stdin=host.rules())


@contextmanager
def private_network() -> Iterator[Network]:
    """Raises NoNetwork when it cannot be had here."""
    if os.geteuid() != 0:
        raise NoNetwork("network namespaces need root")
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            raise NoNetwork(f"network namespaces with faults need {tool} (Debian's package {package})")
    try:
        remove_leftovers()
        network = Network()
    except CommandFailed as refused:
        raise NoNetwork(str(refused)) from refused
    try:
        yield network
    finally:
        network.close()


def remove_leftovers() -> None:
    """Namespaces whose makers are dead."""
    for line in _run("ip", "netns", "list").splitlines():
        made = NAMESPACE.match(line)
        if made is not None and not _alive(int(made[1])):
            with suppress(CommandFailed):  # another run removed it just now
                _remove(made[0])


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _remove(namespace: str) -> None:
    for process in _run("ip", "netns", "pids", namespace).split():
        with suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)
    _run("ip", "netns", "delete", namespace)


def _in(namespace: str, *arguments: str) -> None:
    _run("ip", "-n", namespace, *arguments)


def _run(*command: str, stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
