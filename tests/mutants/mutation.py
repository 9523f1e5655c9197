"""A mutation: a deliberate bug in the product, and the tests that must catch it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Mutation:
    bug: str
    """The bug in a few words; the name of the mutation."""
    rule: int
    """The rule of docs/ring-changes.md that it breaks; 0 for other promises."""
    file: str
    edits: tuple[tuple[str, str], ...]
    """Old and new text. The file must contain each old text exactly once, so that no mutation gets stale."""
    catchers: tuple[str, ...]
    """Test ids of pytest; at least one of these tests must fail."""
    seed: int = 0
    """The first seed of the simulator that also catches it; 0 if unknown."""

    def apply(self, root: Path = ROOT) -> str:
        """Return the text of the mutated file. Raise ValueError if an old text does not occur exactly once."""
        text = (root / self.file).read_text()
        for old, new in self.edits:
            if (found := text.count(old)) != 1:
                raise ValueError(f"{self.bug}: {self.file} contains {found} times, not once: {old}")
            text = text.replace(old, new)
        return text


def mutation(bug: str, rule: int, file: str, old: str, new: str, *catchers: str, seed: int = 0) -> Mutation:
    """Return a mutation with one edit."""
    return Mutation(bug, rule, file, ((old, new),), catchers, seed)
