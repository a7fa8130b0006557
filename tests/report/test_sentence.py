"""The sentence, from values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_interleave.exploration.outcomes import Explanation
from pytest_interleave.report.reading import library_of
from pytest_interleave.report.sentence import read_orders, sentence
from pytest_interleave.schedule import DRAW, EventId
from pytest_interleave.strategies.guided import answer
from pytest_interleave.trace import Drawn, Observation, OutsideEvent
from report.observations import PATHS, arrival, line, observation, step

ANN, BOB = 2, 3
FETCH = line(12, "page = await session.get(url)", awaited="await session.get(url)")
SHOW = line(14, "self.shown = 'ab'")
NAP = line(9, "await asyncio.sleep(0.02)", awaited="await asyncio.sleep(0.02)")
READ = line(20, "return await reader.readline()", awaited="await reader.readline()")
GUARD = line(31, "async with asyncio.timeout(0.5):")
LIBRARY = line(99, "await self._open(host)", file="/venv/lib/python3.11/site-packages/pooled/connect.py")


def say(constraints: dict[EventId, EventId], failing: Observation, passing: Observation, verb: str = "fails") -> str:
    return sentence(Explanation(failing, constraints, passing), verb=verb)


def test_nothing_changed() -> None:
    assert say({}, observation(), observation()) == "fails in asyncio's own order, with nothing changed"


def test_what_was_drawn_is_told_with_its_line() -> None:
    draw = (PATHS[ANN], DRAW, 1)
    failing = replace(
        observation(step(ANN, FETCH)), draws=(Drawn(0, draw, 'choose(["ok", "lost"])', "'lost'", line(9, "")),)
    )

    assert say({draw: answer(1)}, failing, observation(step(ANN, FETCH))) == (
        'fails if `choose(["ok", "lost"])` (shop.py:9, task ann) gives `\'lost\'`'
    )


def test_what_the_network_does_is_drawn_at_no_line() -> None:
    draw = (PATHS[ANN], DRAW, 1)
    failing = replace(observation(step(ANN, FETCH)), draws=(Drawn(0, draw, "a connection to cache", "is refused"),))

    assert say({draw: answer(3)}, failing, observation()) == "fails if a connection to cache is refused"


def test_data_that_nobody_waits_for_any_more_are_told_by_who_would_have() -> None:
    data = arrival(ANN, "data")
    passing = observation(data, step(ANN, FETCH, cause=0, went_on=FETCH), step(BOB, SHOW))
    failing = observation(step(BOB, SHOW), data)

    assert say({data.event: ((1, 2), "step", 1)}, failing, passing).startswith(
        "fails if data for `await session.get(url)` (shop.py:12, task ann) arrives after "
    )


def test_a_connection_comes_in_to_the_server_of_the_test() -> None:
    connection = arrival(1, "connection")
    passing = observation(connection, step(BOB, SHOW))
    failing = observation(step(BOB, SHOW), connection)

    assert say({connection.event: ((1, 2), "step", 1)}, failing, passing).startswith(
        "fails if a connection to the server of the test comes in after "
    )


def test_a_library_in_a_folder_of_its_own_is_named_by_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend("/opt/layer")

    assert library_of(line(1, "", file="/opt/layer/nats/aio/transport.py")) == "nats"


def test_data_held_back_names_the_await_and_the_line_that_touches_the_same() -> None:
    data = arrival(ANN, "data")
    passing = observation(
        data, step(ANN, FETCH, line(13, "self.shown = page"), cause=0, went_on=FETCH), step(BOB, SHOW)
    )
    failing = observation(
        step(BOB, SHOW), data, step(ANN, FETCH, line(13, "self.shown = page"), cause=1, went_on=FETCH)
    )

    assert say({data.event: ((1, 2), "step", 1)}, failing, passing) == (
        "fails if data for `await session.get(url)` (shop.py:12, task ann) arrives after "
        "`self.shown = 'ab'` (shop.py:14, task bob)"
    )


def test_a_sleep_moved_forward_names_what_it_overtook() -> None:
    nap, other = arrival(ANN, "sleep", 0.02, NAP), arrival(BOB, "sleep", 0.01, line(5, "await asyncio.sleep(0.01)"))
    passing = observation(other, step(BOB, line(6, "x = 1"), cause=0), nap, step(ANN, line(10, "y = 2"), cause=2))
    failing = observation(nap, other, step(ANN, line(10, "y = 2"), cause=0), step(BOB, line(6, "x = 1"), cause=1))

    assert say({nap.event: ((1,), "step", 1)}, failing, passing) == (
        "fails if the sleep of 0.02 s (shop.py:9, task ann) ends before the sleep of 0.01 s (shop.py:5, task bob) ends"
    )


def test_one_order_is_said_once_though_both_of_it_are_named() -> None:
    nap, other = arrival(ANN, "sleep", 0.02, NAP), arrival(BOB, "sleep", 0.01, line(5, "await asyncio.sleep(0.01)"))
    passing = observation(other, step(BOB, line(6, "x = 1"), cause=0), nap, step(ANN, line(10, "y = 2"), cause=2))
    failing = observation(nap, other, step(ANN, line(10, "y = 2"), cause=0), step(BOB, line(6, "x = 1"), cause=1))
    moved = {nap.event: ((1,), "step", 1), other.event: nap.event}

    assert say(moved, failing, passing) == (
        "fails if the sleep of 0.02 s (shop.py:9, task ann) ends before the sleep of 0.01 s (shop.py:5, task bob) ends"
    )


def test_a_timeout_that_asyncio_cancels_in_time_names_what_it_guards() -> None:
    reply, timeout = arrival(ANN, "data"), arrival(ANN, "timeout", 0.5, GUARD)
    asked = step(ANN, GUARD, READ)
    answered = step(BOB, line(50, "writer.write(reply)"), cause=0)
    passing = observation(asked, answered, reply, step(ANN, READ, cause=2, went_on=READ))
    failing = observation(asked, timeout, step(ANN, READ, GUARD, cause=1, went_on=READ))

    assert say({timeout.event: ((1, 1), "step", 1)}, failing, passing) == (
        "fails if the timeout of 0.5 s (shop.py:31, task ann) fires before data for "
        "`await reader.readline()` (shop.py:20, task ann) arrives"
    )


def test_two_arrivals_in_one_iteration() -> None:
    reply = arrival(ANN, "data", turn=4)
    timeout = arrival(ANN, "timeout", 0.5, GUARD, turn=4)
    woken = step(ANN, READ, line(21, "total = 1"), cause=0, went_on=READ)
    passing = observation(reply, woken, timeout)
    failing = observation(reply, timeout, woken)

    assert say({timeout.event: reply.event}, failing, passing) == (
        "fails if the timeout of 0.5 s (shop.py:31, task ann) fires in the same loop iteration in which data for "
        "`await reader.readline()` (shop.py:20, task ann) arrives"
    )


def test_an_arrival_behind_a_queued_step_of_the_same_iteration() -> None:
    timeout = arrival(ANN, "timeout", 0.5, GUARD, turn=4)
    setter = step(BOB, line(40, "self.ready.set_result(1)"), turn=4)
    passing = observation(setter, timeout, step(ANN, line(22, "use(self.ready)"), cause=1))
    failing = observation(timeout, setter, step(ANN, line(22, "use(self.ready)"), cause=0, turn=4))

    assert say({timeout.event: ((1,), "step", 1)}, failing, passing) == (
        "fails if the timeout of 0.5 s (shop.py:31, task ann) fires in the same loop iteration in which "
        "`self.ready.set_result(1)` (shop.py:40, task bob) runs"
    )


def test_an_event_that_has_not_come_when_the_test_fails() -> None:
    nap = arrival(ANN, "sleep", 0.02, NAP)
    check = line(60, "assert done")
    passing = observation(nap, step(ANN, line(10, "x = 1"), cause=0), step(1, check))
    failing = observation(step(1, check), error_places=[check])

    assert say({nap.event: ((1,), "step", 1)}, failing, passing) == (
        "fails if the sleep of 0.02 s (shop.py:9, task ann) ends after `assert done` (shop.py:60)"
    )


def test_what_comes_for_a_librarys_task_is_told_by_the_line_that_it_works_for() -> None:
    # ann awaits a page, and the library has begun a task of its own for the connection.
    asked, opened = step(ANN, FETCH), arrival(6, "data")
    passing = observation(asked, opened, step(6, LIBRARY, cause=1, went_on=LIBRARY), step(BOB, SHOW))
    failing = observation(asked, step(BOB, SHOW), opened, step(6, LIBRARY, cause=2, went_on=LIBRARY))

    assert say({opened.event: ((1, 2), "step", 1)}, failing, passing) == (
        "fails if data for `await session.get(url)` (shop.py:12, task ann) arrives after "
        "`self.shown = 'ab'` (shop.py:14, task bob)"
    )


@pytest.mark.parametrize(("after", "timer"), [(0.1, "the timer of 0.1 s"), (0.0, "the timer that is due at once")])
def test_what_comes_for_a_library_that_works_for_nobody_is_told_by_its_name(after: float, timer: str) -> None:
    tick = arrival(5, "sleep", after, LIBRARY)
    passing = observation(tick, step(5, LIBRARY, cause=0, went_on=LIBRARY), step(BOB, SHOW))
    failing = observation(step(BOB, SHOW), tick, step(5, LIBRARY, cause=1, went_on=LIBRARY))

    assert say({tick.event: ((1, 2), "step", 1)}, failing, passing) == (
        f"fails if {timer} of pooled fires after `self.shown = 'ab'` (shop.py:14, task bob)"
    )


def test_a_timer_is_of_the_library_that_sets_it_and_not_of_the_one_that_it_sleeps_by() -> None:
    helper = line(9, "await sleep(delay)", file="/venv/site-packages/anyio/_core.py")
    tick = arrival(5, "sleep", 0.1, LIBRARY)
    passing = observation(tick, step(5, helper, cause=0, went_on=helper), step(BOB, SHOW))
    failing = observation(step(BOB, SHOW), tick, step(5, helper, cause=1, went_on=helper))

    assert say({tick.event: ((1, 2), "step", 1)}, failing, passing).startswith("fails if the timer of 0.1 s of pooled ")


def test_data_for_asyncios_own_task_is_for_the_connection_that_it_has_accepted() -> None:
    comes = arrival(6, "data")
    failing = observation(step(BOB, SHOW), comes)
    failing = replace(failing, names=(*failing.names[:6], "accepted connection #2"))
    passing = replace(observation(comes, step(BOB, SHOW)), names=failing.names)

    assert say({comes.event: ((1, 2), "step", 1)}, failing, passing).startswith(
        "fails if data for a connection to the server of task ann arrives "
    )


def test_what_is_left_of_a_timeout_is_told_as_what_was_given() -> None:
    given_up = arrival(ANN, "timeout", 1.99737, GUARD)
    passing = observation(step(BOB, SHOW), given_up)
    failing = observation(given_up, step(BOB, SHOW))

    assert say({given_up.event: ()}, failing, passing).startswith("fails if the timeout of 2 s (shop.py:31, task ann) ")


def test_a_timeout_that_no_line_of_the_users_has_set_is_called_one() -> None:
    # Of create_task(wait_for(…)): that task has no line of the user's.
    given_up = arrival(5, "timeout", 0.5)
    passing = observation(step(BOB, SHOW), given_up)
    failing = observation(given_up, step(BOB, SHOW))

    assert say({given_up.event: ()}, failing, passing).startswith("fails if the timeout of 0.5 s (task ")


def test_a_connection_that_a_task_has_asked_for_is_none_to_a_server_of_its_own() -> None:
    comes_in = arrival(5, "connection")
    is_made = replace(comes_in, event=(comes_in.event[0], "write", 1))

    def late(connection: OutsideEvent) -> str:
        passing = observation(connection, step(BOB, SHOW))
        return say({connection.event: ((1, 2), "step", 1)}, observation(step(BOB, SHOW), connection), passing)

    assert late(comes_in).startswith("fails if a connection to the server of task ")
    assert late(is_made).startswith("fails if the connection for task ")


def test_a_line_of_the_users_is_named_before_an_event_of_a_library() -> None:
    nap, tick = arrival(ANN, "sleep", 0.02, NAP), arrival(5, "sleep", 0.1, LIBRARY)
    work = [tick, step(5, LIBRARY, cause=0, went_on=LIBRARY), step(BOB, line(40, "await queue.join()"), turn=1)]
    passing = observation(*work, nap, step(ANN, line(10, "x = 1"), cause=3))
    failing = observation(nap, tick, replace(work[1], cause=1), work[2], step(ANN, line(10, "x = 1"), cause=0))

    assert say({nap.event: ((1,), "step", 1)}, failing, passing) == (
        "fails if the sleep of 0.02 s (shop.py:9, task ann) ends before `await queue.join()` (shop.py:40, task bob)"
    )


def test_several_constraints_are_joined() -> None:
    naps = [arrival(task, "sleep", 0.1 * task, NAP) for task in (2, 3, 4, 5)]
    check = line(60, "assert done")
    passing = observation(*naps, step(1, check))
    failing = observation(step(1, check), error_places=[check])

    text = say({nap.event: ((1,), "step", 1) for nap in naps}, failing, passing, verb="deadlocks")

    assert text.startswith("deadlocks if the sleep of 0.2 s")
    assert text.count("the sleep of") == 3
    assert text.endswith(", and 1 more order differs")


def test_what_reads_alike_is_said_once() -> None:
    draws = [(PATHS[ANN], DRAW, number) for number in range(1, 6)]
    whats = ["a connection to cache", "a connection to db", "a connection to cache", "one to a", "one to b"]
    drawn = tuple(
        Drawn(number, draw, what, "is refused") for number, (draw, what) in enumerate(zip(draws, whats, strict=True))
    )

    assert say({draw: answer(1) for draw in draws}, replace(observation(), draws=drawn), observation()) == (
        "fails if a connection to cache is refused (2 times), a connection to db is refused, one to a is refused, "
        "and 1 more order differs"
    )


def test_a_held_step_is_an_order_that_asyncio_never_makes() -> None:
    passing = observation(step(ANN, line(1, "a = 1"), is_first=True), step(BOB, SHOW, is_first=True))
    failing = observation(step(BOB, SHOW, is_first=True), step(ANN, line(1, "a = 1"), is_first=True))

    assert say({((1, 1), "step", 1): ((1, 2), "step", 1)}, failing, passing) == (
        "needs an order that asyncio never makes: task ann starts after `self.shown = 'ab'` (shop.py:14, task bob)"
    )


def test_long_code_is_cut() -> None:
    long = line(14, "self.shown = " + " + ".join(["'ab'"] * 40))
    passing = observation(step(ANN, line(1, "a = 1"), is_first=True), step(BOB, long))
    failing = observation(step(BOB, long), step(ANN, line(1, "a = 1"), is_first=True))

    text = say({((1, 1), "step", 1): ((1, 2), "step", 1)}, failing, passing)

    assert "…` (shop.py:14, task bob)" in text
    assert len(text) < 180


def test_a_report_of_very_many_orders_looks_at_the_first_and_counts_the_others() -> None:
    draws = [(PATHS[ANN], DRAW, number) for number in range(1, 5001)]
    drawn = tuple(Drawn(number, draw, f"connection {number}", "is refused") for number, draw in enumerate(draws))
    explanation = Explanation(
        replace(observation(), draws=drawn), {draw: answer(1) for draw in reversed(draws)}, observation()
    )

    assert sentence(explanation) == (
        "fails if connection 0 is refused, connection 1 is refused, connection 2 is refused, "
        "and 4997 more orders differ"
    )
    assert len(read_orders(explanation)) == 20
