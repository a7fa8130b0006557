"""``interrupt``: an operation is cancelled at each of its suspensions, as asyncio would do it."""

from __future__ import annotations

import asyncio
import re
import types
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from exploring.conftest import Explore

from pytest_interleave import Outcome, explore, interrupt
from pytest_interleave.exploration.execution import Execution, Limits
from pytest_interleave.exploration.token import Token
from pytest_interleave.schedule import WAITING, WOKEN, EventId
from pytest_interleave.strategies.guided import Guided, answer

#: The task that runs the operation: the first child of the test.
_OPERATION = (1, 1)

_POOL = """
from pytest_interleave import interrupt

class Pool:
    def __init__(self, size):
        self._free = list(range(size))
        self._slots = asyncio.Semaphore(size)

    async def _check(self, connection):
        await asyncio.sleep(0.01)

    async def get(self, key):
        await self._slots.acquire()
        connection = self._free.pop()
        await self._check(connection)
        try:
            await asyncio.sleep(0.1)
            return key.upper()
        finally:
            self._free.append(connection)
            self._slots.release()

class FixedPool(Pool):
    async def get(self, key):
        async with self._slots:
            connection = self._free.pop()
            try:
                await self._check(connection)
                await asyncio.sleep(0.1)
                return key.upper()
            finally:
                self._free.append(connection)

async def check(pool):
    outcome = await interrupt(pool.get("alice"))
    assert outcome.cancelled or outcome.result == "ALICE"
    assert await pool.get("bob") == "BOB"
"""


def run(function: Callable[[], Coroutine[Any, Any, Any]], constraints: dict[EventId, EventId]) -> BaseException | None:
    """Run the function once with these cancellations."""
    execution = Execution(function, stretch=True, limits=Limits())
    try:
        return execution(Guided(constraints)).error
    finally:
        execution.close()


def at(suspension: int, way: int = WAITING, kind: str = "cancel") -> dict[EventId, EventId]:
    return {(_OPERATION, kind, suspension): answer(way)}


# -- what is found ---------------------------------------------------------------------------------------------------


def test_a_pool_that_leaks_when_it_is_cancelled_is_found_and_named(explore: Explore) -> None:
    result = explore(_POOL + "\nasync def test_pool():\n    await check(Pool(1))\n")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "Deadlocks if `Pool.get` is cancelled at test_it.py:* (`await asyncio.sleep(0.01)`).",
            "stock: asyncio can do this as it is. Reproduced 5 of 5.",
            "Found in run 2 of *; 2 suspensions to cancel at, *",
        ]
    )


def test_the_failure_is_one_choice_and_its_token_repeats_it(explore: Explore) -> None:
    source = _POOL + "\nasync def test_pool():\n    await check(Pool(1))\n"
    found = re.search(r"--interleave-replay=(\S+)", explore(source).stdout.str())
    assert found is not None
    constraints = Token.decode(found[1]).constraints

    assert constraints is not None
    assert len(constraints) == 1
    again = explore(source, f"--interleave-replay={found[1]}", fresh=True)
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*replayed from the token's ordering constraints*", "Deadlocks if `Pool.get` is *"])


def test_a_pool_that_survives_is_said_to_be_tried_at_all_suspensions(explore: Explore) -> None:
    result = explore(_POOL + "\nasync def test_pool():\n    await check(FixedPool(1))\n")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*::test_pool: * runs, cancelled at each suspension (tried all 2)*"])


def test_what_a_short_budget_left_out_is_said(explore: Explore) -> None:
    result = explore(_POOL + "\nasync def test_pool():\n    await check(FixedPool(1))\n", "--interleave-runs=4")

    result.stdout.fnmatch_lines(["*::test_pool: * runs, cancelled at 1 of 2 suspensions*"])


def test_nothing_is_interrupted_in_a_plain_run(explore: Explore) -> None:
    result = explore(_POOL + "\nasync def test_pool():\n    await check(Pool(1))\n", flag=False)

    result.assert_outcomes(passed=1)


def test_a_lost_result_is_found() -> None:
    async def hand_over() -> None:
        free = [1]

        async def take() -> int:
            handed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(1, lambda: handed.done() or handed.set_result(free.pop()))
            return await handed

        outcome = await interrupt(take())
        assert outcome.done or free == [1]

    found = explore(hand_over, seed=1).failures[0]

    assert found.constraints == at(1, WOKEN)
    assert "(`await handed`), just after that completed" in found.text


def test_a_second_cancellation_during_clean_up_is_found() -> None:
    async def clean_up() -> None:
        closed: list[str] = []

        async def work() -> None:
            try:
                await asyncio.sleep(1)
            finally:
                await asyncio.sleep(0.1)
                closed.append("closed")

        await interrupt(work())
        assert closed == ["closed"]

    found = explore(clean_up, seed=1).failures[0]

    assert found.constraints is not None
    assert found.constraints == at(2) or found.constraints == {**at(1), **at(1, kind="again")}


def test_two_cancellations_read_as_such() -> None:
    async def clean_up() -> None:
        closed: list[str] = []

        async def work() -> None:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                await asyncio.sleep(0.1)
                closed.append("closed")
                raise
            closed.append("closed")

        await interrupt(work())
        assert closed == ["closed"]

    found = explore(clean_up, seed=1).failures[0]

    assert found.constraints == {**at(1), **at(1, kind="again")}
    assert "is cancelled at test_interrupt.py:" in found.text
    assert "is cancelled again at test_interrupt.py:" in found.text.replace("\n", " ")


#: redis-py before 4.5.4 in 30 lines: a cancelled command left its reply in the pooled connection.
_REPLIES = """
from pytest_interleave import interrupt

async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
    try:
        while key := await reader.readline():
            writer.write(b'data of ' + key)
    finally:
        writer.close()

class Client:
    def __init__(self, port: int):
        self.port = port
        self.free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def get(self, key: str):
        reader, writer = self.free.pop() if self.free else await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"{key}\\n".encode())
            return (await reader.readline()).decode().strip()
        finally:
            self.free.append((reader, writer))

async def test_each_user_gets_their_own():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = Client(server.sockets[0].getsockname()[1])
    client.free.append(await asyncio.open_connection("127.0.0.1", client.port))
    await interrupt(client.get("alice"))
    got = await client.get("bob")
    for _, writer in client.free:
        writer.close()
        await writer.wait_closed()
    server.close()
    await server.wait_closed()
    assert got == "data of bob"
"""


def test_a_reply_that_goes_to_the_next_user_is_found_over_a_socket(explore: Explore) -> None:
    result = explore(_REPLIES, fresh=True)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["Fails if `Client.get` is cancelled at test_it.py:* (`await reader.readline()`).", "stock: *"]
    )


# -- what it means ---------------------------------------------------------------------------------------------------


def test_the_outcome_says_where_it_was_cancelled() -> None:
    seen: list[Outcome[str]] = []

    async def work() -> str:
        await asyncio.sleep(1)
        return "done"

    async def program() -> None:
        seen.append(await interrupt(work()))

    run(program, {})
    run(program, at(1))

    assert seen[0] == Outcome("done")
    assert seen[0].done
    assert seen[1].cancelled
    assert not seen[1].done
    assert re.fullmatch(r"test_interrupt\.py:\d+", seen[1].place)


def test_an_exception_goes_through() -> None:
    async def work() -> None:
        await asyncio.sleep(1)
        raise LookupError("gone")

    async def program() -> None:
        with pytest.raises(LookupError, match="gone"):
            await interrupt(work())

    assert run(program, {}) is None


def test_the_callers_own_cancellation_is_not_taken_for_ours() -> None:
    async def program() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await interrupt(asyncio.sleep(2))

    assert run(program, {}) is None


def test_an_operation_that_was_cancelled_by_others_raises_as_await_does() -> None:
    async def program() -> None:
        async def work() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(1)

        with pytest.raises(asyncio.CancelledError):
            await interrupt(work())

    assert run(program, {}) is None


def test_context_variables_are_seen_on_both_sides() -> None:
    user: ContextVar[str] = ContextVar("user")

    async def program() -> None:
        async def work() -> None:
            assert user.get() == "alice"
            user.set("bob")
            await asyncio.sleep(1)

        user.set("alice")
        await interrupt(work())
        assert user.get() == "bob"

    assert run(program, {}) is None
    assert run(program, at(1)) is None


def test_a_swallowed_cancellation_shows_in_the_outcome() -> None:
    async def program() -> None:
        async def work() -> str:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                pass
            return "went on"

        outcome = await interrupt(work())
        assert outcome.done
        assert outcome.result == "went on"
        assert outcome.place

    assert run(program, at(1)) is None


def test_children_are_interrupted_where_they_stand() -> None:
    places: list[str] = []

    async def child() -> None:
        await asyncio.sleep(1)
        await asyncio.sleep(1)

    async def program() -> None:
        async def work() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                group.create_task(child())

        outcome = await interrupt(work())
        places.append(outcome.place)

    for suspension in (1, 2):
        assert run(program, {((1, 1, 1), "cancel", suspension): answer(WAITING)}) is None

    first = child.__code__.co_firstlineno
    assert places == [f"test_interrupt.py:{first + 1}", f"test_interrupt.py:{first + 2}"]


# -- to the letter ---------------------------------------------------------------------------------------------------


async def _shield(note: Callable[[object], None]) -> None:
    inner = asyncio.ensure_future(asyncio.sleep(0.01, "inner"))
    try:
        await asyncio.shield(inner)
    except asyncio.CancelledError:
        note(("cancelled", inner.cancelled()))
        note(await inner)
        raise


async def _group(note: Callable[[object], None]) -> None:
    async def member(name: str) -> None:
        try:
            await asyncio.sleep(0.01)
        finally:
            note(name)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(member("a"))  # asyncio cancels several in the order of a set
    finally:
        task = asyncio.current_task()
        note(task.cancelling() if task else None)


async def _timeout(note: Callable[[object], None]) -> None:
    try:
        async with asyncio.timeout(5):
            await asyncio.sleep(0.01)
    except TimeoutError:
        note("timeout")
    except asyncio.CancelledError:
        note("cancelled")
        raise


async def _uncancel(note: Callable[[object], None]) -> None:
    task = asyncio.current_task()
    assert task is not None
    try:
        await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        note((task.cancelling(), task.uncancel()))
    async with asyncio.timeout(5):
        await asyncio.sleep(0.01)
    note("went on")


async def _wait_for(note: Callable[[object], None]) -> None:
    async def inner() -> None:
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            note("inner cancelled")
            raise

    await asyncio.wait_for(inner(), 5)
    note("came")


async def _gather(note: Callable[[object], None]) -> None:
    async def inner(name: str) -> None:
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            note(name)
            await asyncio.sleep(0)
            raise

    await asyncio.gather(inner("a"), inner("b"))
    note("came")


async def _scopes(note: Callable[[object], None]) -> None:
    with anyio.move_on_after(5) as scope:
        try:
            await anyio.sleep(0.01)
        except asyncio.CancelledError:
            note("cancelled")
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
                note("cleaned up")
            raise
    note(scope.cancelled_caught)


async def _yields(note: Callable[[object], None]) -> None:
    try:
        await asyncio.sleep(0)
        note("went on")
        await asyncio.sleep(0)
    finally:
        await asyncio.sleep(0)
        note("end")


_PROGRAMS = [_shield, _group, _timeout, _uncancel, _wait_for, _gather, _scopes, _yields]


@types.coroutine
def _count(operation: Awaitable[Any], hear: Callable[[], None]) -> Any:
    """Await the operation and say at each of its suspensions that it suspends."""
    steps = operation.__await__()
    value, error = None, None
    while True:
        try:
            awaited = steps.send(value) if error is None else steps.throw(error)
        except StopIteration as end:
            return end.value
        hear()
        value, error = None, None
        try:
            value = yield awaited
        except BaseException as raised:
            error = raised


@pytest.mark.parametrize("suspensions", [(1,), (2,), (1, 2)])
@pytest.mark.parametrize("program", _PROGRAMS)
def test_it_is_cancelled_just_as_by_a_callback_on_asyncio(
    program: Callable[[Callable[[object], None]], Coroutine[Any, Any, None]], suspensions: tuple[int, ...]
) -> None:
    plain: list[object] = []
    ours: list[object] = []

    async def on_asyncio() -> None:
        heard = 0

        async def operation() -> None:
            await _count(program(plain.append), hear)

        def hear() -> None:
            nonlocal heard
            heard += 1
            if heard > 1 and heard in suspensions:
                asyncio.get_running_loop().call_soon(task.cancel)

        task = asyncio.create_task(operation())
        if 1 in suspensions:
            asyncio.get_running_loop().call_soon(task.cancel)  # right behind the first step, before any child's
        await asyncio.wait([task])
        plain.append(("cancelled", task.cancelled(), task.cancelling()))

    async def under_interrupt() -> None:
        outcome = await interrupt(program(ours.append))
        ours.append(outcome.cancelled)

    asyncio.run(on_asyncio())
    constraints = at(suspensions[0])
    if len(suspensions) == 2:
        constraints |= at(1, kind="again")
    error = run(under_interrupt, constraints)

    assert error is None
    *said, end = plain
    assert isinstance(end, tuple)
    assert ours == [*said, end[1]]
