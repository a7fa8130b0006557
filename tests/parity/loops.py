"""Run one program on asyncio's own loop and on the controlled one, and compare what came of it."""

import asyncio
import functools
import inspect

from pytest_interleave.exploration.execution import Limits
from pytest_interleave.loop.controlled import ControlledLoop
from pytest_interleave.schedule import Fifo


def on_asyncio(program):
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(program())


def on_controlled(program, decider=None, limits=None):
    """Run it and clean up as the explorer does."""
    loop = ControlledLoop()
    try:
        loop.begin(decider, script=program.__code__, stretch=True, limits=limits or Limits())
        try:
            return loop.run_until_complete(program())
        finally:
            loop.clear(10_000)
    finally:
        loop.finish()


def parity(program):
    """Make a test of an async function: it must return the same on both loops, also when asked for each choice."""

    @functools.wraps(program)
    def test(**fixtures):
        bound = functools.partial(program, **fixtures)
        bound.__code__ = program.__code__
        expected = on_asyncio(bound)

        assert on_controlled(bound) == expected
        assert on_controlled(bound, Fifo()) == expected

    test.__signature__ = inspect.signature(program)
    del test.__wrapped__
    return test
