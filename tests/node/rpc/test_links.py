"""Links are bounded in number, and closed only when nobody uses them."""

from __future__ import annotations

import pytest

from covey.node.errors import PeerUnreachable
from covey.node.rpc.transport import Links


async def used(links: Links, address: str, now_s: float) -> None:
    await links.make_room(address, now_s)
    with links.using(address, now_s):
        pass


async def test_a_link_is_used_again() -> None:
    links = Links(max_links=2, idle_s=10)
    with links.using("h:1", 0) as first, links.using("h:1", 1) as second:
        assert first is second


async def test_the_least_recently_used_link_makes_room() -> None:
    links = Links(max_links=2, idle_s=10)
    for now_s, address in enumerate(["h:1", "h:2", "h:1", "h:3"]):
        await used(links, address, now_s)
    assert links.addresses == ("h:1", "h:3")


async def test_idle_links_are_closed() -> None:
    links = Links(max_links=5, idle_s=10)
    for now_s, address in [(0, "h:1"), (5, "h:2"), (12, "h:3")]:
        await used(links, address, now_s)
    assert links.addresses == ("h:2", "h:3")


async def test_a_link_that_is_called_again_after_long_stays() -> None:
    links = Links(max_links=5, idle_s=10)
    await used(links, "h:1", 0)
    await used(links, "h:1", 100)
    assert links.addresses == ("h:1",)


async def test_a_busy_link_is_never_closed() -> None:
    links = Links(max_links=2, idle_s=10)
    with links.using("h:1", 0):
        await used(links, "h:2", 1)
        await used(links, "h:3", 100)
        assert links.addresses == ("h:1", "h:3")


async def test_with_every_link_busy_another_peer_is_not_called() -> None:
    links = Links(max_links=1, idle_s=10)
    with links.using("h:1", 0):
        with pytest.raises(PeerUnreachable):
            await links.make_room("h:2", 1)
        await links.make_room("h:1", 1)
