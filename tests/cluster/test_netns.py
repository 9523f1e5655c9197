"""The network that tests break: what it cuts is cut, and nothing of it stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.network_namespaces import Network, NoNetwork, private_network

pytestmark = pytest.mark.smoke

CONNECT = """
import socket, sys
with socket.socket() as s:
    s.settimeout(0.5)
    try: s.connect((sys.argv[1], 9))
    except ConnectionRefusedError: print("hears")
    except TimeoutError: print("nothing")
"""
"""No process listens at this port: a host that is reached refuses the connection."""


@pytest.fixture
def network() -> Iterator[Network]:
    try:
        with private_network() as made:
            yield made
    except NoNetwork as reason:
        pytest.skip(str(reason))


def reaches(network: Network, speaker: str, listener: str) -> bool:
    command = [*network.host(speaker).prefix, sys.executable, "-c", CONNECT, network.host(listener).address]
    said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    assert said in ("hears", "nothing")
    return said == "hears"


def namespaces() -> str:
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout


def test_a_cut_is_between_two_sides_alone_until_it_is_healed(network: Network) -> None:
    assert reaches(network, "a", "b")
    network.cut(["a"], ["b"])
    assert not reaches(network, "a", "b")
    assert not reaches(network, "b", "a")
    assert reaches(network, "a", "c") and reaches(network, "c", "b"), "who hears whom need not be transitive"
    network.heal()
    assert reaches(network, "a", "b")


def test_a_deaf_host_is_heard(network: Network) -> None:
    receive = (
        "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 9)); print(1, flush=True); "
    )
    receive += "s.settimeout(10); print(s.recv(9))"
    network.host("a")
    network.drop_from(["a"], ["b"])
    command = [*network.host("b").prefix, sys.executable, "-c", receive]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None and listener.stdout.readline() == "1\n"
        send = f"import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('{network.host('b').address}', 9))"
        subprocess.run([*network.host("a").prefix, sys.executable, "-c", send], timeout=20, check=True)
        assert listener.stdout.readline() == "b'x'\n"
    assert not reaches(network, "b", "a"), "no answer comes back: it does not hear"


def test_all_may_be_lost(network: Network) -> None:
    for name in ("a", "b"):
        network.host(name)
    network.lose(100, ["a", "b"])
    assert not reaches(network, "a", "b")
    assert reaches(network, "a", "a"), "what a host says to itself is not lost"


def test_nothing_leads_out(network: Network) -> None:
    command = [*network.host("a").prefix, "ip", "route", "show", "default"]
    assert subprocess.run(command, capture_output=True, timeout=20, check=True).stdout == b""


def test_nothing_stays_behind_after_a_failure() -> None:
    def fail() -> None:
        with private_network() as network:
            left = subprocess.Popen([*network.host("a").prefix, "sleep", "60"])
            running.append(left)
            raise LookupError

    running: list[subprocess.Popen[bytes]] = []
    try:
        with pytest.raises(LookupError):
            fail()
    except NoNetwork as reason:
        pytest.skip(str(reason))
    assert running[0].wait(10) != 0
    assert f"covey-{os.getpid()}-" not in namespaces()


def test_what_a_killed_run_left_is_removed_by_the_next(network: Network) -> None:
    killed = subprocess.Popen(["true"])
    killed.wait()
    left = f"covey-{killed.pid}-1-a"
    subprocess.run(["ip", "netns", "add", left], timeout=20, check=True)
    with private_network():
        assert left not in namespaces()
    assert f"covey-{os.getpid()}-" in namespaces(), "this run's own stays"
