"""An audit: what a healed cluster holds once all clients have stopped, added to the clients' history.

Every key is read through every node, every replica's copy is listed, and each node's state is recorded.
``python -m tests.support.audit`` performs it from a host that reaches the nodes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from covey import Client
from covey.api.cluster import Explanation, ReplicaReport
from covey.proto.generated import kv_pb2
from tests.support.history import Copies, Copy, History, Kind, NodeState, Operation, Outcome, Version
from tests.support.node_client import BATCH, NodeClient
from tests.support.recorded_load import name_of

ASKED_AT_ONCE = 8
TIMEOUT_S = 20.0


def audit(addresses: Sequence[str], history: History) -> History:
    """Return the findings as a history; ``history`` is that of the clients."""
    keys = sorted({operation.key for operation in history.operations if operation.kind is not Kind.KEYS})
    found = History()
    for address in addresses:
        found.operations += _read_through(address, keys)
        found.node_states.append(_state_of(address))
    contents = {
        operation.version: operation.value
        for operation in [*history.operations, *found.operations]
        if operation.version is not None
    }
    found.copies = _copies(addresses, keys, contents)
    return found


def _read_through(address: str, keys: Sequence[str]) -> Iterable[Operation]:
    through = NodeClient(address)
    try:
        for first in range(0, len(keys), BATCH):
            start_s = time.monotonic()
            answers = dict(through.answers(keys[first : first + BATCH]))
            end_s = time.monotonic()
            for key, answer in answers.items():
                value = name_of(answer.value.decode()) if answer.found else None
                yield Operation(
                    Kind.GET,
                    f"audit {address}",
                    key,
                    start_s,
                    end_s,
                    Outcome.DONE,
                    value,
                    _version_in(answer),
                )
    finally:
        through.close()


def _version_in(answer: kv_pb2.GetResponse) -> Version | None:
    if not answer.HasField("version"):
        return None
    return answer.version.timestamp, answer.version.disk_id, answer.version.generation


def _state_of(address: str) -> NodeState:
    with Client([address]) as client:
        status = client.admin.status(timeout=TIMEOUT_S)
        stamp = client.admin.ring(timeout=TIMEOUT_S).record.stamp
    me = next(node for node in status.nodes if node.name == status.answered_by)
    condition = me.condition
    pending = {
        "unsynced": int(not status.synced),
        "hints": condition.hints,
        "comparisons": condition.comparisons,
        "quarantined": condition.quarantined,
    }
    return NodeState(status.answered_by, f"{stamp.number}/{stamp.digest}", pending)


def _copies(
    addresses: Sequence[str], keys: Sequence[str], contents: dict[Version, str | None]
) -> list[Copies]:
    with Client(addresses) as client, ThreadPoolExecutor(ASKED_AT_ONCE) as threads:

        def explain(key: str) -> Explanation:
            return client.admin.explain(key, timeout=TIMEOUT_S)

        return [
            Copies(key, {replica.name: _copy(replica, contents) for replica in explained.replicas})
            for key, explained in zip(keys, threads.map(explain, keys), strict=True)
        ]


def _copy(replica: ReplicaReport, contents: dict[Version, str | None]) -> Copy | None:
    assert replica.answered, f"{replica.name} ({replica.state}) did not answer"
    if replica.version is None:
        return None
    version = replica.version.timestamp, replica.version.disk_id, replica.version.generation
    return Copy(version, None if replica.tombstone else contents.get(version, "never read"))


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--server", action="append", required=True)
    options.add_argument("--history", type=Path, action="append", required=True)
    options.add_argument("--file", type=Path, required=True)
    given = options.parse_args()
    audit(given.server, read_all(given.history)).write(given.file)


def read_all(files: Iterable[Path]) -> History:
    """Several writers' histories as one."""
    whole = History()
    for file in files:
        part = History.read(file)
        whole.operations += part.operations
        whole.faults += part.faults
        whole.copies += part.copies
        whole.node_states += part.node_states
    return whole


if __name__ == "__main__":
    main()
