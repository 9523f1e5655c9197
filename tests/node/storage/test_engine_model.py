"""Engines against a dictionary: any order of merges, drops, scans, flushes and reopenings."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from covey.node.quorum.version import Version
from covey.node.storage.engine import Cursor, Entry, Usage
from covey.node.storage.memory import MemoryEngine
from covey.node.storage.rocks import RocksEngine
from covey.node.storage.store_engine import StoreEngine
from covey.node.storage.usage import SLICES
from covey.ring.hashing import TOKEN_SPACE, token_of
from covey.ring.span import Span

KEYS = [b"%d" % number for number in range(30)] + [b"", b"\xff" * 20, b"\0"]
EDGES = sorted(
    {(token_of(key) + offset) % TOKEN_SPACE for key in KEYS for offset in (-1, 0, 1)}
    | {0, 1, TOKEN_SPACE - 1, TOKEN_SPACE // SLICES, TOKEN_SPACE // SLICES - 1}
)

keys = st.sampled_from(KEYS)
versions = st.builds(Version, st.integers(0, 5), st.integers(0, 1), st.integers(1, 2))
spans = st.builds(Span, st.sampled_from(EDGES), st.sampled_from(EDGES))
named = st.dictionaries(st.sampled_from(["a", "b"]), st.none() | st.binary(max_size=3), max_size=2)


def value_of(key: bytes, version: Version) -> bytes | None:
    """A version has one value, or is a tombstone: it names one write."""
    return None if version.timestamp % 3 == 2 else key * version.timestamp


class EngineModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.entries: dict[bytes, Entry] = {}
        self.named: dict[str, bytes] = {}
        self.undurable: set[bytes] = set()

    def opened(self) -> StoreEngine:
        raise NotImplementedError

    def reopened(self) -> StoreEngine:
        raise NotImplementedError

    @initialize()
    def open(self) -> None:
        self.engine = self.opened()

    @rule(given=st.lists(st.tuples(keys, versions), max_size=8), meta=named)
    def merge(self, given: list[tuple[bytes, Version]], meta: dict[str, bytes | None]) -> None:
        entries = [(key, Entry(version, value_of(key, version))) for key, version in given]
        standing = self.engine.merge(entries, meta)
        expected = []
        for key, entry in entries:
            if key not in self.entries or entry.version > self.entries[key].version:
                self.entries[key] = entry
                self.undurable.add(key)
            expected.append(self.entries[key].version)
        assert standing == expected
        self.set_named(meta)

    @rule(dropped=st.lists(spans, max_size=3), meta=named)
    def drop(self, dropped: list[Span], meta: dict[str, bytes | None]) -> None:
        self.engine.drop(dropped, meta)
        gone = [key for key in KEYS if any(span.contains(token_of(key)) for span in dropped)]
        for key in gone:
            self.entries.pop(key, None)
        self.undurable.update(gone)
        self.set_named(meta)

    @rule(span=spans, max_entries=st.integers(1, 5), max_bytes=st.integers(1, 20))
    def scan(self, span: Span, max_entries: int, max_bytes: int) -> None:
        inside = [key for key in self.entries if span.contains(token_of(key))]
        expected = sorted(inside, key=lambda key: (token_of(key) - span.after - 1) % TOKEN_SPACE)
        after: Cursor | None = None
        found: list[tuple[bytes, Entry]] = []
        while True:
            chunk = self.engine.scan(span, after, max_entries, max_bytes)
            assert len(chunk.entries) <= max_entries
            assert chunk.entries or chunk.next is None
            found += chunk.entries
            if chunk.next is None:
                break
            after = chunk.next
        assert found == [(key, self.entries[key]) for key in expected]

    @rule()
    def flush(self) -> None:
        self.loop.run_until_complete(self.engine.durable())
        self.undurable.clear()

    @rule()
    def reopen(self) -> None:
        self.loop.run_until_complete(self.engine.close())
        self.engine = self.reopened()
        self.undurable.clear()

    @invariant()
    def all_is_as_in_the_dictionary(self) -> None:
        if not hasattr(self, "engine"):
            return
        assert {key: self.engine.get(key) for key in KEYS} == {key: self.entries.get(key) for key in KEYS}
        assert {name: self.engine.get_meta(name) for name in "ab"} == {n: self.named.get(n) for n in "ab"}
        assert {key for key in KEYS if not self.engine.is_durable(key)} == self.undurable
        sizes = [len(key) + len(entry.value or b"") for key, entry in self.entries.items()]
        live = sum(not entry.tombstone for entry in self.entries.values())
        assert self.engine.usage() == Usage(live, sum(sizes))

    def set_named(self, meta: dict[str, bytes | None]) -> None:
        for name, value in meta.items():
            if value is None:
                self.named.pop(name, None)
            else:
                self.named[name] = value

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.loop.run_until_complete(self.engine.close())
        self.loop.close()


class MemoryModel(EngineModel):
    def opened(self) -> StoreEngine:
        self.memory = MemoryEngine()
        return self.memory

    def reopened(self) -> StoreEngine:
        self.memory = self.memory.crash()
        return self.memory

    @rule(data=st.data())
    def lose_power(self, data: st.DataObject) -> None:
        """Batches that a flush covers are kept; of the rest, the oldest few."""
        if self.memory.unsynced_batches:
            return
        before = dict(self.entries), dict(self.named)
        batches = data.draw(st.lists(st.lists(st.tuples(keys, versions), min_size=1), min_size=1, max_size=4))
        kept = data.draw(st.integers(0, len(batches)))
        for given in batches[:kept]:
            self.merge(given, {"a": b"kept"})
        after = dict(self.entries), dict(self.named)
        for given in batches[kept:]:
            self.merge(given, {"a": b"lost"})
        self.engine = self.memory = self.memory.crash(keep_unsynced=kept)
        self.entries, self.named = after if kept else before
        self.undurable.clear()


class RocksModel(EngineModel):
    def opened(self) -> StoreEngine:
        self.path = Path(tempfile.mkdtemp())
        return self.reopened()

    def reopened(self) -> StoreEngine:
        return RocksEngine.open(self.path)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "path"):
            shutil.rmtree(self.path)


quick = [HealthCheck.too_slow, HealthCheck.filter_too_much]
MemoryModel.TestCase.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=quick
)
RocksModel.TestCase.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=quick
)

TestMemory = MemoryModel.TestCase
TestRocks = RocksModel.TestCase
