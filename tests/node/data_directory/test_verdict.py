from __future__ import annotations

import pytest

from covey.identity import Identity
from covey.node.data_directory.verdict import Verdict
from covey.node.errors import StorageFailed

VERDICT = Verdict("c", ((Identity("n2", 7), "n2:1"),), segment=5, entries=6, skipped=1, finished=True)


def test_a_verdict_comes_back_from_its_bytes() -> None:
    assert Verdict.decode(VERDICT.encode()) == VERDICT


@pytest.mark.parametrize(
    "encoded", [b"", b"[]", b"{}", b'{"members": [["n2", "a"]]}', b'{"members": [], "x": 1}']
)
def test_bytes_that_are_no_verdict_are_refused(encoded: bytes) -> None:
    with pytest.raises(StorageFailed):
        Verdict.decode(encoded)
