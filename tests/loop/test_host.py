from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from pytest_interleave.loop._plain import SpareLoop
from pytest_interleave.loop.host import Crash, Expired, Host, Interrupts, NestedLoopError, Requested

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR")


def spare_host() -> Host:
    return Host(SpareLoop())


@pytest.fixture(params=[lambda: Host(asyncio.new_event_loop()), spare_host], ids=["", "spare"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    host = request.param()
    yield host
    host.close()


async def current_task() -> asyncio.Task[object] | None:
    await asyncio.sleep(0)
    return asyncio.current_task()


async def sleep_long() -> None:
    await asyncio.sleep(60)


async def crash_soon() -> None:
    await asyncio.sleep(0)
    raise LookupError("upstream is gone")


async def service() -> AsyncIterator[str]:
    async with asyncio.TaskGroup() as group:
        group.create_task(crash_soon())
        yield "service"


def test_all_jobs_run_in_one_task(host: Host) -> None:
    first = host.run(current_task())
    second = host.run(current_task(), contextvars.copy_context())

    assert first is second is host.task


def test_a_job_returns_its_value_or_raises_its_own_exception(host: Host) -> None:
    async def fail() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        host.run(fail())

    assert host.run(asyncio.sleep(0, "fine")) == "fine"


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), StopAsyncIteration(), GeneratorExit("its own")],
)
def test_a_job_may_end_with_any_exception(host: Host, error: BaseException) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(type(error)):
        host.run(fail())

    assert host.run(asyncio.sleep(0, "still usable")) == "still usable"


def test_a_crash_in_a_task_group_held_across_jobs_cancels_the_job_that_runs(host: Host) -> None:
    generator = service()
    host.run(anext(generator))

    with pytest.raises(asyncio.CancelledError):
        host.run(sleep_long(), may_be_cancelled=True)
    (reason,) = host.cancellations
    with pytest.raises(ExceptionGroup) as caught:
        host.run(anext(generator))

    assert isinstance(reason, Crash)
    assert caught.value.exceptions == (reason.error,)
    assert host.task is not None
    assert host.task.cancelling() == 0


def test_a_timeout_held_across_jobs_cancels_the_job_that_runs(host: Host) -> None:
    async def fixture() -> AsyncIterator[None]:
        async with asyncio.timeout(0.01):
            yield

    generator = fixture()
    host.run(anext(generator))

    with pytest.raises(asyncio.CancelledError):
        host.run(sleep_long(), may_be_cancelled=True)

    assert isinstance(host.cancellations[0], Expired)
    with pytest.raises((TimeoutError, StopAsyncIteration)):
        host.run(anext(generator))


def test_a_cancellation_between_jobs_strikes_the_next_job_that_may_be_cancelled(host: Host) -> None:
    async def cancel_when_this_job_has_ended() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel, "late")

    host.run(cancel_when_this_job_has_ended())
    torn_down = host.run(asyncio.sleep(0, "torn down"))
    with pytest.raises(asyncio.CancelledError):
        host.run(asyncio.sleep(0, "never"), may_be_cancelled=True)

    assert torn_down == "torn down"
    assert host.cancellations == [Requested("late")]
    host.forget_cancellations()
    assert host.run(asyncio.sleep(0, "fine"), may_be_cancelled=True) == "fine"


def test_a_job_that_cancels_itself_and_returns_is_cancelled(host: Host) -> None:
    async def cancel_self() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    with pytest.raises(asyncio.CancelledError):
        host.run(cancel_self())

    assert host.run(asyncio.sleep(0, "fine")) == "fine"


def test_a_job_steps_in_the_context_that_it_brings(host: Host) -> None:
    context = contextvars.copy_context()

    async def set_after_a_pause(value: str) -> str:
        await asyncio.sleep(0)
        VAR.set(value)
        return VAR.get()

    host.run(set_after_a_pause("inner"), context)

    assert context[VAR] == "inner"
    assert VAR not in host.context
    assert VAR.get("unset") == "unset"


def test_stop_in_a_job_is_an_error_and_the_host_goes_on(host: Host) -> None:
    cleaned_up = []

    async def stop() -> None:
        asyncio.get_running_loop().stop()
        try:
            await asyncio.sleep(60)
        finally:
            cleaned_up.append(True)

    with pytest.raises(RuntimeError, match="Event loop stopped before Future completed"):
        host.run(stop())

    assert cleaned_up == [True]
    assert host.run(asyncio.sleep(0, "fine")) == "fine"


def test_keyboard_interrupt_in_a_callback_cancels_the_job(host: Host) -> None:
    async def wait() -> None:
        asyncio.get_running_loop().call_soon(signal.default_int_handler, signal.SIGINT, None)
        await asyncio.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        host.run(wait())

    assert host.run(asyncio.sleep(0, "fine")) == "fine"


def test_a_job_inside_a_running_loop_is_refused_and_left_unawaited_by_nobody(host: Host) -> None:
    async def nest() -> None:
        with pytest.raises(NestedLoopError):
            host.run(asyncio.sleep(0))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(nest())
        gc.collect()

    assert host.run(asyncio.sleep(0, "fine")) == "fine"


def test_interrupt_is_a_cancellation_in_the_job_and_a_keyboard_interrupt_outside(host: Host) -> None:
    seen: list[str] = []
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupts = Interrupts()
    interrupts.install()

    async def wait() -> None:
        asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    try:
        with pytest.raises(KeyboardInterrupt):
            host.run(wait())
        with pytest.raises(KeyboardInterrupt):  # no job: at once
            os.kill(os.getpid(), signal.SIGINT)
        interrupts.restore()
        handler = signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, previous)

    assert seen == ["cancelled"]
    assert handler is signal.default_int_handler
    assert host.run(asyncio.sleep(0, "fine")) == "fine"


def test_close_cancels_what_is_left_and_reports_its_exceptions() -> None:
    loop = asyncio.new_event_loop()
    host = Host(loop)
    reported: list[object] = []
    loop.set_exception_handler(lambda _, context: reported.append(context.get("exception")))
    error = RuntimeError("on the way out")
    kept = []

    async def refuse() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise error

    async def leave() -> None:
        kept.append(asyncio.create_task(refuse()))
        await asyncio.sleep(0)

    host.run(leave())
    host.close()

    assert kept[0].done()
    assert reported == [error]
    assert loop.is_closed()


def test_close_shuts_async_generators_and_the_executor_down() -> None:
    host = Host(asyncio.new_event_loop())
    closed = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closed.append(True)

    generator = numbers()

    async def use() -> int:
        await asyncio.to_thread(int)
        return await anext(generator)

    value = host.run(use())
    host.close()

    assert value == 1
    assert closed == [True]


async def count_tasks() -> int:
    await asyncio.sleep(0)
    return len(asyncio.all_tasks())


@pytest.mark.filterwarnings("error")
def test_close_leaves_no_reference_cycle() -> None:
    gc.collect()
    gc.disable()
    try:
        before = len(asyncio.all_tasks(loop := asyncio.new_event_loop()))
        host = Host(loop)
        task_count = host.run(count_tasks())
        between = len(asyncio.all_tasks(loop))
        host.run(asyncio.sleep(0))
        host.close()
        left = asyncio.all_tasks(loop)
    finally:
        gc.enable()

    assert (before, task_count, between) == (0, 1, 0)
    assert not left


def test_close_leaves_no_task_even_if_somebody_holds_it() -> None:
    host = Host(asyncio.new_event_loop())
    host.run(asyncio.sleep(0))
    task = host.task

    host.close()

    assert task is not None
    assert not task.done()
    assert asyncio.all_tasks(host.loop) == set()


def test_close_of_a_loop_that_a_test_closed_is_an_error() -> None:
    loop = asyncio.new_event_loop()
    host = Host(loop)
    host.run(asyncio.sleep(0))
    loop.close()

    with pytest.raises(RuntimeError, match="Event loop is closed"):
        host.close()


def test_a_host_leaves_its_class_as_it_is() -> None:
    before = dict(vars(Host))
    seen: list[dict[str, Any]] = []

    async def job() -> None:
        asyncio.get_running_loop().call_soon(lambda: seen.append(dict(vars(Host))))  # runs as the host is closed

    host = Host(asyncio.new_event_loop())
    host.run(job(), is_last=True)
    seen.append(dict(vars(Host)))
    host.close()

    assert [*seen, dict(vars(Host))] == [before] * 3


def test_repr_shows_the_state() -> None:
    host = Host(asyncio.new_event_loop())
    texts = [repr(host)]

    async def look() -> None:
        texts.append(repr(host))

    host.run(look())
    host.close()
    texts.append(repr(host))

    assert [text.split()[1] for text in texts] == ["idle", "running", "closed"]


Say = Callable[[object], None]


async def beats(say: Say, name: str) -> None:
    for number in range(3):
        say(f"{name}{number}")
        await asyncio.sleep(0)


async def pauses_among_children(say: Say) -> None:
    children = [asyncio.create_task(beats(say, name)) for name in "ab"]
    await beats(say, "own")
    await asyncio.gather(*children)


async def waits_for_a_child(say: Say) -> None:
    future = asyncio.get_running_loop().create_future()
    other = asyncio.create_task(beats(say, "other"))
    asyncio.get_running_loop().call_soon(future.set_result, "set")
    say(await future)
    await other


async def schedules_and_pauses(say: Say) -> None:
    asyncio.get_running_loop().call_soon(say, "called")
    await asyncio.sleep(0)
    say("went on")
    asyncio.get_running_loop().call_soon(say, "called again")


async def sleeps(say: Say) -> None:
    child = asyncio.create_task(beats(say, "child"))
    await asyncio.sleep(0.05)
    say(child.done())


async def cancels_itself(say: Say) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(say, "called")
    task.cancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        say(task.cancelling())
        task.uncancel()
    await beats(say, "own")


async def cancels_itself_twice(say: Say) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    task.cancel()
    say(task.cancelling())
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        say((task.uncancel(), task.uncancel(), task.cancelling()))
    await beats(say, "own")


async def takes_its_cancellation_back(say: Say) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    say((task.cancelling(), task.uncancel(), task.cancelling()))


async def takes_its_cancellation_back_and_pauses(say: Say) -> None:
    await takes_its_cancellation_back(say)
    try:
        await asyncio.sleep(0)
        say("went on")
    except asyncio.CancelledError:
        say("cancelled")


async def is_cancelled_in_a_pause(say: Say) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(task.cancel)
    try:
        await asyncio.sleep(0)
        say("went on")
    except asyncio.CancelledError:
        say("cancelled")
        task.uncancel()


async def fails_after_a_pause(say: Say) -> None:
    try:
        async with asyncio.timeout(0):
            await asyncio.sleep(1)
    except TimeoutError:
        say("late")
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(crash_soon())
            await asyncio.sleep(1)
    except ExceptionGroup as errors:
        say(errors.exceptions)


async def says_where_it_is(say: Say) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    say((loop.is_running(), task in asyncio.all_tasks(), VAR.get("unset")))
    VAR.set("set")
    await asyncio.sleep(0)
    say((loop.is_running(), asyncio.current_task() is task, VAR.get("unset")))


@pytest.mark.parametrize("has_begun", [False, True])
@pytest.mark.parametrize(
    "job",
    [
        *(pauses_among_children, waits_for_a_child, schedules_and_pauses, sleeps, says_where_it_is),
        *(cancels_itself, is_cancelled_in_a_pause, fails_after_a_pause, cancels_itself_twice),
        *(takes_its_cancellation_back, takes_its_cancellation_back_and_pauses),
    ],
)
def test_jobs_run_in_the_order_of_asyncio(job: Callable[[Say], Awaitable[None]], has_begun: bool) -> None:
    def heard_by(run: Callable[[Any], object]) -> list[str]:
        heard: list[str] = []
        try:
            run(job(lambda what: heard.append(repr(what))))
        except asyncio.CancelledError:
            heard.append("was cancelled")
        return heard

    host = spare_host()
    if has_begun:
        host.run(asyncio.sleep(0))

    heard = heard_by(host.run)
    host.close()

    assert heard == heard_by(asyncio.run)


def test_an_error_out_of_the_loop_itself_leaves_the_host_usable() -> None:
    class Broken(RuntimeError):
        pass

    host = spare_host()
    host.run(asyncio.sleep(0))
    loop: Any = host.loop
    select, calls = loop._selector.select, []

    def fail(timeout: float | None = None) -> Any:
        calls.append(timeout)
        if len(calls) == 1:
            raise Broken
        return select(timeout)

    loop._selector.select = fail
    with pytest.raises(Broken):
        host.run(asyncio.sleep(0.01))

    assert host.run(asyncio.sleep(0, 5)) == 5
    host.close()
