"""What a plain loop leaves to the next one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from pytest_interleave.loop._plain import SpareLoop

FORKING = """\
import os
import sys

from pytest_interleave.loop._plain import SpareLoop

SpareLoop().close()
kept = [each.fileno() for each in map(SpareLoop._spares[0].get, ("_selector", "_ssock", "_csock"))]
child = os.fork()
if not child:
    is_forgotten = not SpareLoop._spares
    loop = SpareLoop()
    loop.run_until_complete(loop.create_task(__import__("asyncio").sleep(0)))
    loop.close()
    os._exit(0 if is_forgotten else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
loop = SpareLoop()
assert [loop._selector.fileno(), loop._ssock.fileno(), loop._csock.fileno()] == kept
loop.call_soon_threadsafe(loop.stop)
loop.run_forever()
loop.close()
"""


@pytest.fixture(autouse=True)
def no_spares() -> Iterator[None]:
    left, SpareLoop._spares[:] = list(SpareLoop._spares), []
    yield
    SpareLoop.close_spares()
    SpareLoop._spares[:] = left


def loop_after(loop: SpareLoop) -> Any:
    loop.close()
    return SpareLoop()


async def count() -> AsyncIterator[int]:
    yield 1
    yield 2


def test_a_loop_takes_over_what_the_last_one_left() -> None:
    first: Any = SpareLoop()
    selector, generators = first._selector, first._asyncgens
    second = loop_after(first)
    assert second._selector is selector
    third = loop_after(second)
    assert third._selector is selector
    assert third._asyncgens is not generators
    containers = third._asyncgens, third._transports
    fourth = loop_after(third)
    assert (fourth._asyncgens, fourth._transports) == containers
    assert fourth._asyncgens is containers[0]
    assert third._asyncgens is not containers[0]
    assert third._selector is None
    assert fourth._internal_fds == 1
    fourth.close()


def test_a_generator_that_is_left_stays_with_its_loop() -> None:
    loop: Any = loop_after(SpareLoop())
    generator = count()
    loop.run_until_complete(anext(generator))
    after = loop_after(loop)
    assert not after._asyncgens.data
    assert not after._transports.data
    after.run_until_complete(after.shutdown_asyncgens())
    assert generator.ag_frame is not None  # type: ignore[attr-defined]
    after.close()


def test_a_loop_in_debug_mode_takes_nothing_over(monkeypatch: pytest.MonkeyPatch) -> None:
    SpareLoop().close()
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    loop: Any = SpareLoop()
    assert loop.get_debug()
    assert loop._selector is not SpareLoop._spares[0]["_selector"]
    loop.close()
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "")
    after = SpareLoop()
    assert not after.get_debug()
    after.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_child_process_leaves_the_parents_selector_alone() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", FORKING], check=True, timeout=60)
