"""Carries a schedule of faults out on a real cluster, and notes what it did when.

Whoever is befallen must be there: a node that has left, or is killed on another track at that moment, is passed
over, and that is noted too. When the time is over, ``heal`` undoes all that is still broken.
"""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from tests.support.networked_cluster import NetworkedCluster
from tests.support.processes import POLL_S, NodeProcess, ProcessCluster, covey
from tests.support.workload import Background

from .schedule import MOST_MEMBERS, Fault, Kind, Schedule

LEAVE_TIMEOUT_S = 20
LEAVE_TRIES = 6
LEFT_TIMEOUT_S = 15.0
LEFT = "left the cluster"
"""Why such a node stops, in its log."""
TRACK_TIMEOUT_S = 300.0
REPLACED_TIMEOUT_S = 60.0


class FaultLog:
    """What was done, as lines of a history."""

    def __init__(self, file: Path) -> None:
        self._file: TextIO = file.open("w", buffering=1, encoding="utf-8")
        self._lock = threading.Lock()

    def note(self, what: str, **fields: Any) -> None:
        line = {"is": "fault", "at_s": round(time.monotonic(), 3), "what": what, **fields}
        with self._lock:
            print(f"{line['at_s']:.3f} {what} {fields}", flush=True)
            self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        self._file.close()


class Nemesis:
    def __init__(self, cluster: ProcessCluster, schedule: Schedule, log: FaultLog) -> None:
        self._cluster = cluster
        self._log = log
        self._began_s = time.monotonic()
        self._over = threading.Event()
        self._gone: set[str] = set()
        """Nodes that have left: they ended by themselves, and are not started again."""
        self._starting = threading.Lock()
        self._foreigners = 0
        tracks = (schedule.processes, schedule.network, schedule.ring)
        self._tracks = [Background(lambda track=track: self._carry_out(track)) for track in tracks]

    def end(self) -> None:
        """Stop where it is, and undo everything."""
        self._over.set()
        for track in self._tracks:
            track.join(TRACK_TIMEOUT_S)
        self.heal()

    def heal(self) -> None:
        if isinstance(self._cluster, NetworkedCluster):
            self._cluster.network.heal()
        for node in self._cluster.running:
            node.send_signal(signal.SIGCONT)
        self._start(list(self._cluster.nodes.values()))
        self._log.note("healed", nodes=[node.name for node in self._cluster.running])

    # --- tracks ---

    def _carry_out(self, track: Sequence[Fault]) -> None:
        for fault in track:
            if self._over.wait(max(0.0, self._began_s + fault.at_s - time.monotonic())):
                return
            self._log.note("begins", fault=asdict(fault))
            self._befall(fault)
            self._log.note("ends", kind=fault.kind, nodes=fault.nodes)

    def _befall(self, fault: Fault) -> None:
        match fault.kind:
            case Kind.KILL:
                self._kill([node for node in self._running() if node.name in fault.nodes], fault.lasts_s)
            case Kind.KILL_ALL:
                self._kill(self._running(), fault.lasts_s)
            case Kind.PAUSE | Kind.LATE:
                self._pause(fault)
            case Kind.ROLLING_RESTART:
                self._roll()
            case Kind.TAKEN:
                self._take_address(fault)
            case Kind.EMPTIED | Kind.SET_BACK:
                self._damage(fault)
            case Kind.JOIN if len(self._running()) < MOST_MEMBERS:
                self._start([self._cluster.node(name) for name in fault.nodes])
            case Kind.LEAVE:
                self._leave(*fault.nodes)
            case Kind.PARTITION | Kind.ONE_WAY | Kind.NON_TRANSITIVE | Kind.LOSS:
                self._break_network(fault)
            case _:
                self._log.note("passed over", kind=fault.kind, nodes=fault.nodes)

    def _running(self) -> list[NodeProcess]:
        return [node for node in self._cluster.running if node.name not in self._gone]

    # --- processes ---

    def _kill(self, nodes: Sequence[NodeProcess], down_s: float) -> None:
        for node in nodes:
            node.kill()
        self._over.wait(down_s)
        self._start(nodes)

    def _pause(self, fault: Fault) -> None:
        nodes = [node for node in self._running() if node.name in fault.nodes]
        for node in nodes:
            node.send_signal(signal.SIGSTOP)
        self._over.wait(fault.lasts_s)
        for node in nodes:
            node.send_signal(signal.SIGCONT)

    def _take_address(self, fault: Fault) -> None:
        """Kill a node, and run one of another cluster at its address until it is started again."""
        for node in [node for node in self._running() if node.name in fault.nodes]:
            node.kill()
            self._foreigners += 1
            foreign = NodeProcess(self._cluster.folder, f"foreign{self._foreigners}", self._cluster.settings)
            foreign.prefix, foreign.extra, foreign.environment = node.prefix, node.extra, node.environment
            try:
                foreign.launch(listen=node.address)
                foreign.await_address_or_end()
                self._over.wait(fault.lasts_s)
            finally:
                foreign.kill()
            for event in ("genesis.claimed", "absorption.begun"):
                if foreign.events(event):
                    self._log.note("wrong", node=foreign.name, event=event)
            self._start([node])

    def _damage(self, fault: Fault) -> None:
        """Take data from one node's disk, and wait until the cluster has taken the new one in: no second disk goes."""
        [node] = [node for node in self._running() if node.name in fault.nodes] or [None]
        if node is None or not self._is_whole():
            self._log.note("passed over", kind=fault.kind, nodes=fault.nodes)
            return
        copy = node.data.with_name(f"{node.name}-copy")
        if fault.kind is Kind.SET_BACK:
            node.send_signal(signal.SIGSTOP)  # as a snapshot, of one moment
            shutil.copytree(node.data, copy)
            node.send_signal(signal.SIGCONT)
            self._over.wait(fault.lasts_s)
        if not node.running or not self._is_whole():
            self._log.note("passed over", kind=fault.kind, nodes=fault.nodes)
            shutil.rmtree(copy, ignore_errors=True)
            return
        with self._starting:
            node.kill()
            if fault.kind is Kind.SET_BACK:
                shutil.rmtree(node.data)
                copy.rename(node.data)
            else:
                shutil.rmtree(node.data / "engine")
                (node.data / "engine").mkdir()
        before = len(node.events("disk.replaced"))
        self._start([node])
        deadline_s = time.monotonic() + REPLACED_TIMEOUT_S
        while time.monotonic() < deadline_s and not self._over.wait(POLL_S):
            if len(node.events("disk.replaced")) > before and self._is_whole():
                return

    def _is_whole(self) -> bool:
        """Whether the ring is stable, and all nodes that any other knows are up and have all that they must hold."""
        running = self._running()
        status = running[0].status() if running else {}
        up = all(node["state"] == "serving" for node in status.get("nodes", ()))
        return up and bool(status.get("synced")) and not status.get("changing")

    def _roll(self) -> None:
        for node in self._running():
            if self._over.is_set():
                return
            code = node.stop()
            if code != 0:
                self._log.note("wrong", node=node.name, exit_code=code)
            self._start([node])

    def _start(self, nodes: Sequence[NodeProcess]) -> None:
        """Those of them that do not run and should; they may take their time to serve, or be killed at once."""
        with self._starting:
            starting = [node for node in nodes if not node.running and node.name not in self._gone]
            for node in starting:
                others = [other.address for other in self._running() if other is not node and other.address]
                known = [other.address for other in list(self._cluster.nodes.values()) if other.address]
                node.launch(others or [a for a in known if a != node.address], node.address or None)
            for node in starting:
                node.await_address_or_end()

    # --- the network ---

    def _break_network(self, fault: Fault) -> None:
        if not isinstance(self._cluster, NetworkedCluster):
            return
        network, names = self._cluster.network, list(self._cluster.nodes)
        match fault.kind:
            case Kind.PARTITION:
                self._cluster.part(list(fault.nodes))
            case Kind.ONE_WAY:
                network.drop_from(fault.nodes[:1], fault.nodes[1:])
            case Kind.NON_TRANSITIVE:
                network.cut(fault.nodes[:1], fault.nodes[1:])
            case Kind.LOSS:
                network.lose(fault.loss_percent, names)
        self._over.wait(fault.lasts_s)
        network.heal()

    # --- the ring ---

    def _leave(self, name: str) -> None:
        """Repeat the leave: a node that is down or cut off cannot leave."""
        node = self._cluster.nodes.get(name)
        if node is None:
            self._log.note("passed over", kind=Kind.LEAVE, nodes=[name])
            return
        for _ in range(LEAVE_TRIES):
            if self._over.is_set():
                return
            servers = [part for address in self._cluster.addresses() for part in ("--server", address)]
            command = ("leave", name, "--timeout", str(LEAVE_TIMEOUT_S), *servers)
            done = covey(*command, prefix=self._cluster.prefix, timeout_s=2 * LEAVE_TIMEOUT_S)
            self._log.note("told to leave", node=name, exit_code=done.returncode, said=done.stderr.decode())
            if self._ends_by_itself(node, LEFT_TIMEOUT_S if done.returncode == 0 else 0.0):
                self._gone.add(name)
                return
            if done.returncode == 0:
                self._log.note("came back", node=name)  # started again on another track, it joins as new
                return
            self._over.wait(2.0)

    def _ends_by_itself(self, node: NodeProcess, timeout_s: float) -> bool:
        """Because it has left: it may also end for another reason, on another track, and be started again."""
        deadline_s = time.monotonic() + timeout_s
        while node.running and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        ended = node.events("node.stopping")
        return not node.running and bool(ended) and ended[-1]["reason"] == LEFT
