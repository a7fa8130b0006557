"""The page on compatibility, from what came of the probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.compatibility.judging import LEAST_RUNS, RUNS, Cell
from benchmarks.compatibility.probes import Probe

_HEAD = f"""\
# Compatibility: unmodified libraries

Each row is an ordinary test file, as a user would write it: servers and clients in one test, two requests at a time,
real replies asserted. It is run plainly, then under `--interleave` with {RUNS} runs; nothing in the libraries is
changed or mocked.

- `ok`: it passes both ways, and at least {LEAST_RUNS} runs were made.
- `finds a latency failure`: it passes plainly and in asyncio's own order, and a late event, of which asyncio is
  capable, breaks it; the line below the table says which.
- `inconclusive`: it passes, but two runs in asyncio's own order differ.

The newest aiohttp is that of the first table, and the other libraries are the same in both. This page is written by
`python -m benchmarks.compatibility`, whole; the tests are in `benchmarks/compatibility/probes/`, the pins in
`benchmarks/requirements-compatibility.txt`.
"""


@dataclass(frozen=True)
class Column:
    """What came of the probes in one environment; a note where there is more to say of that."""

    title: str
    cells: Mapping[Probe, Cell]
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Some environments side by side."""

    head: str
    probes: Sequence[Probe]
    columns: Sequence[Column]


def render(tables: Sequence[Table]) -> str:
    """Return the page: the tables, and below each what its cells and columns have to add."""
    return "\n".join([_HEAD, *map(_render_table, tables)])


def _render_table(table: Table) -> str:
    columns = table.columns
    lines = [
        f"| {table.head} | {' | '.join(column.title for column in columns)} |",
        "| --- |" + " --- |" * len(columns),
    ]
    notes = [f"- {column.title}: {column.note}." for column in columns if column.note]
    for probe in table.probes:
        lines.append(f"| {probe.title} | {' | '.join(column.cells[probe].word for column in columns)} |")
        notes += [
            f"- {probe.title}, {column.title}: {column.cells[probe].reason}."
            for column in columns
            if column.cells[probe].reason
        ]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"
