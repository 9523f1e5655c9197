"""What a mutation is: a bug put into the product on purpose, and the tests that have to notice it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Mutation:
    says: str
    """The bug, in a few words."""
    rule: int
    """The epoch rule that it breaks; 0 for what is promised elsewhere."""
    file: str
    edits: tuple[tuple[str, str], ...]
    """Old and new text. Each old text must stand in the file exactly once, so that no mutation goes stale."""
    catchers: tuple[str, ...]
    """Tests, by pytest's ids. At least one of them must fail."""
    seed: int = 0
    """The first of the simulator's seeds that catches it too; 0 where few seeds or none were tried."""

    def apply(self, root: Path = ROOT) -> str:
        """The file as the mutation leaves it. Raises ValueError when it does not apply exactly once."""
        text = (root / self.file).read_text()
        for old, new in self.edits:
            if (found := text.count(old)) != 1:
                raise ValueError(f"{self.says}: {self.file} has {found} times, not once: {old}")
            text = text.replace(old, new)
        return text


def mutation(says: str, rule: int, file: str, old: str, new: str, *catchers: str, seed: int = 0) -> Mutation:
    """The usual kind: one edit."""
    return Mutation(says, rule, file, ((old, new),), catchers, seed)
