from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from covey.node.events import Event
from covey.node.messages.anti_entropy import RequestRepair
from covey.node.messages.control import Acknowledged, FetchRecord, PushRecord, RecordReply, RequestLeave
from covey.node.messages.data import DataBatch, Scan, ScanPurpose, SizeQuery
from covey.node.messages.envelope import (
    PROTOCOL_VERSION,
    Envelope,
    Refusal,
    RefusalCode,
    Reply,
    Request,
    RequestBody,
)
from covey.node.messages.membership import Ping
from covey.node.peer.server import PeerServer
from covey.node.runtime import LocalIdentity, Runtime
from covey.node.tasks import Tasks
from covey.quorum.hybrid_clock import HybridClock
from covey.quorum.version import COUNTER_BITS
from covey.ring.epoch import EpochStamp
from covey.ring.paxos import DivergedRecord
from covey.ring.tokens import WHOLE_RING
from tests.support.manual_clock import ManualClock
from tests.support.replicas import EventRecorder
from tests.support.rings import identities, record, ring

ME, PEER, STRANGER = identities(3)
STAMP = EpochStamp(1, "d")
DATA: list[RequestBody] = [
    DataBatch(STAMP, ()),
    Scan(STAMP, ScanPurpose.PULL, WHOLE_RING, None, 1, 1),
    SizeQuery(STAMP, ()),
]


class Door:
    """A dispatcher whose handlers note what gets through."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hybrid = HybridClock(self.clock, 0.5)
        self.cluster_id = "mine"
        self.log = EventRecorder()
        self.through: list[object] = []
        self.strangers: list[Envelope] = []
        self.me = LocalIdentity(ME, 4, "n1:1")
        self.dispatcher = PeerServer(
            Runtime(self.me, self.clock, random.Random(1), self.log, Tasks(print)),
            self.hybrid,
            cluster_id=lambda: self.cluster_id,
            on_foreign_request=self.strangers.append,
        )
        for message in (Ping, DataBatch, Scan, SizeQuery, FetchRecord):
            self.dispatcher.register(message, self._handle)

    async def _handle(self, envelope: Envelope, body: Any) -> Any:
        self.through.append(body)
        return RecordReply(None) if isinstance(body, FetchRecord) else Acknowledged()

    async def ask(self, body: RequestBody | None = None, **envelope: Any) -> Reply:
        sent = Envelope(PEER, 1, "n2:1", "mine", ME, self._stamp(), PROTOCOL_VERSION)
        return await self.dispatcher.handle(Request(replace(sent, **envelope), body or Ping()))

    async def refusal(self, body: RequestBody | None = None, **envelope: Any) -> RefusalCode:
        reply = await self.ask(body, **envelope)
        assert isinstance(reply.body, Refusal), reply.body
        assert self.through == [], "what is refused is not handled"
        return reply.body.code

    def _stamp(self, ahead_ms: int = 0) -> int:
        return self.clock.wall + ahead_ms << COUNTER_BITS


async def test_what_is_meant_for_this_node_is_handled_by_its_kind() -> None:
    door = Door()
    reply = await door.ask(FetchRecord())
    assert reply.body == RecordReply(None)
    assert (reply.source, reply.generation) == (ME, 4)
    assert door.through == [FetchRecord()]


async def test_a_request_for_another_identity_is_refused() -> None:
    """Ports get reused, and a wiped disk is another node under the old name."""
    assert await Door().refusal(destination=ME._replace(disk_id=99)) is RefusalCode.WRONG_DESTINATION


async def test_a_node_that_is_not_proven_yet_does_not_pass_for_the_one_that_was_meant() -> None:
    """It has the address that the other one had, and whoever asks must not take its silence for that one's."""
    door = Door()
    door.me.unproven = "its disk is in doubt"
    assert await door.refusal(destination=ME._replace(disk_id=99)) is RefusalCode.WRONG_DESTINATION
    assert await door.refusal() is RefusalCode.NOT_READY


async def test_what_was_under_way_when_a_node_closed_is_not_answered() -> None:
    """A joiner would take the record of a cluster that ends."""
    door = Door()

    async def closing(envelope: Envelope, body: Any) -> Any:
        door.dispatcher.closed_for = "this node leaves its cluster"
        return Acknowledged()

    door.dispatcher.register(Ping, closing)
    reply = await door.ask()
    assert isinstance(reply.body, Refusal) and reply.body.code is RefusalCode.NOT_READY


async def test_first_contact_names_no_destination() -> None:
    assert (await Door().ask(destination=None)).body == Acknowledged()


async def test_a_foreign_cluster_is_refused() -> None:
    assert await Door().refusal(cluster_id="theirs") is RefusalCode.FOREIGN_CLUSTER


@pytest.mark.parametrize(("mine", "theirs"), [("", "theirs"), ("mine", ""), ("", "")])
async def test_one_without_a_cluster_is_foreign_to_nobody(mine: str, theirs: str) -> None:
    door = Door()
    door.cluster_id = mine
    assert (await door.ask(cluster_id=theirs)).body == Acknowledged()


async def test_another_protocol_is_refused() -> None:
    assert await Door().refusal(protocol=PROTOCOL_VERSION + 1) is RefusalCode.PROTOCOL


async def test_a_stopping_node_refuses_everything() -> None:
    door = Door()
    door.dispatcher.stopping = True
    assert await door.refusal() is RefusalCode.STOPPING


@pytest.mark.parametrize("body", DATA, ids=lambda body: type(body).__name__)
async def test_data_from_beyond_the_clock_skew_is_refused_and_its_clock_not_followed(
    body: RequestBody,
) -> None:
    door = Door()
    assert await door.refusal(body, timestamp=door._stamp(501)) is RefusalCode.CLOCK_SKEW
    assert door.hybrid.current() == door._stamp()


async def test_gossip_from_beyond_the_clock_skew_is_taken_but_its_clock_not_followed() -> None:
    door = Door()
    assert (await door.ask(timestamp=door._stamp(501))).body == Acknowledged()
    assert door.hybrid.current() == door._stamp()


async def test_the_clock_rises_with_every_message_and_the_reply_tells_it() -> None:
    door = Door()
    assert (await door.ask(timestamp=door._stamp(400))).timestamp == door._stamp(400)


async def test_what_is_refused_for_its_cluster_does_not_move_the_clock() -> None:
    door = Door()
    await door.refusal(cluster_id="theirs", timestamp=door._stamp(400))
    assert door.hybrid.current() == door._stamp()


async def test_a_refusal_is_logged_once_a_peer_and_reason() -> None:
    door = Door()
    for _ in range(3):
        await door.refusal(cluster_id="theirs")
    await door.refusal(protocol=9)
    await door.refusal(cluster_id="theirs", source=STRANGER)
    assert [line["member"] for line in door.log.of(Event.MEMBER_REFUSED)] == ["n2", "n2", "n3"]


async def test_a_reused_address_is_no_news() -> None:
    door = Door()
    await door.refusal(destination=STRANGER)
    assert door.log.lines == []


async def test_a_reused_address_of_another_cluster_is_logged() -> None:
    door = Door()
    assert await door.refusal(destination=STRANGER, cluster_id="theirs") is RefusalCode.WRONG_DESTINATION
    (line,) = door.log.of(Event.MEMBER_REFUSED)
    assert "was meant" in line["reason"] and "belongs to cluster theirs" in line["reason"]


async def test_a_record_of_another_history_is_answered_by_a_refusal() -> None:
    door = Door()

    async def adopt(_: Envelope, message: PushRecord) -> Acknowledged:
        raise DivergedRecord("two histories")

    door.dispatcher.register(PushRecord, adopt)
    code = await door.refusal(PushRecord(record(ring(1, 2))))
    assert code is RefusalCode.FOREIGN_CLUSTER
    assert door.log.of(Event.MEMBER_REFUSED)[0]["reason"] == "two histories"


@pytest.mark.parametrize(
    "body", [*DATA, RequestLeave(), RequestRepair(1000)], ids=lambda body: type(body).__name__
)
async def test_what_its_sender_no_longer_waits_for_is_not_begun(body: RequestBody) -> None:
    door = Door()
    assert await door.refusal(body, expires_ms=door.clock.wall - 1) is RefusalCode.EXPIRED


@pytest.mark.parametrize("expires_in_ms", [0, 1000])
async def test_what_its_sender_still_waits_for_is_handled(expires_in_ms: int) -> None:
    door = Door()
    assert (await door.ask(DATA[0], expires_ms=door.clock.wall + expires_in_ms)).body == Acknowledged()


async def test_what_never_expires_is_handled_whenever_it_comes() -> None:
    assert (await Door().ask(DATA[0], expires_ms=0)).body == Acknowledged()


async def test_gossip_may_come_late() -> None:
    """No clock keeps nodes from hearing of each other."""
    assert (await Door().ask(expires_ms=1)).body == Acknowledged()
