"""The blocking client: the same behaviour behind a thread."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from covey import Client, PartialFailure, Refused, Timeout, Unavailable
from covey.proto.generated import kv_pb2
from covey.ring.tokens import token_of

from .conftest import ThreadedCluster, abort, never


def test_put_get_delete(threaded: ThreadedCluster) -> None:
    with Client([threaded.node.address]) as kv:
        version = kv.put("k", "v")
        assert kv.get("k") == b"v"
        assert kv.delete("k") > version
        assert kv.get("k") is None
        assert kv.seen_timestamp > version.timestamp


def test_many(threaded: ThreadedCluster) -> None:
    items = {f"k{i}".encode(): b"v" for i in range(100)}
    with Client([threaded.node.address]) as kv:
        assert list(kv.put_many(items)) == list(items)
        assert kv.get_many(items) == items


def test_some_failures_among_many(threaded: ThreadedCluster) -> None:
    failure = kv_pb2.OperationFailure(code=kv_pb2.ERROR_CODE_INVALID_REQUEST, message="no")
    threaded.cluster.store.failures[b"bad"] = failure
    with Client([threaded.node.address]) as kv, pytest.raises(PartialFailure) as caught:
        kv.put_many({"bad": b"", "good": b""})
    assert list(caught.value.done) == ["good"]
    assert not caught.value.maybe_applied


def test_keys(threaded: ThreadedCluster) -> None:
    threaded.cluster.store.values.update({f"k{i}".encode(): b"" for i in range(35)})
    with Client([threaded.node.address]) as kv:
        assert list(kv.keys("k")) == sorted(threaded.cluster.store.values, key=token_of)


def test_a_listing_left_early_or_after_the_client_closed_is_no_harm(threaded: ThreadedCluster) -> None:
    threaded.cluster.store.values.update({f"k{i}".encode(): b"" for i in range(35)})
    with Client([threaded.node.address]) as kv:
        next(kv.keys())
        listing = kv.keys()
        next(listing)
    listing.close()


def test_threads_share_a_client_and_their_operations_travel_together(threaded: ThreadedCluster) -> None:
    with Client([threaded.node.address]) as kv, ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda i: kv.put(f"k{i}", b""), range(400)))
    assert len(threaded.cluster.store.values) == 400
    assert len(threaded.node.batches) < 400


def test_errors_come_through(threaded: ThreadedCluster) -> None:
    threaded.node.every_time = never
    with Client([threaded.node.address]) as kv, pytest.raises(Timeout) as caught:
        kv.put("k", b"v", timeout=0.1)
    assert caught.value.maybe_applied


def test_status_is_the_first_given_nodes_own_view(threaded: ThreadedCluster, closed_address: str) -> None:
    threaded.node.status.epoch = 5
    threaded.node.status.nodes.add(state="serving").identity.name = "n1"
    with Client([closed_address, threaded.node.address]) as kv:
        status = kv.admin.status()
    assert (status.answered_by, status.epoch) == ("n1", 5)
    assert [(node.name, node.state, node.handoff) for node in status.nodes] == [("n1", "serving", None)]


def test_ring_is_decoded(threaded: ThreadedCluster) -> None:
    with Client([threaded.node.address]) as kv:
        seen = kv.admin.ring()
    assert seen.record == threaded.cluster.record()
    assert seen.addresses == {threaded.node.identity: threaded.node.address}


def test_leave_is_asked_once_and_its_refusal_is_told(threaded: ThreadedCluster) -> None:
    with Client([threaded.node.address]) as kv:
        kv.admin.leave("n1", timeout=5)
        threaded.node.faults.append(abort(grpc.StatusCode.FAILED_PRECONDITION, mark="0"))
        with pytest.raises(Refused):
            kv.admin.leave("n1", timeout=5)
    assert threaded.cluster.left == ["n1"]


def test_closing_ends_calls_of_other_threads(threaded: ThreadedCluster) -> None:
    threaded.node.every_time = never
    kv = Client([threaded.node.address], timeout=60)
    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(kv.put, "k", b"v")
        while not threaded.node.batches:
            threading.Event().wait(0.001)
        kv.close()
        with pytest.raises(Timeout) as caught:
            writing.result(5)
    assert caught.value.maybe_applied


def test_an_interrupt_ends_the_call_and_the_client_goes_on(threaded: ThreadedCluster) -> None:
    threaded.node.faults.append(never)

    def interrupt() -> None:
        while not threaded.node.batches:
            threading.Event().wait(0.001)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with Client([threaded.node.address], timeout=60) as kv:
        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        with pytest.raises(KeyboardInterrupt):
            kv.put("k", b"v")
        interrupting.join()
        assert kv.get("k") is None


def test_a_closed_client_says_so_and_can_be_closed_again(threaded: ThreadedCluster) -> None:
    kv = Client([threaded.node.address])
    kv.close()
    kv.close()
    with pytest.raises(Unavailable, match="closed"):
        kv.get("k")


def test_a_forgotten_client_warns_and_ends_its_thread(threaded: ThreadedCluster) -> None:
    before = threading.active_count()
    kv = Client([threaded.node.address])
    kv.get("k")
    with pytest.warns(ResourceWarning, match="unclosed Client"):
        del kv
    gc.collect()
    assert threading.active_count() == before


@pytest.mark.filterwarnings("error")
def test_what_is_refused_at_the_door_leaves_nothing_behind(threaded: ThreadedCluster) -> None:
    kv = Client([threaded.node.address])
    kv.close()
    with pytest.raises(Unavailable), warnings.catch_warnings(record=True) as seen:
        kv.get("k")
    gc.collect()
    assert not seen


def test_a_process_that_was_not_forked_by_python_cannot_use_its_parents_client(
    threaded: ThreadedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client([threaded.node.address]) as kv, monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: 1)
        with pytest.raises(Unavailable, match="fork"):
            kv.get("k")


def test_a_program_that_forgets_to_close_ends_in_good_order(threaded: ThreadedCluster) -> None:
    program = f"from covey import Client\nkv = Client(['{threaded.node.address}'])\nprint(kv.get('k'))"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "None\n", "")
