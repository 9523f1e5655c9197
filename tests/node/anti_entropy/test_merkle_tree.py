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
"""Tokens at which cutting is most likely to fail."""
TOKENS = st.integers(0, TOKEN_SPACE - 1) | EDGES


def leaves_of(tree: MerkleTree) -> list[TokenRange]:
    return [leaf for group in tree.groups for leaf in group]


@given(rings(), st.lists(TOKENS, max_size=20))
@settings(deadline=None, max_examples=60)
def test_leaves_cover_every_token_that_both_replicate_once_and_no_other(
    spec: RingSpec, drawn: list[int]
) -> None:
    """The oracle asks for each token's preference list; beside drawn tokens it looks at every border."""
    found = Ring(spec)
    owners = sorted(spec.owners)
    one, other = owners[0], owners[-1]
    leaves = leaves_of(tree_between(found, one, other))
    borders = {token for owner in spec.owners.values() for token in owner.tokens}
    borders |= {leaf.upto for leaf in leaves[:50]}
    for border in sorted(borders | set(drawn)):
        for token in (border, (border + 1) % TOKEN_SPACE):
            both = {one, other} <= set(found.preference_list(token))
            assert sum(leaf.contains(token) for leaf in leaves) == both, token


@given(rings(), st.data())
@settings(deadline=None, max_examples=30)
def test_both_sides_compute_the_same_tree_from_the_record(spec: RingSpec, data: st.DataObject) -> None:
    one, other = (data.draw(st.sampled_from(sorted(spec.owners))) for _ in range(2))
    assert tree_between(Ring(spec), one, other) == tree_between(Ring(spec), other, one)


@given(rings())
@settings(deadline=None, max_examples=30)
def test_a_leaf_lies_within_one_segment_and_none_wraps(spec: RingSpec) -> None:
    owners = sorted(spec.owners)
    leaves = leaves_of(tree_between(Ring(spec), owners[0], owners[-1]))
    for leaf in leaves:
        first = (leaf.after + 1) % TOKEN_SPACE
        assert first <= leaf.upto
        assert first // SEGMENT_WIDTH == leaf.upto // SEGMENT_WIDTH
    assert leaves == sorted(leaves, key=lambda leaf: leaf.upto)


def test_two_owners_of_everything_share_every_whole_segment() -> None:
    tree = tree_between(Ring(ring(1, 2, 3)), identity(1), identity(2))
    assert tree.leaves == SEGMENTS
    assert {leaf.width for leaf in leaves_of(tree)} == {SEGMENT_WIDTH}
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
def test_the_merged_ranges_of_a_group_cover_the_tokens_of_its_leaves(spec: RingSpec) -> None:
    owners = sorted(spec.owners)
    tree = tree_between(Ring(spec), owners[0], owners[-1])
    for leaves, merged in zip(tree.groups, tree.group_ranges, strict=True):
        assert sum(span.width for span in merged) == sum(leaf.width for leaf in leaves)
        assert all(any(span.contains(leaf.upto) for span in merged) for leaf in leaves)
