"""Tables of figures: as values, as text, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.errors import UnmeasuredError
from benchmarks.rounds import Series


@dataclass(frozen=True)
class Target:
    """What our column has to reach."""

    bound: float
    is_upper: bool = True

    def is_met(self, value: float) -> bool:
        """Tell whether ``value`` is on the right side, or on the bound."""
        return value <= self.bound if self.is_upper else value >= self.bound

    @property
    def sign(self) -> str:
        """The direction, as printed."""
        return "≤" if self.is_upper else "≥"


def at_most(bound: float) -> Target:
    """Make a target for a cost."""
    return Target(bound)


def at_least(bound: float) -> Target:
    """Make a target for a rate."""
    return Target(bound, is_upper=False)


@dataclass(frozen=True)
class Row:
    """One line: a figure of each column that has one, or the reason why it has none."""

    label: str
    unit: str
    cells: dict[str, Series | str]
    target: Target | None = None
    decimals: int = 2


@dataclass
class Table:
    """The figures of one benchmark on one Python. Our own column is ``ours``."""

    title: str
    columns: list[str]
    ours: str
    rows: list[Row] = field(default_factory=list)

    def add(
        self,
        label: str,
        unit: str,
        figures: Mapping[str, Callable[[], Series]],
        *,
        target: Target | None = None,
        decimals: int = 2,
    ) -> None:
        """Append a row, computing each figure; those which cannot be computed leave their reason."""
        cells: dict[str, Series | str] = {}
        for column, figure in figures.items():
            try:
                cells[column] = figure()
            except UnmeasuredError as error:
                cells[column] = str(error)
        self.rows.append(Row(label, unit, cells, target, decimals))

    def to_text(self) -> str:
        """Render as Markdown, aligned for reading in a terminal; missing figures are explained under it."""
        notes: list[str] = []
        lines = [["", *self.columns, "target", "met"]]
        lines += [self._line(row, notes) for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        text = [self.title, ""]
        for first, *others in [lines[0], rule, *lines[1:]]:
            padded = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
            text.append(f"| {' | '.join([first.ljust(widths[0]), *padded])} |")
        text += [""] if notes else []
        text += [f"[{number}] {note}" for number, note in enumerate(notes, 1)]
        return "\n".join(text)

    def to_json(self) -> dict[str, Any]:
        """Return everything that was measured, each round's value too."""
        return {
            "title": self.title,
            "ours": self.ours,
            "rows": [
                {
                    "label": row.label,
                    "unit": row.unit,
                    "target": f"{row.target.sign} {row.target.bound:g}" if row.target else None,
                    "cells": {column: _cell_json(cell) for column, cell in row.cells.items()},
                }
                for row in self.rows
            ],
        }

    def _line(self, row: Row, notes: list[str]) -> list[str]:
        cells = [self._cell(row, column, notes) for column in self.columns]
        if row.target is None:
            return [f"{row.label}, {row.unit}", *cells, "", ""]
        mine = row.cells.get(self.ours)
        met = "" if not isinstance(mine, Series) else "yes" if row.target.is_met(mine.median) else "no"
        bound = f"{row.target.sign} {row.target.bound:.{row.decimals}f}"
        return [f"{row.label}, {row.unit}", *cells, bound, met]

    def _cell(self, row: Row, column: str, notes: list[str]) -> str:
        cell = row.cells.get(column)
        if cell is None:
            return ""
        if isinstance(cell, Series):
            return f"{cell.median:,.{row.decimals}f}"
        note = f"{column}: {cell}"
        if note not in notes:
            notes.append(note)
        return f"[{notes.index(note) + 1}]"


def _cell_json(cell: Series | str) -> dict[str, Any]:
    if isinstance(cell, Series):
        return {"median": cell.median, "rounds": list(cell.values)}
    return {"missing": cell}
