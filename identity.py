"""A node's identity: its name, and the disk that holds its data.

A wiped disk is a new node even under an old name, because the writes that the old disk acknowledged are lost.
"""

from __future__ import annotations

from typing import NamedTuple

_HEXADECIMAL = frozenset("0123456789abcdef")


class Identity(NamedTuple):
    """A node's identity. Ordered by name, then disk id; the lowest live identity is the steward."""

    name: str
    disk_id: int
    """64 random bits, unsigned, drawn when the data folder is first used."""

    def __str__(self) -> str:
        return f"{self.name}#{self.disk_id:016x}"

    @classmethod
    def parse(cls, text: str) -> Identity:
        """Parse what ``str`` returned. Raise ValueError for anything else."""
        name, separator, disk_id = text.rpartition("#")
        if not name or not separator or len(disk_id) != 16 or not _HEXADECIMAL.issuperset(disk_id):
            raise ValueError(f"not an identity: {text[:100]!r}")
        return cls(name, int(disk_id, 16))
