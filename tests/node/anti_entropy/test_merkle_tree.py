from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.node.anti_entropy.merkle_tree import FANOUT, MerkleTree, peers_of, tree_between
from covey.node.storage.segments import SEGMENT_WIDTH, SEGMENTS
from covey.ring.epoch import RingSpec
from covey.ring.ring import Ring
from covey.ring.tokens import TOKEN_SPACE, TokenRange
from tests.support.rings import identity, ring, rings

EDGES = st.sampled_from([0, 1, SEGMENT_WIDTH - 1, SEGMENT_WIDTH, TOKEN_SPACE - 1])
"""Where cutting could go wrong."""
TOKENS = st.integers(0, TOKEN_SPACE - 1) | EDGES


def pieces_of(tree: MerkleTree) -> list[TokenRange]:
    return [piece for group in tree.groups for piece in group]


@given(rings(), st.lists(TOKENS, max_size=20))
@settings(deadline=None, max_examples=60)
def test_pieces_hold_every_token_that_both_replicate_once_and_no_other(
    spec: RingSpec, drawn: list[int]
) -> None:
    """The oracle asks for each token's preference list; beside drawn tokens it looks at every border."""
    found = Ring(spec)
    owners = sorted(spec.owners)
    one, other = owners[0], owners[-1]
    pieces = pieces_of(tree_between(found, one, other))
    borders = {token for owner in spec.owners.values() for token in owner.tokens}
    borders |= {piece.upto for piece in pieces[:50]}
    for border in sorted(borders | set(drawn)):
        for token in (border, (border + 1) % TOKEN_SPACE):
            both = {one, other} <= set(found.preference_list(token))
            assert sum(piece.contains(token) for piece in pieces) == both, token


@given(rings(), st.data())
@settings(deadline=None, max_examples=30)
def test_both_sides_make_the_same_tree_of_the_record_alone(spec: RingSpec, data: st.DataObject) -> None:
    one, other = (data.draw(st.sampled_from(sorted(spec.owners))) for _ in range(2))
    assert tree_between(Ring(spec), one, other) == tree_between(Ring(spec), other, one)


@given(rings())
@settings(deadline=None, max_examples=30)
def test_a_piece_lies_within_one_segment_and_none_wraps(spec: RingSpec) -> None:
    owners = sorted(spec.owners)
    pieces = pieces_of(tree_between(Ring(spec), owners[0], owners[-1]))
    for piece in pieces:
        first = (piece.after + 1) % TOKEN_SPACE
        assert first <= piece.upto
        assert first // SEGMENT_WIDTH == piece.upto // SEGMENT_WIDTH
    assert pieces == sorted(pieces, key=lambda piece: piece.upto)


def test_two_owners_of_everything_share_every_segment_whole() -> None:
    tree = tree_between(Ring(ring(1, 2, 3)), identity(1), identity(2))
    assert tree.pieces == SEGMENTS
    assert {piece.width for piece in pieces_of(tree)} == {SEGMENT_WIDTH}
    assert [len(group) for group in tree.groups] == [FANOUT] * (SEGMENTS // FANOUT)


def test_a_node_that_owns_nothing_shares_nothing() -> None:
    assert tree_between(Ring(ring(1, 2, 3)), identity(1), identity(9)).groups == ()


@given(rings())
@settings(deadline=None, max_examples=30)
def test_peers_are_exactly_those_with_a_tree_that_is_not_empty(spec: RingSpec) -> None:
    found = Ring(spec)
    me, *others = sorted(spec.owners)
    sharing = {other for other in others if tree_between(found, me, other).groups}
    assert peers_of(found, me) == sharing


@given(rings())
@settings(deadline=None, max_examples=30)
def test_a_group_in_few_spans_holds_the_tokens_of_its_pieces(spec: RingSpec) -> None:
    owners = sorted(spec.owners)
    tree = tree_between(Ring(spec), owners[0], owners[-1])
    for pieces, key_ranges in zip(tree.groups, tree.key_ranges, strict=True):
        assert sum(span.width for span in key_ranges) == sum(piece.width for piece in pieces)
        assert all(any(span.contains(piece.upto) for span in key_ranges) for piece in pieces)
