"""Real records to load: the machine's package index, or where there is none, its files."""

from __future__ import annotations

import shutil
import subprocess
from itertools import islice
from pathlib import Path

LEAST_RECORDS = 20_000
LARGEST_VALUE = 200_000
FILES = (Path("/usr/lib"), Path("/usr/share"), Path("/usr/include"))


def real_records() -> dict[str, bytes]:
    """Package name -> its record in the package index; else path -> content of this machine's files."""
    packages = _package_index()
    return packages if len(packages) >= LEAST_RECORDS else _files()


def _package_index() -> dict[str, bytes]:
    if shutil.which("apt-cache") is None:
        return {}
    dump = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, check=False).stdout
    records = {}
    for record in dump.split(b"\n\n"):
        head, _, _ = record.partition(b"\n")
        if head.startswith(b"Package: "):
            records[head.removeprefix(b"Package: ").decode()] = record
    return records


def _files() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    paths = (
        path for root in FILES for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()
    )
    for path in islice(paths, 4 * LEAST_RECORDS):
        if path.stat().st_size <= LARGEST_VALUE and len(found) < 3 * LEAST_RECORDS:
            found[str(path)] = path.read_bytes()
    assert len(found) >= LEAST_RECORDS, "this machine has too few files to load"
    return found
