"""Clients of a real cluster whose history is recorded and checked at the end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.audit import read_all
from tests.support.checker import Violation, check
from tests.support.history import History, Outcome
from tests.support.processes import ProcessCluster, until

REPOSITORY = Path(__file__).parents[2]
CLIENTS = 2
"""Number of processes; each has threads that share a client."""
STOP_TIMEOUT_S = 90.0
SYNC_TIMEOUT_S = 90.0
AUDIT_TIMEOUT_S = 300.0


class RecordedClients:
    """Processes that run ``recorded_load`` on the host of the cluster's clients."""

    def __init__(
        self,
        cluster: ProcessCluster,
        seed: int,
        clients: int = CLIENTS,
        timeout_s: float = 4.0,
        impatient_s: float | None = None,
    ) -> None:
        """``impatient_s``: timeout of the last client's operations."""
        self._cluster = cluster
        self.files = [cluster.folder / f"history.c{number}" for number in range(1, clients + 1)]
        timeouts_s = [timeout_s] * (clients - 1) + [impatient_s or timeout_s]
        self._processes = [
            self._start(file, seed, wait_s) for file, wait_s in zip(self.files, timeouts_s, strict=True)
        ]
        for file in self.files:
            until(lambda file=file: file.exists() and file.read_bytes(), "clients are at work")

    def _start(self, file: Path, seed: int, timeout_s: float) -> subprocess.Popen[bytes]:
        command = [*self._cluster.prefix, sys.executable, "-m", "tests.support.recorded_load"]
        command += ["--file", str(file), "--name", file.suffix[1:], "--seed", str(seed)]
        command += ["--timeout", str(timeout_s), *at(self._cluster)]
        with errors_of(file).open("ab") as errors:
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=errors, stderr=errors, cwd=REPOSITORY
            )

    def do_more(self, operations: int) -> None:
        """Wait until this many more operations have ended, with any outcome."""
        enough = len(self.history().operations) + operations
        until(lambda: len(self.history().operations) >= enough, "clients continue")

    def stop(self) -> None:
        """Stop the clients, and wait for their operations under way."""
        for process in self._processes:
            process.communicate(timeout=STOP_TIMEOUT_S)
            assert process.returncode == 0, self.errors()

    def kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def history(self) -> History:
        return read_all(self.files)

    def errors(self) -> str:
        """Return the errors that the clients have received."""
        return "".join(errors_of(file).read_text() for file in self.files)


def errors_of(file: Path) -> Path:
    return file.with_name(file.name.replace("history", "errors"))


def at(cluster: ProcessCluster) -> list[str]:
    return [part for address in cluster.addresses() for part in ("--server", address)]


@contextmanager
def recorded_clients(
    cluster: ProcessCluster, seed: int = 1, clients: int = CLIENTS, timeout_s: float = 4.0
) -> Iterator[RecordedClients]:
    """Run clients during the block. Unless it raises, check their history afterwards."""
    working = RecordedClients(cluster, seed, clients, timeout_s)
    try:
        yield working
        working.stop()
    finally:
        working.kill()
    found = checked(cluster, working.files)
    assert not found, "\n".join([*map(str, found[:20]), working.errors()[-2000:], cluster.recent_log()])


def checked(cluster: ProcessCluster, files: list[Path]) -> list[Violation]:
    """Wait until the cluster is synced, audit it, and check the history."""
    history = read_all([*files, audited(cluster, files)])
    print(summary(history))
    return check(history)


def audited(cluster: ProcessCluster, files: list[Path]) -> Path:
    """Wait until the cluster is in sync; returns the file of what it then holds."""
    cluster.wait(len(cluster.running), timeout_s=SYNC_TIMEOUT_S)
    found = cluster.folder / "history.audit"
    command = [*cluster.prefix, sys.executable, "-m", "tests.support.audit", "--file", str(found)]
    command += [part for file in files for part in ("--history", str(file))]
    done = subprocess.run(
        [*command, *at(cluster)],
        capture_output=True,
        text=True,
        timeout=AUDIT_TIMEOUT_S,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, f"{done.stderr}\n{cluster.recent_log()}"
    return found


def summary(history: History) -> str:
    counts = dict.fromkeys(Outcome, 0)
    for operation in history.operations:
        counts[operation.outcome] += 1
    ended = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    return f"{len(history.operations)} operations: {ended}; {len(history.copies)} keys"
