"""``python -m tests.traces``: write the golden traces anew; with names, only those."""

from __future__ import annotations

import sys
from pathlib import Path

from .protocols import PROTOCOLS

FOLDER = Path(__file__).parent


def main() -> int:
    """Return 0, or 2 for a name that no trace has."""
    wanted = set(sys.argv[1:])
    if unknown := wanted - {protocol.name for protocol in PROTOCOLS}:
        print(f"no such trace: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    for protocol in PROTOCOLS:
        if not wanted or protocol.name in wanted:
            (FOLDER / f"{protocol.name}.txt").write_text(protocol.text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
