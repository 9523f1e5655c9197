"""What goes wrong by people's hands: each a line or two that say what is wrong and what to do, the right exit
code, no traceback anywhere, and nothing lost.
"""

from __future__ import annotations

import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import pytest

from covey.client.errors import CoveyError, InvalidRequest
from tests.support.processes import NodeProcess, ProcessCluster, covey, free_ports, process_cluster, until
from tests.support.workload import PacedLoad

DONE, NOT_FOUND, USAGE, NOT_DONE, REFUSED, MAYBE_DONE = range(6)
MAX_STOP_S = 3.0
LOOPBACK = "127.0.0.1"
ANY_PORT = f"{LOOPBACK}:0"


def plain(text: str) -> str:
    """What a person was told, after seeing that it is short and no traceback."""
    assert "Traceback" not in text
    assert 1 <= len(text.strip().splitlines()) <= 2, text
    return text


def told(done: subprocess.CompletedProcess[bytes], code: int) -> str:
    assert done.returncode == code, (done.returncode, done.stderr.decode())
    return plain(done.stderr.decode())


def told_by_node(node: NodeProcess, code: int) -> str:
    """Of a node that ends by itself."""
    assert node.exited() == code
    return plain(node.errors_file.read_text())


def node_command(
    data: Path, *arguments: str, name: str = "n1", listen: str = ANY_PORT, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """A node that is expected to refuse its command line."""
    command = ["node", "--name", name, "--listen", listen, "--data", str(data), *arguments]
    return subprocess.run(
        [sys.executable, "-m", "covey", *command],
        capture_output=True,
        timeout=20,
        check=False,
        env=os.environ | environment,
    )


@contextmanager
def clean_cluster(folder: Path, **settings: str) -> Iterator[ProcessCluster]:
    """A cluster none of whose nodes logs a traceback or says one on stderr."""
    folder.mkdir(exist_ok=True)
    with process_cluster(folder, **settings) as cluster:
        yield cluster
        for node in cluster.nodes.values():
            assert not [line for line in node.log() if "traceback" in line], node.name
            assert "Traceback" not in node.errors_file.read_text(), node.name


def reasons(node: NodeProcess, event: str) -> str:
    return "\n".join(line["reason"] for line in node.events(event))


def stop_quickly(node: NodeProcess) -> None:
    began = time.monotonic()
    assert node.stop() == DONE
    assert time.monotonic() - began < MAX_STOP_S


# --- configuration ---


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (
            "replicaton_factor=3",
            "--set: unknown setting 'replicaton_factor'; did you mean replication_factor?",
        ),
        ("evict_after=soon", "--set: evict_after=soon: must be a number of seconds, at least 1"),
        ("evict_after", "'evict_after' is not KEY=VALUE"),
        ("write_quorum=1", "write_quorum = 1 (--set), replication_factor = 3 (default)"),
    ],
)
def test_settings_of_flags_that_cannot_be(tmp_path: Path, setting: str, expected: str) -> None:
    assert expected in told(node_command(tmp_path / "d", "--set", setting), USAGE)
    assert not (tmp_path / "d").exists()


def test_settings_of_the_environment_that_cannot_be(tmp_path: Path) -> None:
    unknown = node_command(tmp_path / "d", COVEY_SET_EVICT_AFTR="9")
    assert "COVEY_SET_EVICT_AFTR: unknown setting 'evict_aftr'; did you mean evict_after?" in told(
        unknown, USAGE
    )
    mistyped = node_command(tmp_path / "d", COVEY_SET_EVICT_AFTER="soon")
    assert "COVEY_SET_EVICT_AFTER=soon: must be a number of seconds" in told(mistyped, USAGE)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"seds": []}', "unknown setting 'seds'; did you mean seeds?"),
        ('{"seeds": "127.0.0.1:1"}', "must be a list of host:port"),
        ('{"seeds": ["n1"]}', "'n1' is not an address"),
        ('{"read_quorum": 9}', "read_quorum = 9"),
        ('{"read_quorum": 2,}', "not JSON"),
        ("[]", "must be a JSON object"),
        (None, "No such file"),
    ],
)
def test_a_file_that_cannot_be(tmp_path: Path, content: str | None, expected: str) -> None:
    file = tmp_path / "seeds.json"
    if content is not None:
        file.write_text(content)
    said = told(node_command(tmp_path / "d", "--config", str(file)), USAGE)
    assert expected in said
    assert str(file) in said


@pytest.mark.parametrize("weight", ["0", "-1", "101", "nan", "inf", "heavy"])
def test_a_weight_that_cannot_be(tmp_path: Path, weight: str) -> None:
    assert "--weight" in told(node_command(tmp_path / "d", "--weight", weight), USAGE)


@pytest.mark.parametrize(
    ("listen", "arguments", "expected"),
    [
        ("0.0.0.0:0", (), "say --insecure if that is meant"),
        ("0.0.0.0:0", ("--insecure",), "say by --advertise at which address others reach it"),
        ("192.0.2.1:7001", ("--insecure",), "cannot listen at 192.0.2.1:7001"),
        (LOOPBACK, (), "--listen: '127.0.0.1' is not an address"),
        (ANY_PORT, ("--seed", "n1"), "--seed: 'n1' is not an address"),
        (ANY_PORT, ("--advertise", "n1:0"), "--advertise: 'n1:0' is not an address"),
        (ANY_PORT, ("--log-format", "xml"), "neither json nor console"),
    ],
)
def test_places_that_cannot_be(
    tmp_path: Path, listen: str, arguments: tuple[str, ...], expected: str
) -> None:
    assert expected in told(node_command(tmp_path / "d", *arguments, listen=listen), USAGE)


@pytest.mark.smoke
def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as holder:
        address = f"{LOOPBACK}:{holder.getsockname()[1]}"
        said = told(node_command(tmp_path / "d", listen=address), USAGE)
    assert f"cannot listen at {address}: somebody else does" in said


# --- data folders ---


@pytest.mark.smoke
def test_data_folders_that_cannot_be_taken(tmp_path: Path) -> None:
    """In use, another node's, of a newer version, not covey's, a file: each is left as it is."""
    with clean_cluster(tmp_path) as cluster:
        (node,) = cluster.form(1)
        assert node.process is not None
        with cluster.client() as client:
            client.put("k", "v")
        said = told(node_command(node.data), USAGE)
        assert f"is in use by process {node.process.pid}: stop it or choose another folder" in said
        stop_quickly(node)
        said = told(node_command(node.data, name="other"), USAGE)
        assert "belongs to node 'n1', not 'other'" in said
        format_file = node.data / "FORMAT"
        current = format_file.read_text()
        format_file.write_text("99\n")
        assert "made by a newer version of covey" in told(node_command(node.data), USAGE)
        format_file.write_text(current)
        node.start()
        with cluster.client() as client:
            assert client.get("k") == b"v"
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to.txt").write_text("dear")
    assert "holds other files" in told(node_command(tmp_path / "letters"), USAGE)
    assert "it is a file" in told(node_command(tmp_path / "letters" / "to.txt"), USAGE)


# --- names and disks ---


@pytest.mark.smoke
def test_a_name_that_a_live_node_has(tmp_path: Path) -> None:
    with clean_cluster(tmp_path) as cluster:
        n1, _ = cluster.form(2)
        twin = NodeProcess(tmp_path / "elsewhere", "n2", {})
        twin.data.mkdir(parents=True)
        twin.launch([n1.address])
        said = told_by_node(twin, REFUSED)
        assert "the name n2 is in use by a live node" in said
        assert "choose another name" in said
        assert "the name n2 is in use" in reasons(twin, "node.refused")
        assert "the name n2 is in use" in reasons(n1, "member.refused")
        cluster.wait(2)


def test_a_copied_data_folder(tmp_path: Path) -> None:
    with clean_cluster(tmp_path) as cluster:
        n1, n2 = cluster.form(2)
        shutil.copytree(n2.data, tmp_path / "elsewhere" / "n2")
        copy = NodeProcess(tmp_path / "elsewhere", "n2", {})
        copy.launch([n1.address])
        assert "is alive at" in told_by_node(copy, REFUSED)
        cluster.wait(2)


def test_a_wiped_disk_under_an_old_name_takes_the_old_ones_place(tmp_path: Path) -> None:
    with clean_cluster(tmp_path) as cluster:
        n1, n2, _ = cluster.form(3)
        stored = {f"k{i}": f"v{i}" for i in range(300)}
        with cluster.client() as client:
            client.put_many(stored)
            n2.kill()
            shutil.rmtree(n2.data)
            n2.start([n1.address])
            cluster.wait(3)
            assert client.get_many(stored) == {key: value.encode() for key, value in stored.items()}
            held = {replica.name: replica.version for replica in client.admin.explain("k0").replicas}
        assert held["n2"] is not None
        proposals = [line["reason"] for node in cluster.running for line in node.events("epoch.proposed")]
        assert "n2 on a new disk replaces the old n2" in proposals


# --- seeds ---


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and says nothing."""
    with socket.create_server((LOOPBACK, 0)) as server:
        yield f"{LOOPBACK}:{server.getsockname()[1]}"


@contextmanager
def web_server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer((LOOPBACK, 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"{LOOPBACK}:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@contextmanager
def other_grpc_server() -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port(ANY_PORT)
    server.start()
    yield f"{LOOPBACK}:{port}"
    server.stop(None).wait()


@contextmanager
def nobody() -> Iterator[str]:
    yield f"{LOOPBACK}:{free_ports(1)[0]}"


@contextmanager
def unknown_host() -> Iterator[str]:
    yield "no-such-host.invalid:7001"


STRANGERS = [
    (nobody, "nobody listens at {}"),
    (silent_server, "what listens at {} does not answer"),
    (web_server, "what listens at {} is not a covey node"),
    (other_grpc_server, "{} is not a covey node"),
    (unknown_host, "there is no host of the name in {}"),
]


@pytest.mark.parametrize(("stranger", "expected"), STRANGERS)
def test_a_seed_that_is_no_covey_node(
    tmp_path: Path, stranger: Callable[[], Iterator[str]], expected: str
) -> None:
    """The node keeps trying and says so; told to stop while it waits, it does; so do commands say it."""
    with clean_cluster(tmp_path) as cluster, stranger() as address:  # type: ignore[attr-defined]
        node = cluster.node("n1")
        node.start([address])
        said = until(lambda: reasons(node, "node.waiting"), "it says what it waits for")
        assert expected.format(address) in said
        answered = covey("status", "--server", node.address)
        assert (answered.returncode, b"no cluster yet" in answered.stdout) == (DONE, True), answered.stdout
        assert "no cluster" in told(covey("get", "k", "--timeout", "1", "--server", node.address), NOT_DONE)
        assert "no owner serves" in told(covey("wait", "--timeout", "1", "--server", node.address), NOT_DONE)
        stop_quickly(node)
        said = told(covey("put", "k", "v", "--timeout", "2", "--server", address), NOT_DONE)
        assert expected.format(address) in said
        assert "Nothing was done" in said


def test_a_seed_that_comes_up_later_is_found(tmp_path: Path) -> None:
    seed = f"{LOOPBACK}:{free_ports(1)[0]}"
    with clean_cluster(tmp_path) as cluster:
        early = cluster.node("n2")
        early.start([seed])
        until(lambda: reasons(early, "node.waiting"), "it says what it waits for")
        cluster.node("n1").start(listen=seed)
        cluster.wait(2)


def test_a_node_of_one_cluster_pointed_at_a_seed_of_another(tmp_path: Path) -> None:
    """It would serve its own cluster while its operator believes that it joined: it ends, and keeps its data."""
    with clean_cluster(tmp_path / "here") as here, clean_cluster(tmp_path / "there") as there:
        (seed,) = there.form(1)
        alone = here.node("n2")
        alone.start()
        here.wait(1)
        with here.client() as client:
            client.put("k", "v")
        stop_quickly(alone)
        alone.launch([seed.address])
        said = told_by_node(alone, REFUSED)
        assert "n2 belongs to cluster" in said
        assert "start n2 on an empty data folder" in said
        assert "n2 belongs to cluster" in reasons(alone, "node.refused")
        assert "n2 belongs to cluster" in reasons(seed, "member.refused")
        alone.start()
        with here.client() as client:
            assert client.get("k") == b"v"


def test_a_member_with_one_seed_of_another_cluster_says_so_and_goes_on(tmp_path: Path) -> None:
    with clean_cluster(tmp_path / "here") as here, clean_cluster(tmp_path / "there") as there:
        (foreign,) = there.form(1)
        n1, n2 = here.form(2)
        stop_quickly(n2)
        n2.start([foreign.address, n1.address])
        here.wait(2)
        until(lambda: "n2 belongs to cluster" in reasons(n2, "node.refused"), "n2 says so")
        assert "n2 belongs to cluster" in reasons(foreign, "member.refused")


def test_seeds_of_two_clusters(tmp_path: Path) -> None:
    with clean_cluster(tmp_path / "here") as here, clean_cluster(tmp_path / "there") as there:
        (n1,), (other,) = here.form(1), there.form(1)
        joiner = here.node("n2")
        joiner.launch([n1.address, other.address])
        assert "the seeds belong to different clusters" in told_by_node(joiner, REFUSED)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [({}, "seeds is"), ({"tokens_per_weight": "16"}, "tokens_per_weight is")],
)
def test_seeds_that_differ_form_nothing_and_say_in_what(
    tmp_path: Path, setting: dict[str, str], expected: str
) -> None:
    one, two, three = (f"{LOOPBACK}:{port}" for port in free_ports(3))
    with clean_cluster(tmp_path) as cluster:
        first, second = cluster.node("n1"), cluster.node("n2")
        second.settings = setting
        first.start([one, two], listen=one)
        second.start([one, two] if setting else [one, two, three], listen=two)
        for node in (first, second):
            until(lambda node=node: expected in reasons(node, "node.waiting"), f"{node.name} says so")
        assert first.status()["epoch"] == 0
        stop_quickly(first)
        stop_quickly(second)


def test_two_fresh_nodes_that_name_only_each_other(tmp_path: Path) -> None:
    one, two = (f"{LOOPBACK}:{port}" for port in free_ports(2))
    with clean_cluster(tmp_path) as cluster:
        first, second = cluster.node("n1"), cluster.node("n2")
        first.start([two], listen=one)
        second.start([one], listen=two)
        for node in (first, second):
            until(lambda node=node: "waits too" in reasons(node, "node.waiting"), f"{node.name} says so")
            assert "start one without --seed" in reasons(node, "node.waiting")
        stop_quickly(first)
        first.start(listen=one)  # which is the advice
        cluster.wait(2)


# --- keys and values ---


def test_keys_and_values_out_of_bounds(tmp_path: Path) -> None:
    with clean_cluster(tmp_path) as cluster:
        (node,) = cluster.form(1)
        at = ("--server", node.address)
        long_key, long_value = "k" * 4097, b"v" * ((1 << 20) + 1)
        for command in (("get", ""), ("put", "", "v"), ("delete", ""), ("explain", "")):
            assert "a key has 1 to 4096 bytes" in told(covey(*command, *at), USAGE)
        for command in (
            ("get", long_key),
            ("put", long_key, "v"),
            ("delete", long_key),
            ("explain", long_key),
        ):
            assert "a key has 1 to 4096 bytes" in told(covey(*command, *at), USAGE)
        assert "value" in told(covey("put", "k", "-", *at, stdin=long_value), USAGE)
        assert "value" in told(covey("put", "k", "-", *at, stdin=long_value * 20), USAGE)
        with cluster.client() as client:
            for refused in (("", b"v"), (long_key, b"v"), ("k", long_value)):
                with pytest.raises(InvalidRequest) as caught:
                    client.put(*refused)
                assert not caught.value.maybe_applied
        assert covey("keys", *at).stdout == b""


# --- servers that go away ---


class CuttingProxy:
    """Passes bytes on to a node until a client sends ``marker``; then calls ``cut`` and drops everything."""

    def __init__(self, target: str, marker: bytes, cut: Callable[[], None]) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._marker = marker
        self._cut = cut
        self._server = socket.create_server((LOOPBACK, 0))
        self.address = f"{LOOPBACK}:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                node = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            threading.Thread(target=self._pass_on, args=(client, node, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(node, client, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, watched: bool) -> None:
        try:
            while received := source.recv(1 << 16):
                if watched and self._marker in received:
                    self._cut()
                    break
                sink.sendall(received)
        except OSError:
            pass  # the other direction has closed both
        for end in (source, sink):
            hang_up(end)

    def close(self) -> None:
        self._server.close()


def hang_up(end: socket.socket) -> None:
    with suppress(OSError):  # it is down already
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@pytest.mark.parametrize(
    ("command", "code", "expected"),
    [
        (("put", "vanishing", "v"), MAYBE_DONE, "may have happened"),
        (("delete", "vanishing"), MAYBE_DONE, "may have happened"),
        (("get", "vanishing"), NOT_DONE, "Nothing was done"),
        (("explain", "vanishing"), NOT_DONE, "Nothing was done"),
        (("keys", "--prefix", "vanishing"), NOT_DONE, "Nothing was done"),
        (("leave", "vanishing"), MAYBE_DONE, "may have happened"),
    ],
)
def test_a_server_that_goes_away_mid_command(
    tmp_path: Path, command: tuple[str, ...], code: int, expected: str
) -> None:
    with clean_cluster(tmp_path) as cluster:
        (node,) = cluster.form(1)
        proxy = CuttingProxy(node.address, b"vanishing", node.kill)
        assert expected in told(covey(*command, "--timeout", "2", "--server", proxy.address), code)
        proxy.close()


def test_a_server_that_goes_away_in_the_middle_of_a_listing(tmp_path: Path) -> None:
    with clean_cluster(tmp_path) as cluster:
        (node,) = cluster.form(1)
        with cluster.client() as client:
            client.put_many({f"{i:06d}" + "k" * 1000: b"" for i in range(12_000)}, timeout=30)
        with subprocess.Popen(
            [sys.executable, "-m", "covey", "keys", "--timeout", "2", "--server", node.address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as listing:
            assert listing.stdout is not None
            assert listing.stdout.readline().endswith(b"k\n")
            node.kill()  # while the rest waits for someone to read it
            rest, said = listing.communicate(timeout=30)
        assert listing.returncode == NOT_DONE, (listing.returncode, len(rest))
        assert node.address in plain(said.decode())


@pytest.mark.timeout(180)
def test_a_server_that_goes_away_in_the_middle_of_a_load(tmp_path: Path) -> None:
    """The load counts what is acknowledged, says why it gave up, and every acknowledged key is there later."""
    records, acked = tmp_path / "records", tmp_path / "acked"
    records.write_text("".join(f'{{"key": "k{i}", "value": "v{i}"}}\n' for i in range(50_000)))
    with clean_cluster(tmp_path) as cluster:
        (node,) = cluster.form(1)
        command = ["load", str(records), "--acked", str(acked), "--rate", "2000", "--timeout", "1"]
        with subprocess.Popen(
            [sys.executable, "-m", "covey", *command, "--server", node.address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as load:
            until(lambda: acked.exists() and len(acked.read_bytes()) > 2000, "some are acknowledged")
            node.kill()
            _, said = load.communicate(timeout=120)
        assert load.returncode in (NOT_DONE, MAYBE_DONE), said.decode()
        assert "Traceback" not in said.decode()
        assert "gave up: nothing was acknowledged for" in said.decode()
        node.start()
        keys = acked.read_text().split()
        with cluster.client() as client:
            assert client.get_many(keys) == {key: f"v{key[1:]}".encode() for key in keys}


# --- signals ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_waits_to_join(tmp_path: Path, number: signal.Signals) -> None:
    with clean_cluster(tmp_path) as cluster, silent_server() as address:
        node = cluster.node("n1")
        node.start([address])
        assert node.process is not None
        began = time.monotonic()
        node.process.send_signal(number)
        assert node.exited() == DONE
        assert time.monotonic() - began < MAX_STOP_S
        assert node.errors_file.read_text() == ""


def test_sigterm_under_load_ends_in_time_and_loses_nothing(tmp_path: Path) -> None:
    records = {f"k{i}": f"v{i}".encode() * 20 for i in range(8_000)}
    with clean_cluster(tmp_path) as cluster:
        n1, n2, n3 = cluster.form(3)
        with cluster.client() as client:
            load = PacedLoad(client, records, 6.0)
            for node in (n3, n2):
                until(lambda: load.share_done > 0.1, "it is under way")
                stop_quickly(node)
                node.start([n1.address])
            load.join(60)
            until(lambda: load.share_done == 1, "all is told")
            acknowledged = load.acknowledged
            cluster.wait(3)
            assert len(acknowledged) > len(records) * 0.9
            assert client.get_many(acknowledged) == acknowledged


def test_sigterm_of_the_only_node_under_load_loses_nothing(tmp_path: Path) -> None:
    records = {f"k{i}": f"v{i}".encode() for i in range(20_000)}
    with clean_cluster(tmp_path) as cluster:
        (node,) = cluster.form(1)
        with cluster.client() as client:
            load = PacedLoad(client, records, 60.0)
            until(lambda: load.share_done > 0.02, "it is under way")
            stop_quickly(node)
            done = dict(load.acknowledged)
        with pytest.raises(CoveyError):
            load.join(60)
        node.start()
        with cluster.client() as client:
            assert client.get_many(done) == done


# --- administration ---


def test_what_cannot_be_left_removed_or_waited_for(tmp_path: Path) -> None:
    with clean_cluster(tmp_path, handoff_grace="1") as cluster:
        n1, n2, n3 = cluster.form(3)
        at = ("--server", n1.address)
        assert "no node is named n9; known are n1, n2, n3" in told(covey("leave", "n9", *at), REFUSED)
        assert "no node is named n9" in told(covey("remove", "n9", *at), REFUSED)
        assert "n2 is alive; 'covey leave n2' hands its data off" in told(covey("remove", "n2", *at), REFUSED)
        said = told(covey("wait", "--nodes", "4", "--timeout", "1", *at), NOT_DONE)
        assert "waited 1 s in vain: 3 owners serve, not 4" in said
        n3.kill()
        until(lambda: n1.events("member.down"), "n1 notices")
        assert "n3 is down and cannot hand anything off; 'covey remove n3'" in told(
            covey("leave", "n3", *at), REFUSED
        )
        said = told(covey("wait", "--nodes", "3", "--timeout", "1", *at), NOT_DONE)
        assert "2 owners serve, not 3" in said
        assert "n3" in said
        assert "n3 is removed" in told(covey("remove", "n3", *at), DONE)
        cluster.wait(2)
        assert "n2 has left" in told(covey("leave", "n2", *at), DONE)
        assert n2.exited() == DONE
        assert "n1 is the only owner" in told(covey("leave", "n1", *at), REFUSED)


def test_what_waits_says_why(tmp_path: Path) -> None:
    """Of two owners one is dead: nobody can agree on letting a third in, and status and wait say so."""
    with clean_cluster(tmp_path) as cluster:
        n1, n2 = cluster.form(2)
        n2.kill()
        until(lambda: n1.events("member.down"), "n1 notices")
        joiner = cluster.node("n3")
        joiner.start([n1.address])
        until(lambda: n1.events("member.joined"), "n1 knows n3")
        said = told(covey("wait", "--synced", "--timeout", "2", "--server", n1.address), NOT_DONE)
        assert "n3 waits to join the ring, but the change cannot begin yet: only 1 of 2 owners" in said
        for command, name in (("remove", "n2"), ("leave", "n1")):
            refused = covey(command, name, "--server", n1.address)
            assert f"taking {name} out needs the agreement of 2 of 2 owners" in told(refused, REFUSED)
        stop_quickly(joiner)
