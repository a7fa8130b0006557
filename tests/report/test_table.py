"""The table, from values."""

from __future__ import annotations

from pytest_interleave.report.table import Row, render

NAMES = ["test_everything_at_once", "ann", "bob", "cleo", "dan"]
ROWS = [
    Row(1, 0.0, ("40  await asyncio.gather(*(buy(name) for name in names))",)),
    Row(2, 0.0, ("12  stock = await shop.stock(item, warehouse='north', currency='EUR', reserved=False)",)),
    Row(None, None, ("… 12 steps of 3 other tasks …",)),
    Row(5, 0.25, ("─ data arrives ◂ late",)),
    Row(5, 0.25, ("12  stock = await shop.stock(item, warehouse='north', currency='EUR')", "→ ends")),
    Row(3, 0.25, ("13  if stock:",)),
]


def test_five_tasks_fit_and_stay_readable() -> None:
    expected = """
time     test_eve…  ann        bob        cleo       dan
0 s      40  await asyncio.gather(*(buy(name) for name in names))
         │          12  stock = await shop.stock(item, warehouse='north', currency='EUR', reserved=…
         … 12 steps of 3 other tasks …    │          │
0.25 s   │          │          │          │          ─ data arrives ◂ late
         │          │          │          │          12  stock = await shop.stock(item, warehouse='…
         │          │          │          │          → ends
         │          │          13  if stock:
"""
    text = render(ROWS, list(enumerate(NAMES, start=1)))

    assert text == expected.strip("\n")
    assert max(map(len, text.splitlines())) <= 100


def test_one_task_has_the_whole_width() -> None:
    text = render([ROWS[0]], [(1, "test_everything_at_once")])

    assert text.splitlines() == [
        "time     test_everything_at_once",
        "0 s      40  await asyncio.gather(*(buy(name) for name in names))",
    ]
