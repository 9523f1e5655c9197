"""One cell of a benchmark: load of one kind on one store, measured while nothing else disturbed the machine."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .load import Load, Store, Workload, drive
from .resources import Watch, cpu_seconds


def add_measuring_options(parser: argparse.ArgumentParser, *, callers: list[int], rounds: int) -> None:
    """How long and how often to measure, and where to keep it; with these defaults."""
    parser.add_argument("--callers", type=int, nargs="+", default=callers)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seconds", type=float, default=4.0, help="that each cell is measured for")
    parser.add_argument("--warm-up", type=float, default=1.0, metavar="SECONDS", help="before each cell")
    parser.add_argument("--repeats", type=int, default=3, help="at most, of a cell that was disturbed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")


def add_durability_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--durability", choices=("sync", "periodic"), default="sync")


MOST_NAMED = 3


@dataclass(frozen=True)
class Sample:
    """What one cell came to in one round."""

    name: str
    """Of what was measured."""
    load: str
    callers: int
    round: int
    ops_per_s: float
    p50_ms: float
    p99_ms: float
    get_p50_ms: float
    put_p50_ms: float
    get_p99_ms: float
    put_p99_ms: float
    """Of gets and of puts; 0 when there were none."""
    client_us_per_op: float
    servers_us_per_op: float
    operations: int
    failed: int
    first_failure: str
    disturbance: str
    """What disturbed the machine, when it did so each time that this was measured; else empty."""


class Sampler:
    """Measures cells; repeats those during which the machine was disturbed, a few times at most."""

    def __init__(self, seconds: float, warm_up: float, repeats: int) -> None:
        self._seconds = seconds
        self._warm_up = warm_up
        self._repeats = repeats
        self._watch = Watch()
        self.discarded = 0
        self.samples: list[Sample] = []

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> Sampler:
        """What ``add_measuring_options`` added."""
        return cls(options.seconds, options.warm_up, options.repeats)

    async def measure(
        self,
        name: str,
        load: str,
        callers: int,
        round_number: int,
        store: Store,
        workload: Workload,
        pids: Callable[[], Sequence[int]],
    ) -> Sample:
        """Warm up, measure, and add to ``samples``."""
        await drive(workload, callers, self._warm_up, store.errors)
        for repeat in range(self._repeats + 1):
            self._watch.begin(pids())
            servers_before = cpu_seconds(pids())
            loaded = await drive(workload, callers, self._seconds, store.errors)
            servers_s = cpu_seconds(pids()) - servers_before
            disturbance = self._watch.disturbance(pids())
            if not disturbance or repeat == self._repeats:
                break
            self.discarded += 1
        sample = _sample((name, load, callers, round_number), loaded, servers_s, disturbance)
        self.samples.append(sample)
        return sample

    def remarks(self) -> list[str]:
        """How far the samples can be trusted."""
        disturbed = [sample for sample in self.samples if sample.disturbance]
        said = [
            f"{len(self.samples)} cells measured; {self.discarded} more discarded, because the machine was "
            f"disturbed, and repeated; {len(disturbed)} kept although it was disturbed each time"
        ]
        said += [
            f"for example {s.name}, {s.load}, {s.callers} callers, round {s.round}: {s.disturbance}"
            for s in disturbed[:MOST_NAMED]
        ]
        said += [
            f"{s.failed} of {s.failed + s.operations} operations failed: {s.name}, {s.load}, {s.callers} callers, "
            f"round {s.round}; first: {s.first_failure}"
            for s in self.samples
            if s.failed
        ]
        return said


def _sample(place: tuple[str, str, int, int], load: Load, servers_s: float, disturbance: str) -> Sample:
    name, kind, callers, round_number = place
    operations = max(1, load.operations)
    return Sample(
        name=name,
        load=kind,
        callers=callers,
        round=round_number,
        ops_per_s=load.rate,
        p50_ms=load.percentile_ms(0.5),
        p99_ms=load.percentile_ms(0.99),
        get_p50_ms=load.percentile_ms(0.5, "get"),
        put_p50_ms=load.percentile_ms(0.5, "put"),
        get_p99_ms=load.percentile_ms(0.99, "get"),
        put_p99_ms=load.percentile_ms(0.99, "put"),
        client_us_per_op=1e6 * load.client_cpu_s / operations,
        servers_us_per_op=1e6 * servers_s / operations,
        operations=load.operations,
        failed=load.failed,
        first_failure=load.first_failure,
        disturbance=disturbance,
    )
