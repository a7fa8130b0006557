"""Small charts in plain characters, for the report of a failing test."""

from __future__ import annotations

import math
from collections.abc import Sequence

_WIDTH = 60
_BARS = 40
#: Stands for the rows of a histogram in which there is nothing.
_EMPTY = f"  {'…':>10}"
_LEVELS = " .:-=+*#%@"
#: Bounds of a histogram's rows, in steps that people read easily.
_STEPS = (1.0, 2.0, 5.0)


def highest(values: Sequence[tuple[float, float]], end: float, *, holds: bool = False) -> list[float]:
    """Return the highest value in each part of the time; ``holds``: a value stays until the next one comes."""
    columns = [0.0] * _WIDTH
    last, value_before = 0, 0.0
    for time, value in values:
        column = _column(time, end)
        if holds:
            for between in range(last, column + 1):
                columns[between] = max(columns[between], value_before)
            last, value_before = column, value
        columns[column] = max(columns[column], value)
    return columns


def totals(values: Sequence[tuple[float, float]], end: float) -> list[float]:
    """Return the sum of the values in each part of the time."""
    columns = [0.0] * _WIDTH
    for time, value in values:
        columns[_column(time, end)] += value
    return columns


def timeline(rows: Sequence[tuple[str, Sequence[float], str]], end: float) -> list[str]:
    """Return a line for each row, the darker the higher, under a line that tells the time."""
    width = max(len(name) for name, _, _ in rows)
    scale = f"0 s{f'{end / 2:.3g} s':^{_WIDTH - 6}}"
    lines = [f"{'':{width}}  {scale:<{_WIDTH - len(f'{end:.3g} s')}}{end:.3g} s"]
    lines += [f"{name:{width}} |{_spark(columns)}| {text}" for name, columns, text in rows]
    return lines


def histogram(values: Sequence[float]) -> list[str]:
    """Return a bar for each range of the values, which are ascending seconds."""
    finite = [value for value in values if not math.isinf(value)]
    if not finite:
        return []
    bounds = _bounds(finite[0], finite[-1])
    counts = [0] * len(bounds)
    index = 0
    for value in finite:
        while not _is_within(value, bounds[index]):
            index += 1
        counts[index] += 1
    most = max(counts)
    lines: list[str] = []
    for bound, count in zip(bounds, counts, strict=True):
        bar = "#" * max(round(count / most * _BARS), 1 if count else 0)
        lines.append(f"  to {_label(bound):>7} |{bar:<{_BARS}} {count:,}" if count else _EMPTY)
    return [line for line, last in zip(lines, [None, *lines], strict=False) if line != _EMPTY or line != last]


def _bounds(low: float, high: float) -> list[float]:
    """Return upper bounds in steps of 1, 2, 5, 10, …, that cover what is there."""
    power = math.floor(math.log10(max(low, 0.0001)))
    bounds = [step * 10.0**exponent for exponent in range(power - 1, power + 12) for step in _STEPS]
    first = next(
        index for index, bound in enumerate(bounds) if _is_within(min(max(low, 0.0001), high or 0.0001), bound)
    )
    last = next(index for index, bound in enumerate(bounds) if _is_within(high, bound))
    return bounds[first : max(last, first) + 1]


def _is_within(value: float, bound: float) -> bool:
    """Differences of moments are a little off: what took 50 ms belongs to those up to 50 ms."""
    return value <= bound * (1 + 1e-9)


def _label(bound: float) -> str:
    return f"{bound * 1000:g} ms" if bound < 1 else f"{bound:g} s"


def _spark(columns: Sequence[float]) -> str:
    most = max(columns) or 1.0
    top = len(_LEVELS) - 1
    return "".join(_LEVELS[max(math.ceil(value / most * top - 1e-9), 0)] for value in columns)


def _column(time: float, end: float) -> int:
    return min(int(time / end * _WIDTH), _WIDTH - 1) if end > 0 else 0
