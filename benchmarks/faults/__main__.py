"""What clients notice of a slow node, a dead one, and of too much load: ``python -m benchmarks.faults``.

Three nodes, N=3, W=R=2, reads and writes even, keys drawn evenly.

slow      one replica answers later than usual, in turn with the usual: p99 should be at most 1.5 times the normal
kill      one node, the busiest, gets a SIGKILL under load: errors and stalls should end within 2 s, and throughput be
          back by then at 0.8 of what two nodes can do
overload  10 times the callers that saturate: goodput should stay at 0.8 of the most, nobody be thought down, and
          another client with a few callers be served all the while
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks.support.report import machine, write_json
from benchmarks.support.sampling import Sampler, add_durability_option
from benchmarks.support.servers import run_to_end

from .kill import measure_kill
from .overload import measure_overload
from .slow import NOTICING_S, measure_slow

PARTS = {"slow": measure_slow, "kill": measure_kill, "overload": measure_overload}


async def measure(options: argparse.Namespace, folder: Path) -> None:
    sampler = Sampler.from_options(options)
    print(
        f"{machine()}\nall nodes on {os.cpu_count()} cores, N=3, W=R=2, {options.durability}; {options.keys:,} keys, "
        f"{options.value_bytes}-byte values; median (least..most)\n"
    )
    results = {part: await PARTS[part](options, folder / part, sampler) for part in options.parts}
    print(*sampler.remarks(), sep="\n")
    if options.json:
        write_json(options.json, vars(options), sampler, results=results)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="that each cell is measured for")
    parser.add_argument(
        "--warm-up", type=float, default=NOTICING_S, metavar="SECONDS", help="before each cell"
    )
    parser.add_argument("--repeats", type=int, default=3, help="at most, of a cell that was disturbed")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--slow-callers", type=int, default=16)
    parser.add_argument("--delay-ms", type=float, default=100.0, help="of the slow replica")
    parser.add_argument("--kill-callers", type=int, default=64)
    parser.add_argument("--greedy-callers", type=int, nargs="+", default=[256, 2560, 25_600])
    parser.add_argument(
        "--greedy-clients",
        type=int,
        nargs="+",
        default=[1, 4],
        metavar="PROCESSES",
        help="that share these callers",
    )
    parser.add_argument("--light-callers", type=int, default=4)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    add_durability_option(parser)
    return parser.parse_args()


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        run_to_end(measure(options, Path(folder)))


if __name__ == "__main__":
    main()
