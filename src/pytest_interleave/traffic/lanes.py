"""When tasks were in flight, and when held back: a line for each, in plain characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import PurePath

from pytest_interleave.trace import Place
from pytest_interleave.traffic.result import seconds

IN_FLIGHT, HELD_BACK = "=", "."
#: At a moment of the loop's clock, how each task waits: those that do not are left out.
Look = tuple[float, Mapping[int, str]]

_WIDTH = 100
_BAR = 50
_MOST_NAME = 30
_MOST_ROWS = 12


def lanes(names: Sequence[str], places: Sequence[Place | None], looks: Sequence[Look], clock: str) -> list[str]:
    """Return a line for each task that waited, under one that tells the time, and a legend."""
    rows = [number for number in range(len(names)) if any(number in states for _, states in looks)]
    shown = rows[:_MOST_ROWS]
    if not shown:
        return []
    start, end = looks[0][0], looks[-1][0]
    width = min(max(len(names[number]) for number in shown), _MOST_NAME)
    lines = [f"{'':{width}}  0 s{seconds(end - start):>{_BAR - 3}} ({clock})"]
    for number in shown:
        head = f"{names[number][:width]:{width}} |{_bar(number, looks, start, end)}| "
        lines.append((head + _cut(at(places[number]), _WIDTH - len(head))).rstrip())
    if len(rows) > len(shown):
        lines.append(f"{'':{width}}  and {len(rows) - len(shown)} more")
    return [*lines, "", f"{IN_FLIGHT} in flight, {HELD_BACK} held back"]


def at(place: Place | None) -> str:
    """Return where it is and what the line says."""
    return f"{PurePath(place.file).name}:{place.line}: {place.text}" if place is not None else ""


def _bar(number: int, looks: Sequence[Look], start: float, end: float) -> str:
    def column(moment: float) -> int:
        share = (moment - start) / (end - start) if end > start else 0.0
        return min(round(share * _BAR), _BAR)

    columns = [" "] * _BAR
    for (begins, states), (ends, _) in pairwise(looks):
        state = states.get(number)
        if state is None:
            continue
        first, last = min(column(begins), _BAR - 1), column(ends)
        for each in range(first, max(last, first + 1)):
            if columns[each] != IN_FLIGHT:
                columns[each] = state
    return "".join(columns)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
