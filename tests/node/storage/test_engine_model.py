"""Engines against a dictionary: any order of merges, drops, scans, flushes and reopenings."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from functools import reduce
from operator import xor
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from covey.node.storage.encoding import digest_of, pack, stored_key
from covey.node.storage.engine import StoreEngine
from covey.node.storage.interface import Cursor, Entry, Usage
from covey.node.storage.rocks import RocksEngine
from covey.node.storage.segments import SEGMENTS, segment_of
from covey.quorum.version import Version
from covey.ring.tokens import TOKEN_SPACE, WHOLE_RING, TokenRange, token_of
from tests.support.memory_engine import MemoryEngine

KEYS = [b"%d" % number for number in range(30)] + [b"", b"\xff" * 20, b"\0"]
EDGES = sorted(
    {(token_of(key) + offset) % TOKEN_SPACE for key in KEYS for offset in (-1, 0, 1)}
    | {0, 1, TOKEN_SPACE - 1, TOKEN_SPACE // SEGMENTS, TOKEN_SPACE // SEGMENTS - 1}
)

keys = st.sampled_from(KEYS)
versions = st.builds(Version, st.integers(0, 5), st.integers(0, 1), st.integers(1, 2))
spans = st.builds(TokenRange, st.sampled_from(EDGES), st.sampled_from(EDGES))
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
        self.latest = 0

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
                self.latest = max(self.latest, entry.version.timestamp)
            expected.append(self.entries[key].version)
        assert standing == expected
        self.set_named(meta)

    @rule(dropped=st.lists(spans, max_size=3), meta=named)
    def drop(self, dropped: list[TokenRange], meta: dict[str, bytes | None]) -> None:
        self.engine.drop(dropped, meta)
        gone = [key for key in KEYS if any(span.contains(token_of(key)) for span in dropped)]
        for key in gone:
            self.entries.pop(key, None)
        self.undurable.update(gone)
        self.set_named(meta)

    @rule(span=spans, max_entries=st.integers(1, 5), max_bytes=st.integers(1, 20))
    def scan(self, span: TokenRange, max_entries: int, max_bytes: int) -> None:
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

    @rule(replaced=st.lists(spans, max_size=2), given=st.lists(st.tuples(keys, versions), max_size=8))
    def replace(self, replaced: list[TokenRange], given: list[tuple[bytes, Version]]) -> None:
        inside = [pair for pair in given if any(span.contains(token_of(pair[0])) for span in replaced)]
        self.engine.replace(replaced, [(key, Entry(v, value_of(key, v))) for key, v in inside])
        gone = [key for key in KEYS if any(span.contains(token_of(key)) for span in replaced)]
        for key in gone:
            self.entries.pop(key, None)
        for key, version in sorted(inside, key=lambda pair: pair[1]):
            self.entries[key] = Entry(version, value_of(key, version))
            self.latest = max(self.latest, version.timestamp)
        self.undurable.update(gone)

    @rule(given=st.lists(st.tuples(keys, versions), max_size=4), data=st.data())
    def purge(self, given: list[tuple[bytes, Version]], data: st.DataObject) -> None:
        held = [(key, entry.version) for key, entry in self.entries.items()]
        if held:
            given = given + data.draw(st.lists(st.sampled_from(held), max_size=6))
        exact = {key for key, version in given if self.entries.get(key) == Entry(version, None)}
        assert self.engine.purge(given) == len(exact)
        for key in exact:
            del self.entries[key]
        self.undurable.update(exact)

    @rule(span=spans, up_to=st.integers(0, 6), max_entries=st.integers(1, 3))
    def tombstones(self, span: TokenRange, up_to: int, max_entries: int) -> None:
        expected = {
            key: entry.version
            for key, entry in self.entries.items()
            if span.contains(token_of(key)) and entry.tombstone and entry.version.timestamp <= up_to
        }
        after: Cursor | None = None
        found: list[tuple[bytes, Version]] = []
        while True:
            page = self.engine.tombstones(span, after, up_to, max_entries)
            assert len(page.entries) <= max_entries
            found += page.entries
            if page.next is None:
                break
            after = page.next
        order = [(token_of(key) - span.after - 1) % TOKEN_SPACE for key, _ in found]
        assert order == sorted(order)
        assert len(found) == len(expected)
        assert dict(found) == expected

    @rule(given=st.lists(spans, max_size=4))
    def digests(self, given: list[TokenRange]) -> None:
        assert self.engine.digests(given) == [self.digest_of(span) for span in given]

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
        assert self.engine.get_many(KEYS + KEYS[:2]) == [self.entries.get(key) for key in KEYS + KEYS[:2]]
        assert {name: self.engine.get_meta(name) for name in "ab"} == {n: self.named.get(n) for n in "ab"}
        assert {key for key in KEYS if not self.engine.is_durable(key)} == self.undurable
        sizes = [len(key) + len(entry.value or b"") for key, entry in self.entries.items()]
        live = sum(not entry.tombstone for entry in self.entries.values())
        assert self.engine.usage() == Usage(live, sum(sizes))
        assert self.engine.latest_timestamp() == self.latest
        assert self.engine.digests([WHOLE_RING, TokenRange(9, 9)]) == [self.digest_of(WHOLE_RING)] * 2
        for number in {segment_of(token_of(key)) for key in KEYS}:
            for _ in self.engine.verify(number, step_bytes=1):
                pass
        assert self.engine.quarantined() == ()

    def digest_of(self, span: TokenRange) -> int:
        """From every entry anew."""
        inside = [(key, entry) for key, entry in self.entries.items() if span.contains(token_of(key))]
        rows = [(stored_key(key), entry) for key, entry in inside]
        return reduce(xor, [digest_of(stored, pack(stored, entry)) for stored, entry in rows], 0)

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
        before = dict(self.entries), dict(self.named), self.latest
        batches = data.draw(st.lists(st.lists(st.tuples(keys, versions), min_size=1), min_size=1, max_size=4))
        kept = data.draw(st.integers(0, len(batches)))
        for given in batches[:kept]:
            self.merge(given, {"a": b"kept"})
        after = dict(self.entries), dict(self.named), self.latest
        for given in batches[kept:]:
            self.merge(given, {"a": b"lost"})
        self.engine = self.memory = self.memory.crash(keep_unsynced=kept)
        self.entries, self.named, self.latest = after if kept else before
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
