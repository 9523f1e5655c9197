"""The record keeps what was agreed, byte for byte, and refuses what no cluster could live by."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey.identity import Identity
from covey.ring.epoch import ALLOW_WEAK_QUORUMS, EpochRecord, Owner, Quorums, RingSpec

A, B, C = (Identity(name, number) for number, name in enumerate("abc", start=1))
SPEC = RingSpec({A: Owner((1, 50)), B: Owner((2, 60), "east", 2.0), C: Owner((3,))}, Quorums())
RECORD = EpochRecord(
    7, "cluster", SPEC, floor=9, settings={"tombstone_age": 60.5, "nested": {"b": [1], "a": None}}
)
BOTH_RINGS = replace(RECORD, successors=RingSpec({A: Owner((1, 50))}, Quorums(1, 1, 1)))

identities = st.builds(Identity, st.text(min_size=1, max_size=6), st.integers(0, 2**64 - 1))
quorums = st.integers(1, 7).flatmap(
    lambda n: st.builds(Quorums, st.just(n), st.integers(1, n), st.integers(1, n)).filter(lambda q: q.strict)
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def specs(draw: st.DrawFn) -> RingSpec:
    tokens = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=12, unique=True))
    nodes = draw(st.lists(identities, min_size=1, max_size=len(tokens), unique=True))
    owners = {
        node: Owner(
            tuple(sorted(tokens[i :: len(nodes)])), draw(st.text(max_size=4)), draw(st.floats(0.1, 9))
        )
        for i, node in enumerate(nodes)
    }
    return RingSpec(owners, draw(quorums))


records = st.builds(
    EpochRecord,
    number=st.integers(1, 10**9),
    cluster_id=st.text(min_size=1, max_size=8),
    owners=specs(),
    successors=st.none() | specs(),
    floor=st.integers(0, 2**64 - 1),
    settings=st.dictionaries(st.text(max_size=5), json_values, max_size=3),
)


@given(records)
def test_what_is_encoded_decodes_to_an_equal_record(record: EpochRecord) -> None:
    """Every field survives, and so do the bytes."""
    decoded = EpochRecord.decode(record.encoded)
    assert decoded == record
    assert decoded.encoded == record.encoded
    assert (decoded.owners, decoded.successors, decoded.floor) == (
        record.owners,
        record.successors,
        record.floor,
    )


@given(specs(), st.randoms(use_true_random=False))
def test_the_stamp_does_not_depend_on_the_order_of_dicts(spec: RingSpec, rng: Any) -> None:
    """Two nodes that built the same record in different orders name it alike."""
    items = list(spec.owners.items())
    rng.shuffle(items)
    settings = {"x": 1, "y": {"p": 1, "q": 2}}
    turned = {"y": {"q": 2, "p": 1}, "x": 1}
    one = EpochRecord(1, "cluster", spec, settings=settings)
    other = EpochRecord(1, "cluster", replace(spec, owners=dict(items)), settings=turned)
    assert one.stamp == other.stamp


def test_a_weight_given_as_a_whole_number_does_not_change_the_stamp() -> None:
    """1 and 1.0 are one weight, also in the bytes; or encoder and decoder would disagree on the digest."""
    whole = EpochRecord(1, "cluster", RingSpec({A: Owner((1,), weight=1)}, Quorums()))
    assert EpochRecord.decode(whole.encoded).stamp == whole.stamp


def test_records_that_differ_only_in_a_json_type_are_different() -> None:
    """Python takes True for 1; the digest does not, so equality does not either."""
    assert replace(RECORD, settings={"x": True}) != replace(RECORD, settings={"x": 1})


def _edited(edit: Callable[[dict[str, Any]], object]) -> bytes:
    data = json.loads(BOTH_RINGS.encoded)
    edit(data)
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


A_TEXT, B_TEXT = str(A), str(B)
MALFORMED: dict[str, Callable[[dict[str, Any]], object]] = {
    "a field missing": lambda d: d.pop("floor"),
    "an unknown field": lambda d: d.update(extra=1),
    "number zero": lambda d: d.update(number=0),
    "number as text": lambda d: d.update(number="7"),
    "number true": lambda d: d.update(number=True),
    "number with a fraction": lambda d: d.update(number=7.5),
    "no cluster": lambda d: d.update(cluster_id=""),
    "floor as a number": lambda d: d.update(floor=9),
    "negative floor": lambda d: d.update(floor="-1"),
    "floor beyond 64 bits": lambda d: d.update(floor=str(2**64)),
    "no owners": lambda d: d["owners"].update(owners={}),
    "owners a list": lambda d: d["owners"].update(owners=[]),
    "an identity without disk id": lambda d: d["owners"]["owners"].update(
        x=d["owners"]["owners"].pop(A_TEXT)
    ),
    "an owner without tokens": lambda d: d["owners"]["owners"][A_TEXT].update(tokens=[]),
    "tokens descending": lambda d: d["owners"]["owners"][A_TEXT].update(tokens=["50", "1"]),
    "a token twice at one owner": lambda d: d["owners"]["owners"][A_TEXT].update(tokens=["1", "1"]),
    "a token at two owners": lambda d: d["owners"]["owners"][A_TEXT].update(tokens=["1", "2"]),
    "a token beyond 64 bits": lambda d: d["owners"]["owners"][A_TEXT].update(tokens=[str(2**64)]),
    "a negative token": lambda d: d["owners"]["owners"][A_TEXT].update(tokens=["-1"]),
    "a token padded": lambda d: d["owners"]["owners"][A_TEXT].update(tokens=["01"]),
    "weight zero": lambda d: d["owners"]["owners"][A_TEXT].update(weight=0.0),
    "weight infinite": lambda d: d["owners"]["owners"][A_TEXT].update(weight=float("inf")),
    "weight too large for a float": lambda d: d["owners"]["owners"][A_TEXT].update(weight=10**400),
    "zone a number": lambda d: d["owners"]["owners"][A_TEXT].update(zone=3),
    "a quorum as text": lambda d: d["owners"].update(write_quorum="2"),
    "weak quorums": lambda d: d["owners"].update(read_quorum=1),
    "weak quorums of the successors": lambda d: d["successors"].update(replication_factor=3),
    "successors empty": lambda d: d.update(successors={}),
    "settings a list": lambda d: d.update(settings=[]),
}


@pytest.mark.parametrize("edit", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_record_is_refused(edit: Callable[[dict[str, Any]], object]) -> None:
    """Whatever is wrong with the bytes comes out as ValueError."""
    with pytest.raises(ValueError, match="not an epoch record"):
        EpochRecord.decode(_edited(edit))


@pytest.mark.parametrize("encoded", [b"", b"[]", b"null", b"\xff", b"{", b"[" * 100_000], ids=repr)
def test_bytes_that_are_no_object_are_refused(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="not an epoch record"):
        EpochRecord.decode(encoded)


def test_bytes_that_are_not_canonical_are_refused() -> None:
    """The same values with a space in between would have another digest."""
    with pytest.raises(ValueError, match="canonical"):
        EpochRecord.decode(json.dumps(json.loads(RECORD.encoded), sort_keys=True).encode())


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_value_error(encoded: bytes) -> None:
    try:
        EpochRecord.decode(encoded)
    except ValueError:
        return


@pytest.mark.parametrize("numbers", [(3, 2, 2), (1, 1, 1), (3, 3, 1), (5, 3, 3), (3, 2, 3)])
def test_quorums_that_overlap_are_taken(numbers: tuple[int, int, int]) -> None:
    Quorums(*numbers).check()


@pytest.mark.parametrize("numbers", [(3, 2, 1), (3, 1, 3), (4, 2, 3), (3, 1, 1), (2, 1, 2)])
def test_quorums_that_need_not_overlap_are_taken_only_when_allowed(numbers: tuple[int, int, int]) -> None:
    """R + W > N, and W > N/2, unless the operator said otherwise."""
    with pytest.raises(ValueError, match=ALLOW_WEAK_QUORUMS):
        Quorums(*numbers).check()
    Quorums(*numbers).check(allow_weak=True)


@pytest.mark.parametrize("numbers", [(0, 0, 0), (3, 0, 3), (3, 4, 2), (3, 2, 4), (3, 2, 0)])
def test_quorums_that_cannot_be_met_are_never_taken(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Quorums(*numbers).check(allow_weak=True)


def test_a_record_with_weak_quorums_is_sound_when_its_settings_allow_them() -> None:
    weak = replace(RECORD, owners=replace(SPEC, quorums=Quorums(3, 1, 1)))
    with pytest.raises(ValueError, match="reads could miss"):
        weak.check()
    replace(weak, settings={ALLOW_WEAK_QUORUMS: True}).check()


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((3, 2, 2), []),
        ((5, 3, 3), []),
        ((3, 3, 1), ["blocks writes", "cannot be evicted"]),
        ((3, 3, 2), ["blocks writes"]),
        ((3, 2, 3), ["blocks reads", "cannot be evicted"]),
        ((3, 1, 3), ["can miss", "blocks reads", "cannot be evicted"]),
        ((1, 1, 1), ["dead node blocks every read and write"]),
    ],
)
def test_each_consequence_of_unusual_quorums_is_told(numbers: tuple[int, int, int], told: list[str]) -> None:
    warnings = Quorums(*numbers).warnings()
    assert len(warnings) == len(told)
    assert all(words in warning for words, warning in zip(told, warnings, strict=True))


@given(quorums, st.integers(1, 9))
def test_quorums_still_overlap_when_there_are_fewer_owners_than_copies(numbers: Quorums, owners: int) -> None:
    n, w, r = numbers.n(owners), numbers.w(owners), numbers.r(owners)
    assert r + w > n
    assert 2 * w > n
