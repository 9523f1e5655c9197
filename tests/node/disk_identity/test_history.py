"""The identity that an engine names, and when it is not the folder's."""

from __future__ import annotations

import pytest

from covey.identity import Identity
from covey.membership.extent import MAX_OPENINGS, Extent
from covey.node.data_directory.local_state import MemoryDataDirectory
from covey.node.disk_identity.history import META_DISK, DiskHistory, DiskRecord
from covey.node.epoch.epochs import META_AGREEMENT
from covey.node.errors import Corruption
from tests.support.memory_engine import MemoryEngine

N1 = Identity("n1", 1)


def home(*, claimed: bool = False, older: bool = False, generation: int = 1) -> MemoryDataDirectory:
    folder = MemoryDataDirectory(N1, generation)
    folder.claimed, folder.older = claimed, older
    return folder


async def begun(folder: MemoryDataDirectory, engine: MemoryEngine, process: int = 7) -> DiskHistory:
    disk = DiskHistory(folder, engine, process)
    assert disk.fault() == ""
    await disk.begin()
    return disk


async def test_the_first_start_writes_the_identity_durably() -> None:
    folder, engine = home(), MemoryEngine()
    await begun(folder, engine)
    assert folder.claimed
    assert DiskHistory(folder.restarted(), engine.crash(), 8).fault() == ""


@pytest.mark.parametrize("generation", [1, 2])
async def test_a_first_start_that_was_cut_short_is_begun_again(generation: int) -> None:
    assert DiskHistory(home(generation=generation), MemoryEngine(), 7).fault() == ""


async def test_a_claimed_folder_without_data_has_lost_it() -> None:
    assert "gone" in DiskHistory(home(claimed=True), MemoryEngine(), 7).fault()


async def test_data_that_names_no_identity_is_not_a_claimed_folders() -> None:
    engine = MemoryEngine()
    engine.put_meta({META_AGREEMENT: b"x"})
    assert DiskHistory(home(claimed=True), engine, 7).fault()


async def test_a_folder_of_an_older_format_is_taken_over_with_its_data() -> None:
    engine = MemoryEngine()
    engine.put_meta({META_AGREEMENT: b"x"})
    await begun(home(older=True, generation=5), engine)


async def test_a_folder_of_an_older_format_without_data_has_lost_it() -> None:
    assert "gone" in DiskHistory(home(older=True, generation=5), MemoryEngine(), 7).fault()


async def test_another_nodes_data_is_found_out() -> None:
    engine = MemoryEngine()
    await begun(home(), engine)
    other = MemoryDataDirectory(Identity("n1", 2))
    assert str(N1) in DiskHistory(other, engine, 7).fault()


async def test_only_an_end_in_good_order_is_one() -> None:
    folder, engine = home(), MemoryEngine()
    disk = await begun(folder, engine)
    killed = DiskHistory(folder.restarted(), engine.copy(), 8)
    await disk.end()
    ended = DiskHistory(folder.restarted(), engine, 8)
    assert not killed.ended_in_order and ended.ended_in_order
    await ended.begin()
    assert not DiskHistory(folder.restarted(), engine, 9).ended_in_order


async def test_what_an_operator_accepted_stays_accepted() -> None:
    folder, engine = home(claimed=False), MemoryEngine()
    await begun(folder, engine)
    ahead = Extent(3, 99, 1_000_000)
    folder = folder.restarted()
    assert DiskHistory(folder, engine, 8).contradicted_by([ahead]) == ahead
    folder.generation, folder.forgiving = 100, True
    await begun(folder, engine, 8)
    again = folder.restarted()
    assert DiskHistory(again, engine, 9).contradicted_by([ahead]) is None


async def test_the_history_is_bounded() -> None:
    folder, engine = home(), MemoryEngine()
    for process in range(MAX_OPENINGS + 10):
        disk = await begun(folder, engine, process)
        folder = folder.restarted()
    stored = engine.get_meta(META_DISK)
    assert stored is not None
    assert len(DiskRecord.decode(stored).openings) == MAX_OPENINGS
    assert disk.contradicted_by([disk.extent()]) is None


@pytest.mark.parametrize("encoded", [b"", b"[]", b"{}", b'{"identity": "n1"}'])
def test_a_damaged_record_is_corruption(encoded: bytes) -> None:
    with pytest.raises(Corruption):
        DiskRecord.decode(encoded)
