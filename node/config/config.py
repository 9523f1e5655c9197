"""The configuration of a node: every setting, its type, default, bounds and meaning, in one table.

A value comes from a flag, else from the environment (``COVEY_SET_<KEY>``), else from a JSON file, else it is
the default. docs/configuration.md lists what stands here.
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
"""For answers that are late by more than the operations they belong to."""


class Durability(StrEnum):
    """What an acknowledgement waits for."""

    SYNC = "sync"
    PERIODIC = "periodic"


@dataclass(frozen=True)
class Config:
    """A node's configuration. Raises ConfigurationError for values that cannot be or cannot be together."""

    cluster_size: int = setting(3, "Nodes that `covey up` starts.", least=1, most=100)
    seeds: tuple[str, ...] = setting((), "Where to find the cluster: any live one suffices to join.")

    replication_factor: int = setting(3, "N: copies of each key.", least=1, most=15)
    write_quorum: int = setting(
        2, "W: copies that must be on disk before a write is acknowledged.", least=1, most=15
    )
    read_quorum: int = setting(2, "R: replicas that must answer a read.", least=1, most=15)
    allow_weak_quorums: bool = setting(
        False, "Allow R + W ≤ N or W ≤ N/2, which give up that a read sees the last acknowledged write."
    )
    tokens_per_weight: int = setting(32, "Virtual nodes per unit of a node's weight.", least=1, most=1024)

    heartbeat_interval: float = setting(
        1.0, "Time between two gossip exchanges.", unit="seconds", least=0.01, most=60
    )
    indirect_probes: int = setting(3, "Members asked to try a member that does not answer.", least=0, most=10)
    suspicion_rounds: float = setting(
        2.0,
        "Heartbeat intervals that a suspect has to refute the suspicion before it is down.",
        above=0,
        most=100,
    )
    evict_after: float = setting(
        600.0, "A node that is down for so long is removed.", unit="seconds", least=1
    )
    max_clock_skew: float = setting(
        0.5,
        "A node whose clock is further than this from most others' serves no clients; data from further ahead "
        "is refused.",
        unit="seconds",
        above=0,
    )

    request_timeout: float = setting(
        5.0, "Time a client's operation may take when it names no other.", unit="seconds", above=0, most=3600
    )
    rpc_timeout: float = setting(
        2.0, "Time a call to another node may take.", unit="seconds", above=0, most=600
    )
    max_in_flight: int = setting(
        10_000, "Client operations a node coordinates at once; more are refused early.", least=1
    )
    max_connections: int = setting(
        10_000, "Connections a node takes; fewer where the system's limit of open files is lower.", least=16
    )
    max_key_bytes: int = setting(4096, "The longest key taken.", unit="bytes", least=1, most=65_535)
    max_value_bytes: int = setting(MIB, "The longest value taken.", unit="bytes", least=1, most=16 * MIB)
    durability: Durability = setting(
        Durability.SYNC,
        "`sync`: an acknowledged write is on disk. `periodic`: it will be within a second, and is lost when "
        "several machines lose power before.",
    )

    handoff_timeout: float = setting(
        60.0,
        "A ring change is aborted when a joiner makes no progress for so long, or is down for a quarter of it.",
        unit="seconds",
        above=0,
    )
    handoff_rate: int = setting(
        64 * MIB,
        "Bytes a second that a node pulls at most in a handoff; 0 for no limit.",
        unit="bytes",
        least=0,
    )
    handoff_grace: float = setting(
        10.0,
        "Time after a ring change before copies outside a node's ranges are deleted.",
        unit="seconds",
        least=0,
    )
    tombstone_age: float = setting(
        3600.0,
        "Tombstones older than this are collected, once all their replicas have them.",
        unit="seconds",
        above=0,
    )
    repair_interval: float = setting(
        30.0,
        "Time between two comparisons of a node's data with a peer's, in turn; 0 to compare only when asked.",
        unit="seconds",
        least=0,
        most=86_400,
    )
    repair_rate: int = setting(
        16 * MIB,
        "Bytes a second that a node brings and sends at most to make replicas equal; 0 for no limit.",
        unit="bytes",
        least=0,
    )

    disk_reserve: int = setting(
        64 * MIB,
        "A node with less free space than this refuses writes, and goes on otherwise; 0 for no such limit.",
        unit="bytes",
        least=0,
    )
    scrub_interval: float = setting(
        86_400.0,
        "Time in which a node reads all it holds once, to find damage; 0 for never.",
        unit="seconds",
        least=0,
    )

    hint_max_age: float = setting(
        10_800.0,
        "How long a write is kept for a replica that missed it; then only a comparison brings it there.",
        unit="seconds",
        above=0,
    )
    hint_max_bytes: int = setting(
        256 * MIB, "What a node keeps at most for one replica that misses writes.", unit="bytes", least=0
    )
    hint_rate: int = setting(
        4 * MIB,
        "Bytes a second at most that a node brings to replicas that missed them; 0 for no limit.",
        unit="bytes",
        least=0,
    )

    log_level: Level = setting(Level.INFO, "The least level that is logged.")

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
        """Put together what flags (``overrides``), the environment and a file say.

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
        """How old a version is when no write of it is under way any more, by this node's clock."""
        return self.request_timeout + self.max_clock_skew + SETTLING_MARGIN_S

    def _conflict(self) -> Conflict | None:
        if self.tombstone_age <= self.request_timeout + self.max_clock_skew:
            why = (
                "writes of the time of a tombstone may still be under way when it is collected; "
                "let tombstone_age be more than request_timeout + max_clock_skew"
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
            why = (
                "a read could miss an acknowledged write; let R + W be more than N, or set allow_weak_quorums"
            )
            return self._conflict_of(RWN, why)
        if 2 * w <= n:
            why = "two writes could miss each other; let W be more than N/2, or set allow_weak_quorums"
            return self._conflict_of(WN, why)
        return None

    def _conflict_of(self, keys: tuple[str, ...], why: str) -> Conflict:
        return Conflict({key: getattr(self, key) for key in keys}, why)

    def warnings(self) -> list[str]:
        """What is possible but will surprise someone, a sentence each."""
        n, w, r = self.replication_factor, self.write_quorum, self.read_quorum
        found = []
        if n == 1:
            found.append("replication_factor = 1: each key has one copy, gone when its node's disk is")
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
    """Values that cannot be together."""

    def __init__(
        self, values: Mapping[str, float], why: str, sources: Mapping[str, str] | None = None
    ) -> None:
        origin = {key: f" ({source})" for key, source in (sources or {}).items()}
        stated = ", ".join(f"{key} = {value}{origin.get(key, '')}" for key, value in values.items())
        super().__init__(f"{stated}: {why}")
        self.values = values
        self.why = why


SETTINGS = settings_of(Config)
"""The table, by key."""
