"""Answers of a cluster as JSON. Programs parse them: names and meanings are fixed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .records import text_or_base64

if TYPE_CHECKING:
    from ...api.cluster import ClusterStatus, Explanation, RepairReport, RingView
    from ...ring.epoch import RingSpec


def status_json(status: ClusterStatus) -> dict[str, Any]:
    return {
        "cluster_id": status.cluster_id,
        "epoch": status.epoch,
        "changing": status.changing,
        "synced": status.synced,
        "nodes": [
            {
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
                "handoff": node.handoff
                and {"bytes_done": node.handoff.bytes_done, "bytes_total": node.handoff.bytes_total},
            }
            for node in status.nodes
        ],
    }


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    """Return the form of an explanation. Tokens are decimal strings, since many JSON parsers cannot hold 64 bits."""
    return {
        **text_or_base64("key", explanation.key),
        "token": str(explanation.token),
        "epoch": explanation.epoch,
        "replicas": [
            {
                "name": replica.name,
                "state": replica.state,
                "version": None if replica.version is None else str(replica.version),
                "tombstone": replica.tombstone,
                "bytes": replica.bytes,
            }
            for replica in explanation.replicas
        ],
        "reachable": explanation.reachable,
        "read_quorum": explanation.read_quorum,
        "write_quorum": explanation.write_quorum,
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
    """Return the form of a repair. ``failure`` is null for a node that answered."""
    return {
        "nodes": [{**asdict(node), "failure": node.failure or None} for node in report.nodes],
        "down": list(report.down),
    }
