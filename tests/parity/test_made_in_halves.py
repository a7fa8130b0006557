"""Objects of asyncio's that are put together in parts, for speed: nothing may be missing from them."""

from __future__ import annotations

import asyncio
import contextvars
import random
from typing import Any

from pytest_interleave.exploration import seeding
from pytest_interleave.loop.controlled import ControlledLoop


def test_a_step_has_all_that_asyncio_gives_a_handle() -> None:
    loop = ControlledLoop()
    context = contextvars.copy_context()
    own: Any = loop.call_soon(print, 1, context=context)
    theirs: Any = asyncio.Handle(print, (1,), loop, context)
    loop.close()
    names = [name for name in asyncio.Handle.__slots__ if name != "__weakref__"]

    assert "_callback" in names
    assert [getattr(own, name) for name in names] == [getattr(theirs, name) for name in names]


def test_a_step_is_traced_to_its_caller_in_debug_mode() -> None:
    loop = ControlledLoop()
    loop.set_debug(True)
    step: Any = loop.call_soon(print)
    loop.close()

    assert step._source_traceback[-1].name == "test_a_step_is_traced_to_its_caller_in_debug_mode"


def test_a_task_is_traced_to_its_caller_in_debug_mode() -> None:
    loop = ControlledLoop()
    loop.set_debug(True)

    async def main() -> str:
        task: Any = asyncio.current_task()
        return str(task._source_traceback[-1].name)

    name = loop.run_until_complete(loop.create_task(main()))
    loop.close()

    assert name == "test_a_task_is_traced_to_its_caller_in_debug_mode"


def test_to_seed_is_to_seed_with_0() -> None:
    state = random.getstate()
    try:
        random.gauss()  # keeps a second value back
        seeding.seed_random()
        drawn = [random.random() for _ in range(1000)], random.gauss(), random.getstate()
        random.seed(0)

        assert drawn == ([random.random() for _ in range(1000)], random.gauss(), random.getstate())
    finally:
        random.setstate(state)


def test_a_generator_that_is_laid_out_in_another_way_is_not_written_to() -> None:
    class Other(random.Random):
        def getstate(self) -> tuple[Any, ...]:
            version, words, gauss = super().getstate()
            return version, words[::-1], gauss

    assert seeding.find_memory(random.Random(1)) is not None
    assert seeding.find_memory(Other(1)) is None
