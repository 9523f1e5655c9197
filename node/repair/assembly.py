"""Repair and the collection of tombstones, put together from their parts."""

from __future__ import annotations

import random

from ...identity import Identity
from ..config import Config
from ..epochs import Epoch, Epochs
from ..events import EventLog
from ..fenced import FencedPeers
from ..gossiping import Gossiping
from ..ports import Clock
from ..storage.engine import Engine
from ..throttle import Throttle
from .anti_entropy import AntiEntropy
from .comparison import Comparison
from .digests import Digests
from .repair import Repair
from .schedule import Schedule
from .tombstones import CollectionSettings, TombstoneCollection


def make_repair(
    config: Config,
    peers: FencedPeers,
    epochs: Epochs,
    engine: Engine,
    gossiping: Gossiping,
    clock: Clock,
    rng: random.Random,
    log: EventLog,
) -> Repair:
    digests = Digests(peers.me, epochs, engine)
    throttle = Throttle(clock, config.repair_rate)

    def make_comparison(epoch: Epoch, peer: Identity) -> Comparison:
        return Comparison(epoch, peer, epochs, engine, peers, digests, throttle, config.rpc_timeout)

    anti_entropy = AntiEntropy(peers.me, epochs, digests, make_comparison, clock, log)
    schedule = Schedule(peers.me, config.repair_interval, rng)
    repair = Repair(
        peers.me, epochs, anti_entropy, schedule, gossiping.is_down, gossiping.say_condition, clock
    )
    gossiping.observe_arrivals(repair.mark)
    return repair


def make_tombstone_collection(
    config: Config,
    peers: FencedPeers,
    epochs: Epochs,
    engine: Engine,
    gossiping: Gossiping,
    repair: Repair,
    clock: Clock,
    rng: random.Random,
    log: EventLog,
) -> TombstoneCollection:
    settings = CollectionSettings.of(config)
    return TombstoneCollection(
        epochs, engine, peers, gossiping.is_down, repair.mark, clock, rng, settings, log
    )
