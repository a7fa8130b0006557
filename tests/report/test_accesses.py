"""What a line of source reads and writes, by its text."""

from __future__ import annotations

import pytest

from pytest_interleave.loop.accesses import accesses


@pytest.mark.parametrize(
    ("text", "reads", "writes"),
    [
        ("self.total = total + 1", set(), {".total"}),
        ("total = self.total", {".total"}, set()),
        ("state['n'] += 1", {"['n']"}, {"['n']"}),
        ("shown = text", set(), {"shown"}),
        ("self.jobs.append(job)", set(), {".jobs"}),
        ("if seats['free']:", {"['free']"}, set()),
        ("async with self.lock:", {".lock"}, {".lock"}),
        ("return await self.reader.readline()", {".reader"}, set()),
        ("for item in self.items:", {".items"}, set()),
        ("await call(", set(), set()),
        ("except TimeoutError:", {"TimeoutError"}, set()),
        ("async def f(self):", set(), set()),
        ("", set(), set()),
        ("}, 3)", set(), set()),
    ],
)
def test_shared_names(text: str, reads: set[str], writes: set[str]) -> None:
    local = {"total", "state", "text", "job", "seats", "item", "call"}

    assert accesses(text, local.__contains__) == (reads, writes)
