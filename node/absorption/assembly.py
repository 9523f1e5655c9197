"""The parts by which a node finds a cluster that counts it as a member, and by which a cluster takes one in."""

from __future__ import annotations

from dataclasses import dataclass

from ..config.config import Config
from ..coordinator.coordinator import Coordinator
from ..epoch.epochs import Epochs
from ..events import EventLog
from ..members.claim_listener import ClaimListener
from ..members.claims import Claims
from ..members.gossip_driver import GossipDriver
from ..messages.absorption import CALL_TIMEOUTS
from ..peer.client import PeerClient
from ..ports import Ports
from .absorption import Absorption
from .reception import Reception
from .transfer import Transfer

LISTEN_INTERVALS, RECONNECT_S, LONGEST_LISTEN_S = 1.2, 0.5, 1.2
"""Time that a fresh seed listens for a cluster that counts it as a member: a number of heartbeat intervals, and the
longest pause before a peer's connection is tried again; the last value is the limit, so that a start stays short.

In that time each of a few members, or several of many, have tried the disk that was at this address."""


@dataclass(frozen=True)
class AbsorptionParts:
    claims: Claims
    listening: ClaimListener
    absorption: Absorption
    reception: Reception


def make_absorption(
    config: Config,
    ports: Ports,
    peers: PeerClient,
    epochs: Epochs,
    gossiping: GossipDriver,
    coordinator: Coordinator,
    log: EventLog,
) -> AbsorptionParts:
    def cluster_id() -> str:
        record = epochs.record
        return record.cluster_id if record is not None else ""

    claims = Claims(peers, cluster_id, config.rpc_timeout)
    transfer = Transfer(peers, claims, ports.engine, ports.rng, CALL_TIMEOUTS * config.rpc_timeout, log)
    listen_s = min(LISTEN_INTERVALS * config.heartbeat_interval + RECONNECT_S, LONGEST_LISTEN_S)
    return AbsorptionParts(
        claims,
        ClaimListener(claims, peers.me.identity.name, listen_s, log),
        Absorption(epochs, gossiping, ports.engine, claims, transfer, ports.rng, log),
        Reception(
            epochs, gossiping, coordinator, ports.clock, config.max_clock_skew, config.rpc_timeout, log
        ),
    )
