"""What a turn leaves behind it, and that one can be asked for alone."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import pytest

from pytest_interleave.loop.controlled import ControlledLoop


@pytest.fixture
def loop() -> Iterator[ControlledLoop]:
    loop = ControlledLoop()
    yield loop
    loop.close()


def test_whoever_asks_for_one_turn_gets_one(loop: ControlledLoop) -> None:
    turns = []

    def again() -> None:
        turns.append(loop.turns)
        loop.call_soon(again)

    loop.call_soon(again)
    loop._run_once()

    assert turns == [1]


def test_what_a_step_was_given_is_not_kept_for_the_next_turn(loop: ControlledLoop) -> None:
    class Box:
        pass

    boxes = [Box()]
    box = weakref.ref(boxes[0])
    found = []

    def look() -> None:
        found.append(box())
        loop.stop()

    loop.call_soon(lambda _: loop.call_soon(look), boxes.pop())
    loop.run_forever()

    assert found == [None]


def test_a_step_that_is_cancelled_lets_go_of_what_its_callback_was_bound_to(loop: ControlledLoop) -> None:
    class Box:
        def open(self) -> None:
            raise AssertionError

    boxes = [Box()]
    box = weakref.ref(boxes[0])
    step = loop.call_soon(boxes.pop().open)
    step.cancel()

    assert box() is None
    assert step.cancelled()
