"""Files and folders that are there after a crash: replaced whole, and synced with the folder that names them."""

from __future__ import annotations

import os
from pathlib import Path

ASIDE = ".new"
"""Ends the name under which a file is written before it takes another's place."""


def replace_file(path: Path, content: str) -> None:
    """Put a whole file in another's place, durably."""
    aside = path.with_name(path.name + ASIDE)
    with aside.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Create a folder and those above it, durably."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
