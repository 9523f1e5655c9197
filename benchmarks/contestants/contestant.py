"""One of the stores that are compared."""

from __future__ import annotations

import importlib.util
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

from benchmarks.support.load import Store
from benchmarks.support.servers import Servers


class Contestant(ABC):
    """Servers that are started and stopped any number of times; their folder keeps what they store."""

    name: ClassVar[str]
    needs_command: ClassVar[str] = ""
    needs_module: ClassVar[str] = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers = Servers(folder)
        folder.mkdir()

    @classmethod
    def missing(cls) -> str:
        """What would have to be installed first; empty when all is there."""
        if cls.needs_command and not shutil.which(cls.needs_command):
            return f"{cls.needs_command} is not installed"
        if cls.needs_module and not importlib.util.find_spec(cls.needs_module):
            return f"the Python package {cls.needs_module} is not installed"
        return ""

    @property
    def pids(self) -> list[int]:
        """The processes of its servers."""
        return self.servers.pids

    @abstractmethod
    async def start(self) -> None:
        """Start the servers, on the data of the last time, and return when they serve."""

    @abstractmethod
    async def connect(self) -> Store: ...

    def stop(self) -> None:
        self.servers.stop()

    @asynccontextmanager
    async def served(self) -> AsyncIterator[Store]:
        """Servers that run, and a client of theirs, both of which end with the block."""
        try:
            await self.start()
            store = await self.connect()
            try:
                yield store
            finally:
                await store.close()
        finally:
            self.stop()
            os.sync()  # or whoever comes next would wait for what this one has written
