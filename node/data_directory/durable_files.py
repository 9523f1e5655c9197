"""Durable files and folders: replaced atomically, and synced with the folder that contains them."""

from __future__ import annotations

import os
from pathlib import Path

ASIDE = ".new"
"""Suffix of the name under which a file is written before it replaces another."""


def replace_file(path: Path, content: str) -> None:
    """Replace a file atomically and durably."""
    aside = path.with_name(path.name + ASIDE)
    with aside.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Create a folder and its parents durably."""
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
