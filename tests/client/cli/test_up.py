from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from covey.__main__ import node_complaint
from covey.api.cluster import ClusterStatus
from covey.client.cli import local_cluster, up
from covey.client.cli.exits import CommandError, ExitCode, OutputError
from covey.client.cli.local_cluster import LocalCluster, LocalNode
from covey.client.cli.local_plan import ClusterPlan, NodePlan, check_seeds, plan_cluster
from covey.client.cli.main import build_app, invoke
from tests.client.cli.conftest import Covey
from tests.support.processes import until

DATA = Path(".covey")
REPOSITORY = Path(__file__).resolve().parents[3]

STAND_IN = """
import signal, sys, time
sys.path.insert(0, {repository!r})
from tests.client.cli.fake_node import FakeNode, node_status, status_of
ended = []  # no event: its lock may be held just where the signal comes in
signal.signal(signal.SIGTERM, {on_sigterm})
name, port, size = sys.argv[1:]
{before}
with FakeNode(port=int(port)) as node:
    node.status = status_of(*(node_status(f"n{{n + 1}}") for n in range(int(size))))
    node.later_statuses = {status}
    while not ended:
        time.sleep(0.02)
"""


def stand_in(
    monkeypatch: pytest.MonkeyPatch,
    *,
    on_sigterm: str = "lambda *_: ended.append(True)",
    before: str = "",
    status: str = "[]",
) -> None:
    """Replace nodes by programs that answer like one."""
    program = STAND_IN.format(repository=str(REPOSITORY), on_sigterm=on_sigterm, before=before, status=status)

    def command_line(plan: NodePlan, cluster: ClusterPlan) -> Sequence[str]:
        size = str(len(cluster.nodes))
        return [sys.executable, "-c", program, plan.name, plan.address.rpartition(":")[2], size]

    monkeypatch.setattr(local_cluster, "command_line", command_line)


class RecordingDisplay:
    """Display that records messages and reacts to them."""

    def __init__(self, react: Callable[[str], None]) -> None:
        self.messages: list[str] = []
        self._react = react

    def show_message(self, message: str) -> None:
        self.messages.append(message)
        self._react(message)

    def show_status(self, status: ClusterStatus | None, nodes: Sequence[LocalNode]) -> None:
        pass

    def resize(self) -> None:
        pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(size: int, display: RecordingDisplay) -> tuple[int, LocalCluster]:
    async def run_plan() -> tuple[int, LocalCluster]:
        cluster = LocalCluster(plan_cluster(size, DATA, base_port=free_port()), display, "all serve")
        return await cluster.run(), cluster

    return asyncio.run(run_plan())


def on(text: str, act: Callable[[], object]) -> Callable[[str], None]:
    def react(message: str) -> None:
        if text in message:
            act()

    return react


def either(*reactions: Callable[[str], None]) -> Callable[[str], None]:
    def react(message: str) -> None:
        for one in reactions:
            one(message)

    return react


def sigterm_self() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def signal_self(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_every_node_and_exits_0(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    stand_in(monkeypatch)
    display = RecordingDisplay(on("all serve", signal_self(number)))
    code, cluster = run(1, display)
    assert code == 0
    assert display.messages == ["all serve", "ending the nodes"]
    assert not any(node.running for node in cluster.nodes)


def test_a_node_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_cluster, "DRAIN_TIMEOUT_S", 0.2)
    stand_in(monkeypatch, on_sigterm="signal.SIG_IGN")
    display = RecordingDisplay(on("all serve", signal_self(signal.SIGINT)))
    code, cluster = run(1, display)
    assert code == 0
    assert "killing n1" in display.messages[-1]
    assert not any(node.running for node in cluster.nodes)


def test_a_signal_that_comes_twice_at_once_lets_the_nodes_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``timeout`` and make send it."""
    drained = "lambda *_: (time.sleep(0.5), open('drained', 'w').close(), ended.append(True))"
    stand_in(monkeypatch, on_sigterm=drained)
    display = RecordingDisplay(either(on("all serve", sigterm_self), on("ending the nodes", sigterm_self)))
    code, _ = run(1, display)
    assert code == 0
    assert display.messages == ["all serve", "ending the nodes"]
    assert Path("drained").exists()


def test_a_signal_that_comes_some_time_after_the_first_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_cluster, "REPEATED_SIGNAL_S", 0.0)
    stand_in(monkeypatch, on_sigterm="signal.SIG_IGN")
    display = RecordingDisplay(either(on("all serve", sigterm_self), on("ending the nodes", sigterm_self)))
    began_at = time.monotonic()
    code, cluster = run(1, display)
    assert display.messages[-1] == "killing the nodes that still run"
    assert code == 0
    assert not any(node.running for node in cluster.nodes)
    assert time.monotonic() - began_at < local_cluster.DRAIN_TIMEOUT_S


def test_output_that_cannot_be_written_ends_the_nodes_drained(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OutputError("nothing reads standard output", ExitCode.READER_GONE)

    stand_in(monkeypatch, on_sigterm="lambda *_: (open('drained', 'w').close(), ended.append(True))")
    with pytest.raises(OutputError):
        run(1, RecordingDisplay(on("all serve", fail)))
    assert Path("drained").exists()


def test_nodes_end_when_their_parent_is_killed() -> None:
    program = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from covey.client.cli import local_cluster\n"
        "from covey.client.cli.local_plan import plan_cluster\n"
        "child = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'\n"
        "local_cluster.command_line = lambda plan, cluster: [sys.executable, '-c', child]\n"
        "async def start():\n"
        f"    plan = plan_cluster(1, Path('.covey'), base_port={free_port()})\n"
        "    node = await local_cluster.LocalNode.start(plan.nodes[0], plan)\n"
        "    print(node.pid, flush=True)\n"
        "    await node.wait()\n"
        "asyncio.run(start())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    until(lambda: Path("logs/server_n1.log").read_text(), "the node runs")
    parent.kill()
    parent.communicate()
    child.wait(timeout=20)


def test_nodes_of_an_earlier_run_are_starting_until_one_hears_from_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node reports them as down until it has received a heartbeat, which would be alarming."""
    states = "[('down', 'down'), ('serving', 'down'), ('serving', 'serving'), ('serving', 'down')]"
    later = (
        f"[status_of(*(node_status(f'n{{n}}', s) for n, s in enumerate(pair, 1)), notes=('n2 is down',))"
        f" for pair in {states}]"
    )
    only_n1 = "if name == 'n2':\n    while not ended: time.sleep(0.02)\n    sys.exit()"
    stand_in(monkeypatch, status=later, before=only_n1)
    monkeypatch.setattr(local_cluster, "STATUS_INTERVAL_S", 0.02)
    display = RecordingDisplay(lambda message: None)
    seen: list[tuple[tuple[str, ...], bool]] = []

    def show_status(status: ClusterStatus | None, nodes: Sequence[LocalNode]) -> None:
        if status is not None:
            seen.append((tuple(node.state for node in status.nodes), bool(status.notes)))
        if len(seen) == 4:
            sigterm_self()

    monkeypatch.setattr(display, "show_status", show_status)
    run(2, display)
    assert seen[:4] == [
        (("starting", "starting"), False),
        (("serving", "starting"), False),
        (("serving", "serving"), True),
        (("serving", "down"), True),
    ]


def test_a_failed_start_ends_the_other_nodes_and_is_reported_with_its_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_in(
        monkeypatch,
        before="if name == 'n2': sys.exit('address in use')",
        status="[status_of(node_status('n1'), node_status('n2', 'joining'))]",
    )
    display = RecordingDisplay(lambda message: None)
    code, cluster = run(2, display)
    assert code == 2
    assert display.messages[0] == "n2 did not start: address in use"
    assert not any(node.running for node in cluster.nodes)


def test_a_killed_node_is_reported_and_the_other_nodes_continue(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, before="print(f'{name} is here', flush=True)")
    victims: list[int] = []
    start = LocalNode.start.__func__  # type: ignore[attr-defined]

    async def noted_start(cls: type[LocalNode], plan: NodePlan, cluster: ClusterPlan) -> LocalNode:
        node: LocalNode = await start(cls, plan, cluster)
        victims.append(node.pid or 0)
        return node

    monkeypatch.setattr(LocalNode, "start", classmethod(noted_start))

    def react(message: str) -> None:
        if message == "all serve":  # n1 reports this independently of n2
            until(lambda: Path("logs/server_n2.log").read_text(), "n2 runs")
            os.kill(victims[1], signal.SIGKILL)
        elif message.startswith("n2"):
            os.kill(os.getpid(), signal.SIGINT)

    display = RecordingDisplay(react)
    code, _ = run(2, display)
    assert code == 0
    assert "n2 was killed by SIGKILL; last line of its log: n2 is here" in display.messages


def test_nodes_take_the_seeds_addresses_and_then_free_ports_after_them() -> None:
    port = free_port()
    Path("seeds.json").write_text(f'{{"seeds": ["127.0.0.1:{port}"], "cluster_size": 2}}')
    with socket.socket() as taken:
        with suppress(OSError):  # another process has it, which is as good
            taken.bind(("127.0.0.1", port + 1))
        plan = plan_cluster(None, DATA)
    assert plan.seeds == (f"127.0.0.1:{port}",)
    assert plan.config == Path("seeds.json")
    assert [node.name for node in plan.nodes] == ["n1", "n2"]
    assert int(plan.nodes[1].address.rpartition(":")[2]) > port + 1
    assert plan.nodes[1].data == DATA / "n2"
    assert plan.nodes[1].log == Path("logs/server_n2.log")


def test_a_cluster_smaller_than_the_seed_list_uses_only_its_own_seeds() -> None:
    ports = sorted({free_port() for _ in range(3)})
    Path("seeds.json").write_text(json.dumps({"seeds": [f"127.0.0.1:{port}" for port in ports]}))
    assert plan_cluster(1, DATA).seeds == (f"127.0.0.1:{ports[0]}",)


def test_a_seed_port_in_use_is_named_before_anything_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"127.0.0.1:{port} is in use"):
            check_seeds(plan_cluster(1, DATA, base_port=port))


def test_a_second_up_on_the_same_data_is_refused(covey: Covey) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys\nfrom pathlib import Path\nfrom covey.client.cli.up import up_lock\n"
            "with up_lock(Path('.covey')):\n    print('held', flush=True)\n    sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    result = covey("up")
    holder.communicate()
    assert result.code == 2
    assert f"already runs on .covey (process {holder.pid})" in result.stderr


@pytest.mark.parametrize(
    ("seed", "complaint"),
    [
        ("192.0.2.1:7001", "192.0.2.1:7001 is not on the loopback"),
        ("no-such-host.invalid:7001", "no-such-host.invalid:7001: no node can listen there"),
    ],
)
def test_a_seed_where_no_node_can_listen_is_named_before_anything_starts(seed: str, complaint: str) -> None:
    Path("seeds.json").write_text(json.dumps({"seeds": [seed]}))
    with pytest.raises(CommandError, match=complaint):
        check_seeds(plan_cluster(1, DATA))


def test_two_names_of_one_address_are_no_two_seeds() -> None:
    port = free_port()
    Path("seeds.json").write_text(json.dumps({"seeds": [f"localhost:{port}", f"127.0.0.1:{port}"]}))
    with pytest.raises(CommandError, match=f"127.0.0.1:{port} is in use"):
        check_seeds(plan_cluster(2, DATA))


def test_nodes_that_still_run_are_named_with_the_command_that_ends_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(up, "MAX_EARLIER_RUN_S", 0.2)
    (DATA / "n2").mkdir(parents=True)
    with (DATA / "n2" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        with pytest.raises(CommandError, match=r"n2 \(process 4711\); end them with `kill 4711`"):
            up.await_earlier_run(plan_cluster(2, DATA, base_port=free_port()))
    up.await_earlier_run(plan_cluster(2, DATA, base_port=free_port()))


@pytest.mark.parametrize("setting", ["seeds=127.0.0.1:1", "cluster_size=2"])
def test_settings_that_flags_decide_are_refused_with_the_flag(covey: Covey, setting: str) -> None:
    result = covey("up", "--set", setting)
    assert result.code == 2
    assert "instead" in result.stderr
    assert not DATA.exists()


def test_an_invalid_configuration_is_reported_before_any_file_is_created(
    capfd: pytest.CaptureFixture[str],
) -> None:
    Path("seeds.json").write_text('{"read_quorum": 9}')
    assert invoke(build_app(node_complaint), ["up"]) == 2
    assert "seeds.json" in capfd.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["seeds.json"]


def test_nodes_get_all_options_on_their_command_line() -> None:
    node = NodePlan(name="n2", address="127.0.0.1:7002", data=DATA / "n2", log=Path("logs/server_n2.log"))
    cluster = ClusterPlan(nodes=(node,), seeds=("127.0.0.1:7001",), config=Path("seeds.json"), data=DATA)
    line = local_cluster.command_line(node, cluster)
    assert " ".join(line[4:]) == (
        "node --name n2 --listen 127.0.0.1:7002 --data .covey/n2 --log-file logs/server_n2.log"
        " --config seeds.json --seed 127.0.0.1:7001"
    )
