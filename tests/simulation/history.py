"""What clients did and were told, and whether a store that keeps its promises could have told them so."""

from __future__ import annotations

from dataclasses import dataclass, field

from covey.node.quorum.version import Version


@dataclass(frozen=True, slots=True)
class Told:
    """A version of a key that a client was told of, by a read or by an acknowledgement."""

    began_s: float
    ended_s: float
    version: Version
    by_read: bool


@dataclass
class History:
    told: dict[bytes, list[Told]] = field(default_factory=dict)
    values: dict[tuple[bytes, Version], bytes | None] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    reads = writes = failed = 0

    def wrote(
        self, key: bytes, version: Version, value: bytes | None, began_s: float, ended_s: float
    ) -> None:
        """An acknowledged write; None is a delete."""
        self.writes += 1
        if (key, version) in self.values and self.values[key, version] != value:
            self.faults.append(f"{key!r}: two writes are version {version}")
        self.values[key, version] = value
        self.told.setdefault(key, []).append(Told(began_s, ended_s, version, by_read=False))

    def read(
        self, key: bytes, version: Version | None, value: bytes | None, began_s: float, ended_s: float
    ) -> None:
        self.reads += 1
        newest = self.newest_before(key, began_s)
        if newest is not None and (version is None or version < newest.version):
            how = "read" if newest.by_read else "acknowledged"
            self.faults.append(
                f"{key!r}: read at {began_s:.3f} found {version}, though {newest.version} was {how} "
                f"by {newest.ended_s:.3f}"
            )
        if version is None:
            return
        if self.values.setdefault((key, version), value) != value:
            self.faults.append(f"{key!r}: version {version} was read as {value!r}, not as it was before")
        self.told.setdefault(key, []).append(Told(began_s, ended_s, version, by_read=True))

    def newest_before(self, key: bytes, instant_s: float) -> Told | None:
        """The newest version that anyone had been told of before."""
        before = [told for told in self.told.get(key, ()) if told.ended_s < instant_s]
        return max(before, key=lambda told: told.version, default=None)
