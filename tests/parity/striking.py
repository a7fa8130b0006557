"""asyncio's own loop with a clock that jumps, and an explicit ``cancel()`` at one suspension, counted as they come.

asyncio tells nobody that a step is over. So each coroutine is driven by hand, and whoever is to be cancelled is so
in the very step that is about to suspend: the task then cancels what it waits for as soon as it does, which is what a
``cancel()`` right behind that step comes to.
"""

from __future__ import annotations

import asyncio
import selectors
from types import coroutine

WAITING, WOKEN = 1, 2


class JumpingLoop(asyncio.SelectorEventLoop):
    """Waits for nothing: its clock jumps to the next deadline."""

    def __init__(self):
        self.now = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self):
        return self.now


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop):
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        assert timeout is not None, "deadlock"
        self._loop.now += max(timeout, 0)
        return super().select(0)


class Striker:
    """Cancels at a suspension, and perhaps once more at a later one.

    ``strikes``: pairs of a number, counted from 0, and a way. The first counts all suspensions; the second those after
    the first strike, from when the task that it struck has gone on. ``has_target``: ``target`` is cancelled; else
    whoever suspends.
    """

    def __init__(self, strikes, *, has_target):
        self.strikes = list(strikes)
        self.has_target = has_target
        self.target = None
        #: In how many ways each suspension could be struck.
        self.ways = []
        self._count = 0
        self._armed = None
        self._struck = None
        self._most = 2 if has_target else 1
        self._done = 0

    async def drive(self, coro):
        """Do what ``coro`` does."""
        return await _drive(self, coro)

    def resumed(self, task):
        """Hear that the task goes on."""
        if task is self._struck:
            self._struck = None
        if self._armed is not None and self._armed[0] is task:
            self._armed = None

    def suspending(self, task, future):
        """Hear that the task is about to wait for that future; None: it gives way."""
        target = self.target if self.has_target else task
        if self._armed is not None and self._armed[1].cancelled():
            self._armed = None
        if target is None or target.done() or self._done == self._most or self._armed or self._struck:
            return
        ways = WAITING if future is None else WOKEN
        if not self._done:
            self.ways.append(ways)
        number, self._count = self._count, self._count + 1
        if not self.strikes or self.strikes[0][0] != number:
            return
        way = self.strikes[0][1]
        if way > ways:
            return
        del self.strikes[0]
        self._count = 0
        if way == WAITING:
            self._strike(task, target)
        else:
            self._armed = task, future
            future.add_done_callback(lambda future: self._woken(task, target, future))

    def _woken(self, task, target, future):
        if self._armed != (task, future):
            return
        self._armed = None
        if not future.cancelled() and not target.done():
            self._strike(task, target)

    def _strike(self, task, target):
        self._done += 1
        self._struck = task
        target.cancel()


@coroutine
def _drive(striker, coro):
    value, error = None, None
    while True:
        task = asyncio.current_task()
        striker.resumed(task)
        try:
            future = coro.send(value) if error is None else coro.throw(error)
        except StopIteration as stop:
            return stop.value
        value = error = None
        striker.suspending(task, future)
        try:
            value = yield future
        except BaseException as raised:
            error = raised


def run_on_asyncio(main, striker):
    """Run ``main(striker)``; each task is driven by the striker, but the first."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        loop = runner.get_loop()

        def make(loop, coro, **options):
            if not asyncio.all_tasks(loop):
                return asyncio.Task(coro, loop=loop, **options)
            task = asyncio.Task(striker.drive(coro), loop=loop, **options)
            task.add_done_callback(lambda _: coro.close())  # it may be cancelled before it begins
            return task

        loop.set_task_factory(make)
        return runner.run(main(striker))
