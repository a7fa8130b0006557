"""Measure the search on the kernels: bugs found, runs to the first failure, false alarms.

From the folder ``tests``: ``python -m quality.measure --seeds 12 --runs 1000``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import exp, log
from typing import Any

from quality.fifo_protected import EVERYDAY, PROTECTED_BY_ORDER
from quality.kernels import KERNELS, Program


class Kind(StrEnum):
    """What a program is measured for."""

    BUG = "bug"
    TWIN = "twin"
    PROTECTED = "protected by order"
    EVERYDAY = "everyday"


@dataclass(frozen=True)
class Row:
    """One program, explored once for each seed."""

    program: str
    kind: Kind
    #: The run of the first failure that asyncio can make, by seed; None: no failure.
    found_in_runs: tuple[int | None, ...]
    #: For how many seeds there was a note about an order which asyncio never makes.
    order_only: int
    #: The verdicts, by seed.
    verdicts: tuple[str, ...]
    #: Type and text of the failures, each once.
    errors: tuple[str, ...]
    runs: int
    seconds: float

    @property
    def found(self) -> int:
        """For how many seeds there was a failure."""
        return sum(run is not None for run in self.found_in_runs)


@dataclass(frozen=True)
class Summary:
    """The figures of the published table."""

    bugs: int
    #: Bugs found, mean over the seeds.
    found_mean: float
    #: Runs to the first failure, geometric mean; a bug that was not found counts as the whole budget.
    runs_geometric_mean: float
    #: Programs without a bug that failed for one seed or more.
    alarms_on_twins: tuple[str, ...]
    alarms_on_protected: tuple[str, ...]
    alarms_on_everyday: tuple[str, ...]
    #: Programs without a bug that got a note for one seed or more.
    order_only: tuple[str, ...]


#: ``explore(async_fn, runs=…, seed=…)`` of this package, or anything that gives its answers.
Explore = Callable[..., Any]


def programs() -> Iterable[tuple[Kind, Program]]:
    """Yield all programs."""
    for kernel in KERNELS:
        yield Kind.BUG, kernel.buggy
    for kernel in KERNELS:
        yield Kind.TWIN, kernel.fixed
    for program in PROTECTED_BY_ORDER:
        yield Kind.PROTECTED, program
    for program in EVERYDAY:
        yield Kind.EVERYDAY, program


def measure(
    *,
    seeds: Sequence[int] = range(12),
    runs: int = 1000,
    alarm_runs: int = 300,
    explore: Explore | None = None,
    only: str = "",
    kinds: Iterable[Kind] = Kind,
    progress: Callable[[Row], object] = lambda row: None,
    **settings: Any,
) -> list[Row]:
    """Explore each program once for each seed.

    ``runs`` bounds the search for a bug, ``alarm_runs`` that on correct programs. ``settings`` go to ``explore``, such
    as ``mode``.
    """
    if explore is None:
        from pytest_interleave.exploration import explore
    wanted = set(kinds)
    rows = []
    for kind, program in programs():
        if kind in wanted and only in program.__name__:
            budget = runs if kind is Kind.BUG else alarm_runs
            rows.append(_measure(explore, kind, program, seeds, {**settings, "runs": budget}))
            progress(rows[-1])
    return rows


def _measure(explore: Explore, kind: Kind, program: Program, seeds: Sequence[int], settings: dict[str, Any]) -> Row:
    found: list[int | None] = []
    verdicts: list[str] = []
    errors: dict[str, None] = {}
    order_only = runs = 0
    started = time.perf_counter()
    for seed in seeds:
        exploration = explore(program, seed=seed, **settings)
        failures = [failure for failure in exploration.failures if failure.label != "order-only"]
        order_only += len(failures) < len(exploration.failures) or bool(getattr(exploration, "notes", ()))
        found.append(min((failure.found_in_run for failure in failures), default=None))
        verdicts.append(exploration.verdict)
        runs += exploration.runs
        for failure in failures:
            errors[f"{failure.label}: {failure.error!r}"[:200]] = None
    return Row(
        program=program.__name__,
        kind=kind,
        found_in_runs=tuple(found),
        order_only=order_only,
        verdicts=tuple(verdicts),
        errors=tuple(errors),
        runs=runs,
        seconds=time.perf_counter() - started,
    )


def geometric_mean(found_in_runs: Iterable[int | None], cap: int) -> float:
    """Return the geometric mean of the runs to a failure, where None counts as ``cap``."""
    logs = [log(cap if run is None else run) for run in found_in_runs]
    return exp(sum(logs) / len(logs)) if logs else 0.0


def summarise(rows: Iterable[Row], *, cap: int) -> Summary:
    """Reduce the rows to the figures of the published table; ``cap`` is the budget of runs."""
    by_kind: dict[Kind, list[Row]] = {kind: [] for kind in Kind}
    for row in rows:
        by_kind[row.kind].append(row)
    bugs = by_kind[Kind.BUG]
    seeds = max((len(row.found_in_runs) for row in bugs), default=1)
    correct = [row for kind in (Kind.TWIN, Kind.PROTECTED, Kind.EVERYDAY) for row in by_kind[kind]]
    return Summary(
        bugs=len(bugs),
        found_mean=sum(row.found for row in bugs) / seeds,
        runs_geometric_mean=geometric_mean((run for row in bugs for run in row.found_in_runs), cap),
        alarms_on_twins=_alarms(by_kind[Kind.TWIN]),
        alarms_on_protected=_alarms(by_kind[Kind.PROTECTED]),
        alarms_on_everyday=_alarms(by_kind[Kind.EVERYDAY]),
        order_only=tuple(row.program for row in correct if row.order_only),
    )


def _alarms(rows: Iterable[Row]) -> tuple[str, ...]:
    return tuple(row.program for row in rows if row.found)


def _line(row: Row, cap: int) -> str:
    seeds = len(row.found_in_runs)
    mean = f"{geometric_mean(row.found_in_runs, cap):8.1f}" if row.kind is Kind.BUG else " " * 8
    speed = row.runs / row.seconds if row.seconds else 0
    verdicts = ",".join(sorted(set(row.verdicts)))
    line = (
        f"{row.kind:18} {row.program:38} {row.found:3} of {seeds:<3}{mean} {row.order_only:5} {speed:8.0f}  {verdicts}"
    )
    is_alarm = row.found and row.kind is not Kind.BUG
    return "\n".join([line, *(f"    {error}" for error in row.errors if is_alarm)])


def _print_summary(summary: Summary) -> None:
    print(f"\nbugs found, mean of {summary.bugs}: {summary.found_mean:.2f}")
    print(f"runs to the first failure, geometric mean, misses = budget: {summary.runs_geometric_mean:.1f}")
    for what, names in (
        ("false alarms on twins", summary.alarms_on_twins),
        ("false alarms on programs protected by order", summary.alarms_on_protected),
        ("false alarms on everyday programs", summary.alarms_on_everyday),
        ("correct programs with an order-only note", summary.order_only),
    ):
        print(f"{what}: {len(names)} {' '.join(names)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure as the command line says, and print or write the figures."""
    parser = argparse.ArgumentParser(prog="python -m quality.measure", description="Measure the search on known bugs.")
    parser.add_argument("--seeds", type=int, default=12, help="explorations of each program (default: 12)")
    parser.add_argument("--runs", type=int, default=1000, help="budget for a bug (default: 1000)")
    parser.add_argument("--alarm-runs", type=int, default=300, help="budget for a correct program (default: 300)")
    parser.add_argument("--mode", default="realistic")
    parser.add_argument("--only", default="", help="programs whose name has this in it")
    parser.add_argument("--kind", action="append", type=Kind, choices=list(Kind), help="may be given again")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args(arguments)
    if options.json:
        progress: Callable[[Row], object] = lambda row: None  # noqa: E731
    else:
        print(f"{'':57} {'found':>9}    runs  notes   runs/s  verdicts")

        def progress(row: Row) -> None:
            print(_line(row, options.runs), flush=True)

    rows = measure(
        seeds=range(options.seeds),
        runs=options.runs,
        alarm_runs=options.alarm_runs,
        only=options.only,
        kinds=options.kind or Kind,
        progress=progress,
        mode=options.mode,
    )
    summary = summarise(rows, cap=options.runs)
    if options.json:
        print(json.dumps({"summary": asdict(summary), "rows": [asdict(row) for row in rows]}))
    else:
        _print_summary(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
