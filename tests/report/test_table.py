"""The table, from values."""

from __future__ import annotations

from pytest_interleave.exploration.outcomes import Explanation
from pytest_interleave.report.sentence import Order, Phrase
from pytest_interleave.report.table import Row, render, table
from report.observations import PATHS, arrival, line, observation, step

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


def test_an_event_of_a_task_without_a_column_of_its_own_stands_in_anothers() -> None:
    # The sentence says whom a reader must see, but dan has no line of the user's and no column.
    buy = line(12, "await session.get(url)")
    failing = observation(
        step(1, line(40, "await gather()")), step(2, buy), arrival(5, "data"), step(2, line(13, "sold += 1"))
    )
    order = Order((PATHS[5], "read", 1), Phrase("the data", "arrives"), "after", None, (2,), (), tasks=(2, 5))

    text = table(Explanation(failing, {}), [order])

    assert text.splitlines()[0] == "time     test_it                       ann"
    assert text.splitlines()[3] == "         │                             ─ data arrives ◂ late"


def test_a_line_that_is_waited_for_in_several_steps_stands_there_once() -> None:
    asking = line(12, "reply = await session.get(url)", awaited="session.get(url)")
    failing = observation(
        step(1, line(40, "await gather()")),
        step(2, asking),
        step(2, asking),
        step(2, asking, line(13, "sold += 1")),
        arrival(2, "data"),
        step(2, asking, line(14, "return sold")),
    )
    order = Order((PATHS[2], "read", 1), Phrase("the data", "arrives"), "after", None, (4,), (), tasks=(2,))

    rows = [row.partition("│")[2].strip() for row in table(Explanation(failing, {}), [order]).splitlines()[2:]]

    assert rows == [
        "12  reply = await session.get(url)",
        "13  sold += 1",
        "─ data arrives ◂ late",
        "12  reply = await session.get(url)",
        "14  return sold",
    ]


def test_an_event_that_the_sentence_names_and_no_column_is_for_stands_in_that_of_the_test() -> None:
    ping = line(99, "await sleep(interval)", file="/venv/site-packages/client/ping.py")
    failing = observation(
        step(1, line(40, "await gather()")), arrival(5, "sleep", 0.5, ping), step(2, line(13, "n += 1"))
    )
    order = Order((PATHS[5], "timer", 1), Phrase("the timer", "fires"), "with", None, (1,))

    text = table(Explanation(failing, {}), [order])

    assert "─ timer of 0.5 s of client fires ◂ same loop iteration" in text


def test_who_wrote_what_the_failing_line_reads_has_a_column_though_the_sentence_names_others() -> None:
    # Two clients, of which one is late, and the handlers that they reach: dan's and cleo's tasks stand for those.
    save, check = line(30, "self.stock = stock"), line(50, "assert store.stock == 8")
    post = line(12, "await client.post('/buy')")
    failing = observation(
        step(2, post),
        arrival(2, "data"),
        step(3, post),
        *(step(task, save) for task in (4, 5)),
        step(1, check),
        error_places=[check],
    )
    order = Order((PATHS[2], "read", 1), Phrase("the data", "arrives"), "after", None, (1, 2))

    text = table(Explanation(failing, {}), [order])

    assert text.splitlines()[0].split() == ["time", "test_it", "ann", "bob", "cleo", "dan"]
    assert text.count("self.stock = stock") == 2
