"""Tasks and what waits for them: the same on asyncio's own loop and on the controlled one."""

import asyncio
import sys

import pytest

from parity.loops import parity


@parity
async def test_tasks_take_turns_in_the_order_of_their_creation():
    log = []

    async def worker(name, turns):
        for turn in range(turns):
            log.append((name, turn))
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(worker(name, turns)) for name, turns in (("a", 3), ("b", 1), ("c", 2))]
    log.append("created")
    await asyncio.wait(tasks)
    return log


@parity
async def test_gather_returns_results_in_order():
    async def value(number, turns):
        for _ in range(turns):
            await asyncio.sleep(0)
        return number

    return await asyncio.gather(value(1, 3), value(2, 0), value(3, 1))


@parity
async def test_gather_raises_the_first_error_and_leaves_the_rest_running():
    log = []

    async def fail():
        await asyncio.sleep(0)
        raise ValueError("first")

    async def slow():
        for turn in range(4):
            log.append(turn)
            await asyncio.sleep(0)

    other = asyncio.create_task(slow())
    try:
        await asyncio.gather(fail(), other)
    except ValueError as error:
        log.append(str(error))
    await other
    return log


@parity
async def test_gather_returns_exceptions_on_request():
    async def fail(error):
        raise error

    results = await asyncio.gather(
        fail(KeyError("k")), asyncio.sleep(0, "fine"), fail(OSError(5)), return_exceptions=True
    )
    return [repr(result) for result in results]


@parity
async def test_a_task_group_collects_the_errors_of_its_tasks_and_cancels_the_others():
    log = []

    async def fail(turns, error):
        for _ in range(turns):
            await asyncio.sleep(0)
        raise error

    async def patient(name):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.append(f"{name} cancelled")
            raise

    async def fails_while_cancelled():
        try:
            await asyncio.Event().wait()
        finally:
            raise KeyError("cleanup")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(patient("first"))
            group.create_task(fail(2, ValueError("a")))
            group.create_task(fails_while_cancelled())
            group.create_task(fail(2, TypeError("b")))
            await asyncio.sleep(0)
            log.append("body left")
    except BaseExceptionGroup as errors:
        log.append(sorted(map(repr, errors.exceptions)))
    return log


@parity
async def test_a_task_group_inside_a_timeout():
    log = []

    async def patient():
        try:
            await asyncio.sleep(10)
        finally:
            log.append("cleaned up")

    try:
        async with asyncio.timeout(0.01) as scope, asyncio.TaskGroup() as group:
            group.create_task(patient())
            group.create_task(patient())
    except TimeoutError:
        log.append(("timeout", scope.expired()))
    return log, asyncio.current_task().cancelling()


@parity
async def test_nested_timeouts_expire_from_the_inside():
    log = []
    try:
        async with asyncio.timeout(60) as outer:
            try:
                async with asyncio.timeout(0.01) as inner:
                    await asyncio.sleep(10)
            except TimeoutError:
                log.append(("inner", inner.expired(), outer.expired()))
            outer.reschedule(asyncio.get_running_loop().time())
            await asyncio.sleep(10)
    except TimeoutError:
        log.append(("outer", outer.expired()))
    return log


@parity
async def test_a_timeout_can_be_moved():
    async with asyncio.timeout(0.001) as scope:
        scope.reschedule(None)
        await asyncio.sleep(0.005)
    return scope.expired()


@pytest.mark.parametrize("seconds", [0, -1, 0.001])
def test_wait_for_that_expires(seconds):
    @parity
    async def program():
        log = []

        async def stubborn():
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                log.append("cancelled")
                await asyncio.sleep(0)
                log.append("cleaned up")
                raise

        try:
            await asyncio.wait_for(stubborn(), seconds)
        except TimeoutError as error:
            log.append(repr(error))
        return log

    program()


@parity
async def test_wait_for_hands_on_results_errors_and_cancellation():
    async def fail():
        raise LookupError("gone")

    log = [await asyncio.wait_for(asyncio.sleep(0, "value"), 5)]
    try:
        await asyncio.wait_for(fail(), 5)
    except LookupError as error:
        log.append(repr(error))
    task = asyncio.create_task(asyncio.wait_for(asyncio.Event().wait(), 5))
    await asyncio.sleep(0)
    task.cancel("why")
    try:
        await task
    except asyncio.CancelledError as error:
        log.append(error.args)
    return log


@parity
async def test_wait_reports_what_is_done_and_what_is_not():
    async def after(turns, error=None):
        for _ in range(turns):
            await asyncio.sleep(0)
        if error:
            raise error
        return turns

    def names(tasks):
        return sorted(task.get_name() for task in tasks)

    log = []
    tasks = [
        asyncio.create_task(after(1), name="one"),
        asyncio.create_task(after(5, ValueError()), name="five"),
        asyncio.create_task(after(9), name="nine"),
    ]
    for condition in (asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED):
        done, pending = await asyncio.wait(tasks, return_when=condition)
        log.append((names(done), names(pending)))
    sleeper = asyncio.create_task(asyncio.sleep(10), name="sleeper")
    done, pending = await asyncio.wait([sleeper], timeout=0.01)
    log.append((names(done), names(pending)))
    sleeper.cancel()
    return log, repr(tasks[1].exception())


@parity
async def test_as_completed_yields_in_the_order_of_completion():
    async def after(turns):
        for _ in range(turns):
            await asyncio.sleep(0)
        return turns

    return [await next_done for next_done in asyncio.as_completed([after(5), after(1), after(3)])]


@parity
async def test_a_shielded_task_goes_on():
    log = []

    async def inner():
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        log.append("inner ended")
        return 7

    inside = asyncio.create_task(inner())

    async def outer():
        await asyncio.shield(inside)

    outside = asyncio.create_task(outer())
    await asyncio.sleep(0)
    outside.cancel()
    try:
        await outside
    except asyncio.CancelledError:
        log.append("outer cancelled")
    return log, await inside


@parity
async def test_cancellation_is_counted_and_taken_back():
    log = []

    async def stubborn():
        task = asyncio.current_task()
        for _ in range(2):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as error:
                log.append((error.args, task.cancelling(), task.uncancel()))
        return "survived"

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    log.append(task.cancel("one"))
    log.append(task.cancel("two"))
    await asyncio.sleep(0)
    log.append(task.cancel("three"))
    await asyncio.sleep(0)
    return log, await task, task.cancel()


@parity
async def test_a_task_that_is_cancelled_before_it_starts_never_runs():
    log = []

    async def never():
        log.append("ran")

    task = asyncio.create_task(never())
    task.cancel()
    result = await asyncio.gather(task, return_exceptions=True)
    return log, repr(result), task.cancelled()


@parity
async def test_cancel_meets_the_result_in_the_same_turn():
    future = asyncio.get_running_loop().create_future()
    log = []

    async def waiter():
        try:
            log.append(await future)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    task = asyncio.create_task(waiter())
    await asyncio.sleep(0)
    future.set_result("result")
    task.cancel()
    await asyncio.wait([task])
    return log, task.cancelled()


@parity
async def test_done_callbacks_run_in_order_and_after_the_task():
    log = []

    async def work():
        log.append("work")

    task = asyncio.create_task(work())
    task.add_done_callback(lambda _: log.append("first"))
    task.add_done_callback(lambda _: log.append("second"))
    await task
    log.append("awaited")
    await asyncio.sleep(0)
    return log


@parity
async def test_names_and_current_tasks():
    async def name():
        return asyncio.current_task().get_name()

    return [
        await asyncio.create_task(name(), name="given"),
        sorted(task.get_name() == "given" for task in asyncio.all_tasks()),
        await asyncio.gather(*(asyncio.create_task(name(), name=str(number)) for number in range(3))),
    ]


if sys.version_info >= (3, 12):

    @parity
    async def test_eager_tasks_start_at_once():
        log = []

        async def work(name, turns):
            for turn in range(turns):
                log.append((name, turn, asyncio.current_task().get_name()))
                await asyncio.sleep(0)
            return name

        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        at_once = asyncio.create_task(work("none", 0), name="n")
        later = asyncio.create_task(work("two", 2), name="t")
        log.append((at_once.done(), later.done()))
        return await asyncio.gather(at_once, later, work("three", 3)), [entry[:2] for entry in log]


@parity
async def test_a_task_factory_of_the_users_own_is_used():
    class Mine(asyncio.Task):
        pass

    def factory(loop, coro, **options):
        return Mine(coro, loop=loop, **options)

    asyncio.get_running_loop().set_task_factory(factory)
    task = asyncio.create_task(asyncio.sleep(0, "slept"))
    return type(task).__name__, await task
