"""What the observer sees of a run on the controlled loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any

import pytest

from pytest_interleave.detectors.deadlock import find
from pytest_interleave.exploration.execution import Execution, Limits
from pytest_interleave.exploration.result import RunResult
from pytest_interleave.loop.observe import Observer
from pytest_interleave.schedule import Decider, Fifo
from pytest_interleave.strategies.guided import Guided
from pytest_interleave.trace import Observation
from report import programs


def observe(
    program: Callable[[], Coroutine[Any, Any, Any]], decider: Decider | None = None, **options: bool
) -> tuple[Observation, RunResult]:
    execution = Execution(program, stretch=True, limits=Limits())
    try:
        observer = Observer(**options)
        result = execution(decider or Fifo(), observer)
        return observer.result(result.error), result
    finally:
        execution.close()


def lines(seen: Observation, task: int) -> list[list[str]]:
    return [[line.text for line in step.lines] for step in seen.steps if step.task == task]


def test_looking_does_not_change_the_run() -> None:
    execution = Execution(programs.reply_to_the_last_question, stretch=True, limits=Limits())
    try:
        plain = execution(Fifo()).trace.events()
        observer = Observer()
        observed = execution(Fifo(), observer).trace.events()
    finally:
        execution.close()

    assert observed == plain
    assert list(observer.result().events) == plain[: len(observer.result().events)]


def test_each_step_has_the_lines_that_ran_and_where_it_stopped() -> None:
    seen, _ = observe(programs.lost_update)
    deposit = [step for step in seen.steps if step.task == 2]

    assert seen.names == ("test", "lost_update", "deposit", "late")
    assert lines(seen, 2) == [
        ["balance = account.balance", "await remote(amount)", "await asyncio.sleep(0.01)"],
        [
            "await asyncio.sleep(0.01)",
            "return value",
            "await remote(amount)",
            "account.balance = balance + amount",
        ],
    ]
    assert [step.ended for step in deposit] == ["suspended", "returned"]
    assert deposit[0].is_first
    assert deposit[0].stopped is not None
    assert deposit[0].stopped.awaited == "await asyncio.sleep(0.01)"
    assert [step.time for step in deposit] == [0.0, 0.01]


def test_what_woke_a_step_can_be_followed_to_the_outside_event() -> None:
    seen, _ = observe(programs.lost_update)
    steps = {step.index: step for step in seen.steps}
    woken = [step for step in seen.steps if step.task == 2][1]
    assert woken.cause is not None
    callback = steps[woken.cause]
    event = next(event for event in seen.outside if event.index == callback.cause)

    assert callback.task is None
    assert (event.what, round(event.seconds or 0, 3), event.event) == ("sleep", 0.01, ((1, 1), "timer", 1))
    assert event.place is not None
    assert event.place.text == "await asyncio.sleep(0.01)"


async def _a_visit() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        over.set()

    over = asyncio.Event()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.close()
        await over.wait()
        await writer.wait_closed()


def test_the_task_by_which_asyncio_accepts_a_connection_is_called_what_it_is_for() -> None:
    seen, _ = observe(_a_visit)

    assert "accepted connection" in seen.names


def test_data_are_told_with_the_library_whose_protocol_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    library = ModuleType("client")
    library.__file__ = "/venv/site-packages/client.py"
    monkeypatch.setitem(sys.modules, "client", library)

    class Taker(asyncio.Protocol):
        __module__ = "client"

        def __init__(self) -> None:
            self.over = asyncio.Event()

        def connection_lost(self, why: Exception | None) -> None:
            self.over.set()

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()
        await writer.wait_closed()

    async def program() -> None:
        async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
            address = server.sockets[0].getsockname()
            _, taker = await asyncio.get_running_loop().create_connection(Taker, *address)
            await taker.over.wait()

    seen, _ = observe(program)

    assert "client" in {event.subject for event in seen.outside if event.what == "data"}


def test_a_timeout_is_told_from_a_sleep() -> None:
    seen, _ = observe(programs.reply_to_the_last_question, Guided({((1,), "timer", 2): ((1,), "step", 6)}))

    timeout = next(event for event in seen.outside if event.what == "timeout")
    assert timeout.seconds == 0.5
    assert timeout.place is not None
    assert timeout.place.text == "async with asyncio.timeout(0.5):"
    assert {event.what for event in seen.outside} == {"connection", "data", "timeout"}


def test_the_failure_is_seen_where_it_is_raised() -> None:
    seen, _ = observe(programs.lost_update, Guided({((1, 2), "timer", 1): ((1, 2), "step", 1)}))

    assert seen.error == "AssertionError"
    assert [place.text for place in seen.error_places] == ["assert account.balance == 15"]
    assert [step.error for step in seen.steps if step.ended == "raised"] == ["AssertionError"]


def test_asyncios_locks_and_the_tracer_are_put_back() -> None:
    before = asyncio.Lock.acquire, asyncio.Event.set, asyncio.Condition.notify, sys.gettrace()

    observe(programs.transfers, Guided({((1, 2), "timer", 1): ((1, 2), "step", 1)}))

    assert (asyncio.Lock.acquire, asyncio.Event.set, asyncio.Condition.notify, sys.gettrace()) == before


def test_a_debuggers_tracer_is_kept() -> None:
    def tracer(frame: Any, event: str, argument: Any) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        observe(programs.passes)
        kept = sys.gettrace()
    finally:
        sys.settrace(before)

    assert kept is tracer


def test_a_snapshot_names_locks_holders_and_places() -> None:
    seen, _ = observe(programs.transfers, Guided({((1, 2), "timer", 1): ((1, 2), "step", 1)}))
    assert seen.end is not None
    blocked = {seen.names[task.number]: task for task in seen.end.blocked}
    alice = blocked["alice→bob"]

    assert (alice.wait.what, alice.wait.name) == ("Lock", "bob.lock")
    assert [seen.names[holder.task] for holder in alice.wait.holders] == ["bob→alice"]
    assert alice.wait.holders[0].place is not None
    assert alice.wait.holders[0].place.text == "async with source.lock:"
    assert alice.place is not None
    assert alice.place.text == "async with target.lock:"
    assert blocked["transfers"].wait.what == "gather"


async def waits_of_all_kinds() -> None:
    jobs: asyncio.Queue[int] = asyncio.Queue(1)
    full: asyncio.Queue[int] = asyncio.Queue(1)
    full.put_nowait(1)
    event, places, barrier = asyncio.Event(), asyncio.Semaphore(1), asyncio.Barrier(3)
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    await places.acquire()

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(event.wait(), name="in-group")

    async def items() -> Any:
        yield await jobs.get()

    async def loop() -> None:
        async for _ in items():
            pass

    def future() -> Any:
        return answer

    calls = {
        "get": jobs.get(),
        "put": full.put(2),
        "join": full.join(),
        "event": event.wait(),
        "semaphore": places.acquire(),
        "barrier": barrier.wait(),
        "group": group(),
        "generator": loop(),
    }
    tasks = [asyncio.create_task(call, name=name) for name, call in calls.items()]
    tasks.append(asyncio.create_task(asyncio.wait(tasks[:2]), name="wait"))

    async def of_future() -> None:
        await future()

    tasks.append(asyncio.create_task(of_future(), name="future"))
    tasks.append(asyncio.create_task(asyncio.wait_for(event.wait(), None), name="wait_for"))
    await asyncio.shield(tasks[3])


def test_what_a_task_waits_for() -> None:
    seen, result = observe(waits_of_all_kinds)
    assert seen.end is not None
    waits = {seen.names[task.number]: (task.wait.what, task.wait.name) for task in seen.end.blocked}

    assert result.signature is not None
    assert waits == {
        "waits_of_all_kinds": ("future", ""),
        "get": ("Queue.get", "jobs"),
        "put": ("Queue.put", "full"),
        "join": ("Queue.join", "full"),
        "event": ("Event", "event"),
        "semaphore": ("Semaphore", "places"),
        "barrier": ("Barrier", "barrier"),
        "group": ("TaskGroup", "tasks"),
        "in-group": ("Event", "event"),
        "generator": ("Queue.get", "jobs"),
        "wait": ("asyncio.wait", ""),
        "future": ("future", "answer"),
        "wait_for": ("Event", "event"),
    }


async def forgotten() -> None:
    """Two tasks are left: one that a module's queue can wake, one that nobody knows."""
    hidden = asyncio.Event()
    asyncio.create_task(hidden.wait(), name="hidden")  # noqa: RUF006
    asyncio.create_task(KNOWN[0].wait(), name="known")  # noqa: RUF006
    await asyncio.sleep(0.01)


KNOWN: list[asyncio.Event] = [asyncio.Event()]


def test_a_task_that_nothing_alive_can_wake_is_a_partial_deadlock() -> None:
    seen, result = observe(forgotten, looks_for_wakers=True)
    assert result.error is None
    assert seen.end is not None
    found = find(seen.end)

    assert {seen.names[task.number]: task.is_unreachable for task in seen.end.blocked} == {
        "hidden": True,
        "known": False,
    }
    assert found is not None
    assert (found.kind, [seen.names[task.number] for task in found.tasks]) == ("no waker", ["hidden"])


def test_a_cycle_is_seen_while_the_loop_idles_though_a_timeout_ends_it() -> None:
    seen, _ = observe(programs.timeout_over_a_deadlock, Guided({((1, 2), "timer", 1): ((1, 2), "step", 1)}))

    assert seen.idle is not None
    assert round(seen.idle.when, 3) == 0.11
    found = find(seen.idle)
    assert found is not None
    assert (found.kind, [seen.names[task.number] for task in found.tasks]) == ("cycle", ["one", "other"])
