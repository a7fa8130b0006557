"""Print the CPU seconds of one run, as JSON: ``python -m benchmarks.programs.cost_of_a_run TOOL MODULE:WORKLOAD``.

Start-up, imports and the first runs are left out: the process times itself once it is warm. ``cpu_seconds`` is a run of
the cheapest window, ``whole_cpu_seconds`` one of all, with the explorer's start and the collector's long walks.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time

from benchmarks.programs.stamps import LEAST_RUNS_IN_A_WINDOW, Stamps
from benchmarks.programs.tools import TOOLS, Explore, Workload

WARMING_RUNS = 10
WINDOW_SECONDS = 0.025
MOST_RUNS = 20_000


def main() -> None:
    """Explore for about the CPU time asked for and print what a run cost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("workload")
    parser.add_argument("--seconds", type=float, default=0.5, help="how much CPU time to spend, about")
    parser.add_argument("--ballast", type=int, default=0, help="live objects to keep for the collector to walk over")
    options = parser.parse_args()
    module, _, name = options.workload.partition(":")
    workload: Workload = getattr(importlib.import_module(f"benchmarks.programs.{module}"), name)
    explore = TOOLS[options.tool]
    ballast = [[number] for number in range(options.ballast)]
    _time(explore, workload, WARMING_RUNS, seed=1)  # imports the tool, which would leave a tenth of the runs
    warm = _time(explore, workload, WARMING_RUNS, seed=1)
    runs = max(2 * LEAST_RUNS_IN_A_WINDOW, min(MOST_RUNS, int(options.seconds / warm)))
    stamps = Stamps()

    async def stamped() -> None:
        stamps.mark()
        await workload()

    whole = _time(explore, stamped, runs, seed=2)
    least = stamps.cost_of_a_run(windows=max(1, int(options.seconds / WINDOW_SECONDS)))
    print(json.dumps({"cpu_seconds": least, "whole_cpu_seconds": whole, "runs": runs, "ballast": len(ballast)}))


def _time(explore: Explore, workload: Workload, runs: int, *, seed: int) -> float:
    """Return the CPU seconds of a run, over at least ``runs`` of them.

    An explorer may stop early, out of time or of new schedules. Then it is called again with another seed, and pays for
    its start again.
    """
    total = 0
    began = time.process_time()
    while total < runs:
        done = explore(workload, runs - total, seed)
        if not done:
            raise RuntimeError("the explorer made no run")
        total += done
        seed += 1
    return (time.process_time() - began) / total


if __name__ == "__main__":
    main()
