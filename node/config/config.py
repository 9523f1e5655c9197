"""The configuration of a node: every setting, its type, default, bounds and meaning, in one table.

A value comes from a flag, else from the environment (``COVEY_SET_<KEY>``), else from a JSON file, else it is
the default. docs/configuration.md lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ..errors import ConfigurationError
from ..events import Level
from .setting import setting, settings_of
from .sources import Given, read_environment, read_file, read_flags

MIB = 1 << 20
SETTLING_MARGIN_S = 2.0
"""Allows for answers that arrive after their operations have ended."""


class Durability(StrEnum):
    """What an acknowledgement waits for."""

    SYNC = "sync"
    PERIODIC = "periodic"


@dataclass(frozen=True)
class Config:
    """A node's configuration. Raises ConfigurationError for invalid and for conflicting values."""

    cluster_size: int = setting(3, "Nodes that `covey up` starts.", minimum=1, maximum=100)
    seeds: tuple[str, ...] = setting(
        (), "Addresses of nodes of the cluster; one live node is enough to join."
    )

    replication_factor: int = setting(3, "N: number of copies of each key.", minimum=1, maximum=15)
    write_quorum: int = setting(
        2, "W: number of copies that must be on disk before a write is acknowledged.", minimum=1, maximum=15
    )
    read_quorum: int = setting(2, "R: number of replicas that must answer a read.", minimum=1, maximum=15)
    allow_weak_quorums: bool = setting(
        False, "Allow R + W ≤ N or W ≤ N/2, where a read may miss the last acknowledged write."
    )
    tokens_per_weight: int = setting(
        32, "Virtual nodes per unit of a node's weight.", minimum=1, maximum=1024
    )

    heartbeat_interval: float = setting(
        1.0, "Interval between gossip exchanges.", unit="seconds", minimum=0.01, maximum=60
    )
    indirect_probes: int = setting(
        3,
        "Number of members that are asked to probe a member that does not answer.",
        minimum=0,
        maximum=10,
    )
    suspicion_rounds: float = setting(
        2.0,
        "Heartbeat intervals after which a suspected member is down, unless it refutes the suspicion.",
        above=0,
        maximum=100,
    )
    evict_after: float = setting(
        600.0, "Time after which a node that is down is removed from the ring.", unit="seconds", minimum=1
    )
    max_clock_skew: float = setting(
        0.5,
        "Maximum difference between a node's clock and those of most others; beyond it the node serves no clients, "
        "and data from further ahead is refused.",
        unit="seconds",
        above=0,
    )

    request_timeout: float = setting(5.0, "Default client timeout.", unit="seconds", above=0, maximum=3600)
    rpc_timeout: float = setting(2.0, "Timeout of calls between nodes.", unit="seconds", above=0, maximum=600)
    max_in_flight: int = setting(
        10_000,
        "Maximum number of client operations that a node coordinates concurrently; more are refused.",
        minimum=1,
    )
    max_connections: int = setting(
        10_000,
        "Maximum number of connections of a node; lower if the limit of open files requires it.",
        minimum=16,
    )
    max_key_bytes: int = setting(4096, "Maximum size of a key.", unit="bytes", minimum=1, maximum=65_535)
    max_value_bytes: int = setting(MIB, "Maximum size of a value.", unit="bytes", minimum=1, maximum=16 * MIB)
    durability: Durability = setting(
        Durability.SYNC,
        "`sync`: an acknowledged write is on disk. `periodic`: it will be within a second, and is lost if "
        "several machines lose power before.",
    )

    handoff_timeout: float = setting(
        60.0,
        "A ring change is aborted when a joiner makes no progress for this time, or is down for a quarter of it.",
        unit="seconds",
        above=0,
    )
    handoff_rate: int = setting(
        64 * MIB,
        "Maximum rate, in bytes per second, at which a node pulls in a handoff; 0 for no limit.",
        unit="bytes",
        minimum=0,
    )
    handoff_grace: float = setting(
        10.0,
        "Time after a ring change until copies outside a node's ranges are deleted.",
        unit="seconds",
        minimum=0,
    )
    tombstone_age: float = setting(
        3600.0,
        "Age after which tombstones are collected, once all their replicas have them.",
        unit="seconds",
        above=0,
    )
    repair_interval: float = setting(
        30.0,
        "Interval between anti-entropy sessions of a node with its peers, in turn; 0 for sessions only on request.",
        unit="seconds",
        minimum=0,
        maximum=86_400,
    )
    repair_rate: int = setting(
        16 * MIB,
        "Maximum rate, in bytes per second, at which a node repairs replicas; 0 for no limit.",
        unit="bytes",
        minimum=0,
    )

    disk_reserve: int = setting(
        64 * MIB,
        "Free space below which a node refuses writes; 0 for no limit.",
        unit="bytes",
        minimum=0,
    )
    scrub_interval: float = setting(
        86_400.0,
        "Time in which a node reads all its data once, to find damage; 0 for never.",
        unit="seconds",
        minimum=0,
    )

    hint_max_age: float = setting(
        10_800.0,
        "Maximum age of hints; afterwards only anti-entropy brings the write to the replica that missed it.",
        unit="seconds",
        above=0,
    )
    hint_max_bytes: int = setting(
        256 * MIB, "Maximum size of the hints that a node keeps for one replica.", unit="bytes", minimum=0
    )
    hint_rate: int = setting(
        4 * MIB,
        "Maximum rate, in bytes per second, at which a node replays hints; 0 for no limit.",
        unit="bytes",
        minimum=0,
    )

    log_level: Level = setting(Level.INFO, "Minimum level that is logged.")

    def __post_init__(self) -> None:
        for key, row in SETTINGS.items():
            value = getattr(self, key)
            try:
                object.__setattr__(self, key, row.read(value))
            except ConfigurationError as error:
                raise ConfigurationError(f"{key} = {value!r}: {error}") from None
        if conflict := self._conflict():
            raise conflict

    @classmethod
    def load(cls, file: Path | None, environ: Mapping[str, str], overrides: Mapping[str, str]) -> Config:
        """Combine flags (``overrides``), the environment and a file.

        Raises ConfigurationError that names source, key, value and what is allowed.
        """
        given: dict[str, Given] = {}
        if file is not None:
            given |= read_file(file, SETTINGS)
        given |= read_environment(environ, SETTINGS)
        given |= read_flags(overrides, SETTINGS)
        try:
            return cls(**{key: one.value for key, one in given.items()})
        except Conflict as conflict:
            sources = {key: given[key].source if key in given else "default" for key in conflict.values}
            raise Conflict(conflict.values, conflict.why, sources) from None

    @property
    def settled_after_s(self) -> float:
        """Return the age, by this node's clock, at which no write of a version can be under way any more."""
        return self.request_timeout + self.max_clock_skew + SETTLING_MARGIN_S

    def _conflict(self) -> Conflict | None:
        if self.tombstone_age <= self.request_timeout + self.max_clock_skew:
            why = (
                "writes of the time of a tombstone may still be under way when it is collected; "
                "set tombstone_age to more than request_timeout + max_clock_skew"
            )
            return self._conflict_of(AGE, why)
        n, w, r = self.replication_factor, self.write_quorum, self.read_quorum
        if w > n:
            return self._conflict_of(WN, "more copies than there are cannot acknowledge a write")
        if r > n:
            return self._conflict_of(RN, "more replicas than there are cannot answer a read")
        if self.allow_weak_quorums:
            return None
        if r + w <= n:
            why = "a read could miss an acknowledged write; choose R + W above N, or set allow_weak_quorums"
            return self._conflict_of(RWN, why)
        if 2 * w <= n:
            why = "two writes could miss each other; choose W above N/2, or set allow_weak_quorums"
            return self._conflict_of(WN, why)
        return None

    def _conflict_of(self, keys: tuple[str, ...], why: str) -> Conflict:
        return Conflict({key: getattr(self, key) for key in keys}, why)

    def warnings(self) -> list[str]:
        """Return what is allowed but surprising, a sentence each."""
        n, w, r = self.replication_factor, self.write_quorum, self.read_quorum
        found = []
        if n == 1:
            found.append("replication_factor = 1: each key has one copy, lost with its node's disk")
        if w == n > 1:
            found.append(f"write_quorum = {w} = replication_factor: {WHILE_ONE_IS_DEAD.format('written')}")
        if r == n > 1:
            found.append(f"read_quorum = {r} = replication_factor: {WHILE_ONE_IS_DEAD.format('read')}")
        if r + w <= n or 2 * w <= n:
            found.append("allow_weak_quorums = true: a read may miss an acknowledged write")
        if self.cluster_size < n:
            found.append(f"cluster_size = {self.cluster_size}: too few nodes for {n} copies of each key")
        if self.rpc_timeout > self.request_timeout:
            found.append(
                "rpc_timeout is longer than request_timeout: operations end before a slow replica is given up"
            )
        return found


WN = ("write_quorum", "replication_factor")
RN = ("read_quorum", "replication_factor")
AGE = ("tombstone_age", "request_timeout", "max_clock_skew")
RWN = ("read_quorum", "write_quorum", "replication_factor")

WHILE_ONE_IS_DEAD = "while one replica is dead, its keys cannot be {}, nor can it be removed safely"


class Conflict(ConfigurationError):
    """Values that conflict."""

    def __init__(
        self, values: Mapping[str, float], why: str, sources: Mapping[str, str] | None = None
    ) -> None:
        origin = {key: f" ({source})" for key, source in (sources or {}).items()}
        stated = ", ".join(f"{key} = {value}{origin.get(key, '')}" for key, value in values.items())
        super().__init__(f"{stated}: {why}")
        self.values = values
        self.why = why


SETTINGS = settings_of(Config)
"""The settings, by key."""
