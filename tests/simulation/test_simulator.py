"""The simulator: pauses, schedules as plain values, shrinking, and detection of broken promises."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from covey.node.messages.membership import Ping
from tests.simulator import shrink, virtual_time
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.faults import Fault, FaultKind, draw_schedule
from tests.simulator.network import Message
from tests.simulator.random_run import RunOptions, RunResult, run, schedule_of
from tests.simulator.scenario import carrying
from tests.simulator.virtual_time import Process, in_virtual_time
from tests.support.checker import Rule, Violation
from tests.support.memory_engine import MemoryEngine


@in_virtual_time
async def test_a_process_that_stands_still_does_what_was_due_once_it_goes_on() -> None:
    process, loop = Process(), asyncio.get_running_loop()
    done: list[float] = []

    async def tick() -> None:
        while True:
            await asyncio.sleep(1.0)
            done.append(loop.time())

    ticking = process.create_task(tick())
    await asyncio.sleep(2.5)
    process.pause()
    await asyncio.sleep(10.0)
    assert done == [1.0, 2.0]
    process.resume()
    await asyncio.sleep(1.1)
    assert done == [1.0, 2.0, 12.5, 13.5]
    ticking.cancel()


@in_virtual_time
async def test_a_node_that_stands_still_is_called_down_by_others_and_comes_back_unharmed() -> None:
    async with SimulatedCluster(1) as cluster:
        await cluster.form(3)
        paused = cluster.nodes["n3"]
        others = [cluster.nodes[name].running.members for name in ("n1", "n2")]
        paused.process.pause()
        await cluster.until(lambda: all(g.is_down(paused.identity) for g in others), "n3 is down")
        paused.process.resume()
        await cluster.until(lambda: not any(g.is_down(paused.identity) for g in others), "n3 is back")
        await cluster.synced()


@in_virtual_time
async def test_a_repeated_request_is_handled_twice_and_answered_once() -> None:
    async with SimulatedCluster(1) as cluster:
        await cluster.form(2)
        seen: list[Message] = []

        def pinged(message: Message) -> bool:
            return isinstance(message.request.body, Ping)

        cluster.network.lose(lambda message: bool(pinged(message) and seen.append(message)))
        cluster.network.repeat(carrying(Ping))
        n1, n2 = cluster.nodes["n1"], cluster.nodes["n2"]
        await n1.running._peers.call_address(n2.address, Ping(), 1.0, to=n2.identity)
        await asyncio.sleep(1.0)
        assert len(seen) == 2


def test_a_schedule_is_the_same_after_a_way_through_json() -> None:
    schedule = draw_schedule(
        random.Random(1), ["n1", "n2", "n3"], 600.0, FaultKind, dict.fromkeys(FaultKind, 1.0), 3.0
    )
    assert {fault.what for fault in schedule} == set(FaultKind)
    written = json.dumps([fault.as_json() for fault in schedule])
    assert [Fault.of_json(fault) for fault in json.loads(written)] == schedule


def test_options_tell_the_command_that_repeats_a_run() -> None:
    options = RunOptions(7, lasts_s=20.0, faults=("crash", "wipe"), converged=False)
    assert options.as_arguments() == "--seed 7 --time 20.0 --faults crash,wipe --unequal"


def test_shrinking_leaves_what_it_takes_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = schedule_of(RunOptions(1))
    needed = {schedule[3], schedule[17]}

    def fails_with_both(options: RunOptions, kept: list[Fault]) -> RunResult:
        violations = [Violation(Rule.LOST, "k", "")] if needed <= set(kept) else []
        return RunResult(options, kept, violations, *(None,) * 5)  # type: ignore[arg-type]

    monkeypatch.setattr(shrink, "run", fails_with_both)
    shortest = shrink.shrink(fails_with_both(RunOptions(1), schedule), lambda line: None)
    assert set(shortest.schedule) == needed


def test_acknowledging_before_the_disk_has_it_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(self: MemoryEngine, *, always: bool = False) -> None:
        """Claims that all is on the disk."""

    monkeypatch.setattr(MemoryEngine, "durable", at_once)
    blackouts = [Fault(at_s, FaultKind.BLACKOUT, for_s=0.5) for at_s in (5.0, 10.0, 15.0)]
    result = run(RunOptions(1, lasts_s=20.0), blackouts)
    assert {violation.rule for violation in result.violations} & {
        Rule.LOST,
        Rule.STALE,
        Rule.UNREAD,
    }


def test_a_run_that_does_not_end_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with SimulatedCluster(1) as cluster:
            await cluster.form(1)
            await asyncio.Event().wait()

    monkeypatch.setattr(virtual_time, "MAX_CPU_S", 0.2)
    with pytest.raises(virtual_time.RunTooLong):
        virtual_time.run(main())
