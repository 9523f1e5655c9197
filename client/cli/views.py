"""The JSON forms of what the cluster tells of itself. Programs read them: names and meanings are fixed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .records import text_or_base64

if TYPE_CHECKING:
    from ...api.cluster import ClusterStatus, Explanation, NodeStatus, RepairReport, ReplicaReport, RingView
    from ...ring.epoch import RingSpec


def status_json(status: ClusterStatus) -> dict[str, Any]:
    return {
        "cluster_id": status.cluster_id,
        "epoch": status.epoch,
        "changing": status.changing,
        "synced": status.synced,
        "nodes": [_node_json(node) for node in status.nodes],
    }


def _node_json(node: NodeStatus) -> dict[str, Any]:
    handoff = node.handoff
    return {
        "name": node.name,
        "address": node.address,
        "zone": node.zone,
        "state": node.state,
        "owner": node.owner,
        "generation": node.generation,
        "heartbeat_age_s": node.heartbeat_age_s,
        "ownership": node.ownership,
        "keys": node.keys,
        "load": asdict(node.load),
        "condition": asdict(node.condition),
        "handoff": None
        if handoff is None
        else {"bytes_done": handoff.bytes_done, "bytes_total": handoff.bytes_total},
    }


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    """Tokens are decimal strings, because many JSON readers cannot hold 64 bits."""
    return {
        **text_or_base64("key", explanation.key),
        "token": str(explanation.token),
        "epoch": explanation.epoch,
        "replicas": [_replica_json(replica) for replica in explanation.replicas],
        "reachable": explanation.reachable,
        "read_quorum": explanation.read_quorum,
        "write_quorum": explanation.write_quorum,
    }


def _replica_json(replica: ReplicaReport) -> dict[str, Any]:
    return {
        "name": replica.name,
        "state": replica.state,
        "version": None if replica.version is None else str(replica.version),
        "tombstone": replica.tombstone,
        "bytes": replica.bytes,
    }


def ring_json(ring: RingView) -> dict[str, Any]:
    record = ring.record
    return {
        "cluster_id": record.cluster_id,
        "epoch": record.number,
        "changing": record.changing,
        "owners": _owners_json(record.owners, ring),
        "successors": None if record.successors is None else _owners_json(record.successors, ring),
        "replication_factor": record.owners.quorums.replication_factor,
        "write_quorum": record.owners.quorums.write_quorum,
        "read_quorum": record.owners.quorums.read_quorum,
    }


def _owners_json(spec: RingSpec, ring: RingView) -> list[dict[str, Any]]:
    return [
        {
            "name": identity.name,
            "disk_id": f"{identity.disk_id:016x}",
            "address": ring.addresses.get(identity),
            "zone": owner.zone,
            "weight": owner.weight,
            "tokens": [str(token) for token in owner.tokens],
        }
        for identity, owner in sorted(spec.owners.items())
    ]


def repair_json(report: RepairReport) -> dict[str, Any]:
    """``failure`` is null for a node that answered."""
    return {
        "nodes": [{**asdict(node), "failure": node.failure or None} for node in report.nodes],
        "down": list(report.down),
    }
