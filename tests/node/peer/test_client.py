from __future__ import annotations

import pytest

from covey.node.errors import PeerError, PeerRefused, PeerTimeout, PeerUnreachable
from covey.node.messages.control import Acknowledged, FetchRecord, RecordReply
from covey.node.messages.data import DataBatch, DataReply
from covey.node.messages.envelope import EpochMismatch, Refusal, RefusalCode, Reply, ReplyBody, Request
from covey.node.messages.membership import Ping
from covey.node.peer.client import PeerClient
from covey.node.runtime import LocalIdentity
from covey.quorum.hybrid_clock import ClockSkew, HybridClock
from covey.quorum.version import COUNTER_BITS
from covey.ring.epoch import EpochStamp
from tests.support.manual_clock import ManualClock
from tests.support.rings import identities

ME, PEER, STRANGER = identities(3)
STAMP = EpochStamp(1, "d")
SERVED = DataReply(STAMP, (), 0, 0.0)


class Wire:
    """A transport that answers with ``body``, or raises it."""

    def __init__(self, body: ReplyBody | PeerError, ahead_ms: int = 0) -> None:
        self.clock = ManualClock()
        self.hybrid = HybridClock(self.clock, 0.5)
        self.body = body
        self.stamp = self.clock.wall + ahead_ms << COUNTER_BITS
        self.sent: list[tuple[str, Request, float]] = []
        known = {PEER: "n2:1"}
        self.peers = PeerClient(
            LocalIdentity(ME, 4, "n1:1"),
            self,
            self.hybrid,
            address_of=known.get,
            cluster_id=lambda: "mine",
            rpc_timeout_s=0.2,
        )

    async def call(self, address: str, request: Request, *, timeout_s: float) -> Reply:
        self.sent.append((address, request, timeout_s))
        if isinstance(self.body, PeerError):
            raise self.body
        return Reply(PEER, 1, self.stamp, self.body)

    async def close(self) -> None: ...


async def test_a_call_names_its_source_and_the_identity_it_is_meant_for() -> None:
    wire = Wire(RecordReply(None))
    assert await wire.peers.ask(PEER, FetchRecord(), RecordReply, 0.3) == RecordReply(None)
    [(address, request, timeout_s)] = wire.sent
    envelope = request.envelope
    assert (address, timeout_s, request.body) == ("n2:1", 0.3, FetchRecord())
    assert (envelope.source, envelope.generation, envelope.address) == (ME, 4, "n1:1")
    assert (envelope.destination, envelope.cluster_id) == (PEER, "mine")
    assert envelope.timestamp == wire.hybrid.current()


async def test_first_contact_names_only_an_address() -> None:
    wire = Wire(Acknowledged())
    await wire.peers.call_address("n9:1", Ping(), 1)
    assert wire.sent[0][0] == "n9:1"
    assert wire.sent[0][1].envelope.destination is None


async def test_a_peer_whose_address_nobody_knows_was_certainly_not_asked() -> None:
    wire = Wire(Acknowledged())
    with pytest.raises(PeerUnreachable):
        await wire.peers.send(STRANGER, Ping(), 1)
    assert wire.sent == []


async def test_a_reused_address_means_that_the_peer_was_not_reached() -> None:
    wire = Wire(Refusal(RefusalCode.WRONG_DESTINATION, "somebody else"))
    with pytest.raises(PeerUnreachable, match="somebody else"):
        await wire.peers.send(PEER, Ping(), 1)


@pytest.mark.parametrize("code", [code for code in RefusalCode if code is not RefusalCode.WRONG_DESTINATION])
async def test_any_other_refusal_was_handled_by_doing_nothing(code: RefusalCode) -> None:
    with pytest.raises(PeerRefused, match="for a reason"):
        await Wire(Refusal(code, "for a reason")).peers.send(PEER, Ping(), 1)


@pytest.mark.parametrize("error", [PeerUnreachable("closed"), PeerTimeout("late")])
async def test_what_the_transport_says_is_passed_on(error: PeerError) -> None:
    with pytest.raises(type(error)):
        await Wire(error).peers.send(PEER, Ping(), 1)


async def test_an_epoch_mismatch_is_an_answer_to_a_call_but_not_to_a_question_without_epochs() -> None:
    wire = Wire(EpochMismatch(None, None))
    assert await wire.peers.call(PEER, DataBatch(STAMP, ()), DataReply, 1) == EpochMismatch(None, None)
    with pytest.raises(PeerRefused):
        await wire.peers.send(PEER, Ping(), 1)


async def test_an_answer_of_another_kind_counts_as_none() -> None:
    with pytest.raises(PeerRefused, match="answered with Acknowledged"):
        await Wire(Acknowledged()).peers.ask(PEER, FetchRecord(), RecordReply, 1)


async def test_the_clock_rises_with_every_reply() -> None:
    wire = Wire(SERVED, ahead_ms=400)
    await wire.peers.call(PEER, DataBatch(STAMP, ()), DataReply, 1)
    assert wire.hybrid.current() == wire.stamp


async def test_data_replied_from_beyond_the_clock_skew_does_not_count_though_it_may_have_been_done() -> None:
    wire = Wire(SERVED, ahead_ms=501)
    with pytest.raises(PeerTimeout) as caught:
        await wire.peers.call(PEER, DataBatch(STAMP, ()), DataReply, 1)
    assert isinstance(caught.value.__cause__, ClockSkew)
    assert wire.hybrid.current() < wire.stamp


async def test_gossip_replied_from_beyond_the_clock_skew_counts_without_moving_the_clock() -> None:
    wire = Wire(Acknowledged(), ahead_ms=501)
    await wire.peers.send(PEER, Ping(), 1)
    assert wire.hybrid.current() < wire.stamp


async def test_a_call_says_when_it_is_waited_for_no_more_by_the_callers_clock_at_first() -> None:
    wire = Wire(SERVED)
    await wire.peers.call(PEER, DataBatch(STAMP, ()), DataReply, 0.3)
    assert wire.sent[0][1].envelope.expires_ms == wire.clock.wall + 300


async def test_from_the_first_reply_on_it_says_so_by_the_peers_clock() -> None:
    """However far apart the wall clocks are."""
    wire = Wire(Acknowledged(), ahead_ms=-3_600_000)
    await wire.peers.send(PEER, Ping(), 1)
    wire.clock.now_s += 2.0
    await wire.peers.send(PEER, Ping(), 0.3)
    assert wire.sent[1][1].envelope.expires_ms == wire.clock.wall - 3_600_000 + 2300


async def test_what_a_peer_takes_for_expired_is_sent_again_once_its_clock_is_known() -> None:
    """The peer's clock was set forward meanwhile."""
    wire = Wire(Refusal(RefusalCode.EXPIRED, "late"), ahead_ms=5000)
    with pytest.raises(PeerRefused, match="late"):
        await wire.peers.send(PEER, Ping(), 0.3)
    expiries = [request.envelope.expires_ms for _, request, _ in wire.sent]
    assert expiries == [wire.clock.wall + 300, wire.clock.wall + 5300]


async def test_a_call_that_names_no_timeout_waits_for_the_default() -> None:
    wire = Wire(RecordReply(None))
    await wire.peers.ask(PEER, FetchRecord(), RecordReply)
    await wire.peers.call_address("n2:1", Ping())
    assert [timeout_s for _, _, timeout_s in wire.sent] == [0.2, 0.2]
