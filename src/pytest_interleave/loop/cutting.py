"""A run in which one task is cancelled at one of its suspensions, or loses its client, and what must hold all the same.

The task is any that the test's run made, or the test's own. What the test asserts does not count then, for it was cut;
what counts is what nobody may leave behind, whoever is cancelled: somebody who waits for ever, a lock that its dead
holder took, a task or a connection that nobody ends, a cancellation that was swallowed.

What is left behind without any cancellation is not counted (``Census``), nor is what the test's own function began, or
waits for by itself: it may rely on not being cut.

A task in which a server handles a request is not cancelled: its connection is dropped, and what the server makes of
that is its own affair, as in production. The test ends then, as a rule, and the handler gets the time to end too. Of
what it leaves behind, only that counts which it ended itself in the census: a slot that the next request gives back is
no leak.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from types import CodeType, FrameType
from typing import Any, TypeAlias

from pytest_interleave.errors import Blocked, CutShort, LeftBehind, RunEnded, TimeLimit
from pytest_interleave.loop import _waits
from pytest_interleave.loop.accepted import (
    AcceptedConnections,
    Connection,
    Transport,
    has_user_lines,
    key_of_place,
    key_of_task,
)
from pytest_interleave.loop.frames import frames, is_user_code, user_place
from pytest_interleave.loop.host import Host
from pytest_interleave.loop.interruption import (
    Entry,
    Strike,
    ask,
    name_of,
    note_suspension,
    perform,
    teller,
)
from pytest_interleave.loop.ownership import Ownership
from pytest_interleave.loop.places import standing
from pytest_interleave.loop.reachability import keeps
from pytest_interleave.origins import rank
from pytest_interleave.schedule import CUT, GONE, WAITING, WOKEN
from pytest_interleave.trace import Place

#: Turns of the loop in which what is left may still end.
_GRACE_TURNS = 20
#: A task that takes more steps than this after its cancellation, and then ends as if nothing had been, swallowed it.
_MOST_STEPS_AFTER = 5
#: How long a handler goes on at most that has lost its client, and what is shielded from a cancellation.
_LAST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that was left behind, so that it can be told apart from what is always left."""

    what: str
    place: str


Things: TypeAlias = Counter[Thing]


@dataclass(frozen=True, slots=True)
class Census:
    """What there is when nothing is cancelled."""

    #: What is left behind.
    things: Things
    #: Where tasks stand that wait when the test's body ends.
    waits: frozenset[str]
    #: What handlers end themselves.
    ended: frozenset[str]
    #: Tasks that are there still when the test goes on from the call that began them.
    lasting: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Mark:
    """How many there were of each kind at a moment."""

    tasks: int
    locks: int
    transports: int


class Cutting:
    """Watches one run."""

    def __init__(
        self, loop: Any, script: CodeType | None, census: Census | None, *, is_loop_of_test: bool = True
    ) -> None:
        self.loop = loop
        #: False: the loop outlives the test, and so may the connections of a pool in it.
        self.is_loop_of_test = is_loop_of_test
        #: The test function: what begins or waits in its own lines does not count.
        self.script = script
        #: None: this is the run that makes it.
        self.census = census
        self.things: Things = Counter()
        self._waits: frozenset[str] = frozenset()
        #: Whether the test's body runs; only then is anything cancelled.
        self.is_open = False
        self.strike: Strike | None = None
        self._target: Any = None
        self._is_own = False
        #: A child of a task group or of ``gather``.
        self._is_structured = False
        #: The user's frames below the test's own, where the test itself was struck.
        self._is_in_script = False
        self._steps_after = 0
        self._armed: tuple[Any, Any, Place | None, Entry] | None = None
        self._own: Any = None
        #: Whether the test says itself which task is its own; else it is that of its host.
        self._is_told = False
        self._ownership = Ownership()
        self._ownership.on_acquire = self._note_lock
        self._accepted = AcceptedConnections(loop, self._find_position)
        #: Where the test itself was when a task was made, by number, and a lock was taken, by ``id``; None: elsewhere.
        self._task_positions: dict[int, int | None] = {}
        self._lock_positions: dict[int, int | None] = {}
        #: Tasks that were to live on when one was cancelled, as those of a cache do that loads for several callers.
        self._shielded: list[Any] = []
        #: Keys of tasks that outlived the call that began them; numbers of those that the test could end itself.
        self._lasting: set[str] = set()
        self._in_hand: frozenset[int] = frozenset()
        #: What the test had in its variables when something was cancelled: a pool, whose connections it would close.
        self._owners: list[Any] = []
        #: What the cancelled task waited for by a ``wait_for`` that may swallow that, and whose file called it.
        self._waited_for: tuple[Any, str] | None = None
        #: The connection that was dropped.
        self._gone: Connection | None = None
        #: The handler that lost its client did not end.
        self._goes_on = False
        #: How far everything was when the test went on to the call that it is in, and before the current step.
        self._mark = _Mark(0, 0, 0)
        self._before = 0, 0, 0
        self._position = -1

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch, and cancel as the loop's decider says, while the context lasts."""
        loop = self.loop
        loop.interruptions.append(self)
        loop.after_step = teller(loop)
        loop.cutting = self
        with ExitStack() as stack:
            stack.enter_context(self._ownership.watched(with_signals=False))
            stack.enter_context(self._accepted.watched())
            try:
                yield
            finally:
                loop.cutting = None
                if self in loop.interruptions:
                    loop.interruptions.remove(self)
                    loop.after_step = teller(loop)

    @contextmanager
    def ending_softly(self) -> Iterator[None]:
        """Run the test's body in the current task, which is to survive it: no cancellation of ours leaves the body."""
        self._own, self._is_told = asyncio.current_task(), True
        try:
            yield
        except asyncio.CancelledError:
            if self.strike is None:
                raise
            raise CutShort from None
        finally:
            if self._is_own:
                self._own.uncancel()

    # -- cancelling ----------------------------------------------------------------------------------------------

    def after_step(self, owner: Any) -> None:
        """Hear whose step it was; perhaps cancel it, or let its client go."""
        accepted = self._accepted
        is_task = isinstance(owner, asyncio.Task)
        if not (is_task or self._armed or accepted.are_there):
            return  # most steps: this is what such a run costs
        served = accepted.follow(owner) if accepted.are_there else None
        if self.strike is not None:
            self._steps_after += owner is self._target
            return
        if is_task:
            self._follow(owner)
            self._before = len(self.loop.parents) - 1, self._ownership.count, len(accepted.transports)
        if not self.is_open or self.loop.decider is None:
            return
        if self._armed is not None:
            waiter, future, place, entry = self._armed
            if owner is waiter or future.cancelled():
                self._armed = None
            elif future.done():
                self._armed = None
                self._cut(waiter, place, entry, WOKEN)
            return
        if served is not None:
            self._ask_for_client(*served)
        elif is_task:
            self._ask(owner)

    def _ask(self, owner: Any) -> None:
        """Perhaps cancel the task, if it waits now."""
        if owner.done() or (owner is not self._own and not self.loop.is_of_this_run(owner)):
            return
        future = _waits.awaited_future(owner)
        entry = note_suspension(self.loop, owner, CUT)
        if not has_user_lines(owner):
            return
        way = ask(self.loop, entry, future)
        if way == WAITING:
            self._cut(owner, standing(owner), entry, way)
        elif way == WOKEN:
            self._armed = owner, future, standing(owner), entry

    def _ask_for_client(self, connection: Connection, task: Any) -> None:
        """Perhaps drop the connection for which the task works."""
        if connection.number <= self.loop.first_number or connection.transport.is_closing():
            return
        entry = note_suspension(self.loop, connection, GONE)
        if ask(self.loop, entry, None) != WAITING:
            return
        self._gone, self._target = connection, task
        self.strike = Strike(f"the client of `{_name_of_handler(task)}` goes away", standing(task), is_late=False)
        perform(self.loop, self.strike, entry, connection.transport.abort)

    def note_task(self, number: int) -> None:
        """Hear of a task that is made now."""
        self._task_positions[number] = self._find_position()

    def _note_lock(self, lock: Any) -> None:
        self._lock_positions[id(lock)] = self._find_position()

    def _find_position(self) -> int | None:
        """Return at which instruction the test function stands, if it is what runs now."""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and frame.f_code.co_name != "_run_once":
            if frame.f_code is self.script:
                return frame.f_lasti
            frame = frame.f_back
        return None

    def _is_of_call(self, position: int | None, maker: int) -> bool:
        """Whether what was made there, or by that task, was made in the call that was cut.

        One step of the test may make several calls, of which only the last waits.
        """
        if self.script is None:
            return True
        own = self._own.number
        while position is None and maker > own:
            position = self._task_positions.get(maker)
            maker = self.loop.parents[maker]
        return position is not None and _span(self.script, position) == _span(self.script, self._position)

    def _follow(self, owner: Any) -> None:
        """Notice when the test's own function has gone on to another call."""
        if self.is_open and Host.running and not self._is_told:
            self._own = Host.running[-1].task
        if owner is self._own and not owner.done():
            position = self._position
            for frame, _ in frames(owner):
                if frame.f_code is self.script:
                    position = frame.f_lasti
            if position != self._position:
                if self.census is None:
                    self._lasting.update(key_of_task(task) for task in self._begun())
                self._position = position
                self._mark = _Mark(*self._before)

    def _begun(self) -> list[Any]:
        """Return the tasks that are there and were made since the test went on to the call that it is in."""
        own = self._own
        return [
            task
            for task in asyncio.all_tasks(self.loop)
            if task is not own and self.loop.is_of_this_run(task) and getattr(task, "number", 0) > self._mark.tasks
        ]

    def _find_in_hand(self) -> frozenset[int]:
        """Return the numbers of tasks that what the test had before the call keeps, and outlive it as a rule.

        A pool that was opened halfway, or a client that began to listen, is closed by whoever has it.
        """
        census = self.census
        begun = [task for task in self._begun() if census is not None and key_of_task(task) in census.lasting]
        if not begun:
            return frozenset()
        return frozenset(task.number for task in keeps(self._own_values(), begun))

    def _own_values(self) -> list[Any]:
        """Return what the test function has in its variables."""
        mine = [frame.f_locals.values() for frame, _ in frames(self._own) if frame.f_code is self.script]
        return [value for values in mine for value in values]

    def _cut(self, task: Any, place: Place | None, entry: Entry, way: int) -> None:
        self._is_own = task is self._own
        self._is_structured = _waits.is_structured(task)
        self._is_in_script = self._stands_in_script(task)
        subject = "the test" if self._is_own else f"task '{task.get_name()}' ({_name_of(task)})"
        self.strike = Strike(f"{subject} is cancelled", place, way == WOKEN)
        self._target = task
        for other in asyncio.all_tasks(self.loop):
            self._shielded += _waits.shielded(_waits.awaited_future(other))
        if self._is_own:
            self._in_hand = self._find_in_hand()
        if self._own is not None and not self._own.done():
            self._owners = self._own_values()
        self._waited_for = _waits.waited_for(task)
        perform(self.loop, self.strike, entry, task.cancel)

    def _stands_in_script(self, task: Any) -> bool:
        """Whether the innermost of the user's lines at which the task stands is the test function's own."""
        innermost = None
        for frame, _ in frames(task):
            if is_user_code(frame.f_code.co_filename):
                innermost = frame.f_code
        return innermost is not None and self._is_script(innermost.co_filename, innermost.co_firstlineno)

    def _is_script(self, path: str, line: int) -> bool:
        code = self.script
        if code is None or path != code.co_filename:
            return False
        return code.co_firstlineno <= line <= _last_line(code)

    # -- judging -------------------------------------------------------------------------------------------------

    def stuck_places(self) -> tuple[str, ...]:
        """Return where those stand who wait for ever for what others owe them."""
        waits = {task: _waits.waiting(task) for task in asyncio.all_tasks(self.loop)}
        joined = {id(other) for _, _, others in waits.values() for other in others}
        stuck = [task for task, (what, _, _) in waits.items() if not self._is_idle(task, what, id(task) in joined)]
        return tuple(sorted(filter(None, map(user_place, stuck))))

    def _is_idle(self, task: Any, what: str, is_joined: bool) -> bool:
        """Whether the task waits for its next work, and nobody for the task.

        The test may be what would have given it work, and wait itself for what was cut: of a client that goes away,
        what it had sent may be lost.
        """
        if task is self._own:
            return self._gone is not None
        path = user_place(task).rpartition(":")[0]
        if what == "Queue.get":
            return not is_joined
        if what == "sleep" and rank(path) != 2:
            return True  # the heart of a library
        if self._accepted.connection_of(task) is not None:
            return what == "data" or _waits_in_library(task)  # for its own client, which the test may have in hand
        return self._gone is not None and self.script is not None and path == self.script.co_filename

    def end_body(self, error: BaseException | None) -> None:
        """Hear that the test's body has ended; let a handler end that has lost its client, and what is shielded."""
        loop = self.loop
        if self.census is None:
            self._waits = frozenset(loop.blocked_places())
        if not (self._gone or self._shielded) or isinstance(error, RunEnded):
            return
        lasting = self._shielded if self._gone is None else self._gone.workers
        tasks = [task for task in lasting if not task.done()]
        if tasks and not loop.is_closed():
            observer, loop.observer = loop.observer, None
            try:
                loop.run_until_complete(asyncio.wait(tasks, timeout=_LAST_SECONDS))
            except RunEnded:
                pass
            finally:
                loop.observer = observer
        self._goes_on = self._gone is not None and not self._gone.is_over

    def look_at_what_is_left(self) -> None:
        """Count what the run leaves, before the loop is cleared; called once its fixtures are torn down."""
        loop = self.loop
        loop.cutting = None
        if not self._may_leave():
            return
        loop.relax()
        observer, loop.observer = loop.observer, None  # what comes now is no part of the test
        try:
            loop.run_until_complete(self._let_end())
        except RunEnded:
            return
        finally:
            loop.observer = observer
        for task in asyncio.all_tasks(loop):
            if task is not self._own and self._is_left(task):
                self._note_task(task)
        is_open = [
            made
            for index, made in enumerate(self._accepted.transports if self.is_loop_of_test else ())
            if made.place is not None
            and not made.transport.is_closing()
            and self._counts(made, is_new=index >= self._mark.transports)
        ]
        kept = keeps(self._owners, [made.transport for made in is_open if made.connection is None])
        self._owners.clear()
        for made in is_open:
            if made.place is not None and made.transport not in kept:
                self._note("a connection is still open, made", made.place.file, made.place.line)
        for lock, holders in self._ownership.held():
            for holder, place in holders:
                is_dead = holder is None or holder.done() or holder is self._own
                if place is not None and is_dead and self._counts_lock(lock, holder, place):
                    self._note(f"a {type(lock).__name__} is still held, taken", place.file, place.line)

    def _may_leave(self, own: Any = None) -> bool:
        """Whether there is anything that could be left; most runs leave nothing, and need no turn to see it."""
        return (
            self._ownership.has_held()
            or any(not made.transport.is_closing() for made in self._accepted.transports)
            or any(task is not self._own for task in asyncio.all_tasks(self.loop) - {own})
        )

    async def _let_end(self) -> None:
        own = asyncio.current_task()
        for _ in range(_GRACE_TURNS):
            await asyncio.sleep(0)
            is_at_rest = not (self._accepted.transports or _waits.queue(self.loop))
            if is_at_rest or not self._may_leave(own):
                break

    def take_census(self) -> Census:
        """Return what there was in a run in which nothing was cancelled."""
        ended = self._accepted.ended_by_maker - self._accepted.left_to_others
        released = self._ownership.released_by_holder - self._ownership.released_by_others
        ended |= {key_of_place(place) for place in released}
        return Census(self.things, self._waits, frozenset(ended), frozenset(self._lasting))

    def _is_left(self, task: Any) -> bool:
        connection = self._accepted.connection_of(task)
        if connection is None:
            number = getattr(task, "number", 0)
            is_of_run = self.loop.is_of_this_run(task)
            is_new = number > self._mark.tasks and not self._is_in_hand(number)
            return is_of_run and self._gone is None and self._counts_number(number, is_new, None)
        if connection.workers[task] is None:
            return False  # the server's own
        if self.census is None:
            return True
        return connection is self._gone and key_of_task(task) in self.census.ended

    def _is_in_hand(self, number: int) -> bool:
        """Whether the test could end that task, or the one for which it was made."""
        while self._in_hand and number > self._mark.tasks:
            if number in self._in_hand:
                return True
            number = self.loop.parents[number]
        return False

    def _counts(self, made: Transport, is_new: bool) -> bool:
        if made.connection is not None:
            return self._counts_served(made.connection, key_of_place(made.place))
        return self._gone is None and self._counts_number(made.creator, is_new, made.position)

    def _counts_lock(self, lock: Any, holder: Any, place: Place) -> bool:
        connection = self._accepted.connection_of(holder)
        if connection is not None:
            return self._counts_served(connection, key_of_place(place))
        is_new = self._ownership.has_come_since(lock, self._mark.locks)
        position = self._lock_positions.get(id(lock))
        return self._gone is None and self._counts_number(getattr(holder, "number", 0), is_new, position)

    def _counts_served(self, connection: Connection, key: str) -> bool:
        """Whether what a handler for that connection began is the business of whoever went away."""
        return self.census is None or (connection is self._gone and key in self.census.ended)

    def _counts_number(self, number: int, is_new: bool, position: int | None) -> bool:
        """Whether what that task began is the business of what was cancelled.

        Of the test: what was begun in the very call that was cut. What came before it, the test might have ended
        itself if it had not been cut. Of a task: what it and its children began.
        """
        if self.census is None:
            return True
        if self._is_own:
            return is_new and self._is_of_call(position, number)
        parents = self.loop.parents
        target = self._target.number if self._target is not None else 0
        while number > target:
            number = parents[number]
        return bool(number == target)

    def _note_task(self, task: Any) -> None:
        place = standing(task)
        origin = getattr(task.get_coro(), "cr_origin", None)
        if origin and self._is_script(*origin[0][:2]):
            return
        if place is not None:
            self._note(f"the task {_name_of(task)} still waits", place.file, place.line)
        elif origin:
            self._note(f"the task {_name_of(task)} is still there, made", *origin[0][:2])

    def _note(self, what: str, path: str, line: int) -> None:
        if not self._is_script(path, line):
            self.things[Thing(what, f"{path}:{line}")] += 1

    def judge(self, error: BaseException | None, phase: str) -> BaseException | None:
        """Return what the run shows, given how it ended: what is left behind, or nothing."""
        if self.census is None:
            return error
        if isinstance(error, TimeLimit) and error.is_real:
            return error
        if self.strike is None or self._goes_on:
            return None
        found = self._hang(error) or self._left() or self._swallowed(error) or self._tear_down(error, phase)
        if found is None:
            return None
        what, place = found
        text = f"{what}{f' at {place}' if place else ''}"
        return LeftBehind(
            text, (place,), why="The client went away" if self._gone is not None else "Cancelled on the way"
        )

    def _hang(self, error: BaseException | None) -> tuple[str, str] | None:
        # Nobody cancels one child of a task group and not the others: to wait for it is no mistake.
        if not isinstance(error, RunEnded) or self._is_structured:
            return None
        assert self.census is not None
        for place in error.places:
            if place in self.census.waits:
                continue
            path, _, line = place.rpartition(":")
            if not self._is_script(path, int(line)):
                why = "nothing can wake it" if isinstance(error, Blocked) else "it does not end"
                return f"somebody waits for ever ({why})", place
        return None

    def _left(self) -> tuple[str, str] | None:
        assert self.census is not None
        more = self.things - self.census.things
        # A task that is always left may stand elsewhere this time.
        known = {thing.what for thing in self.census.things if thing.what.startswith("the task")}
        thing = next((thing for thing in more if thing.what not in known), None)
        return None if thing is None else (thing.what, thing.place)

    def _swallowed(self, error: BaseException | None) -> tuple[str, str] | None:
        task, strike = self._target, self.strike
        assert strike is not None
        by = ""
        if self._waited_for is not None:
            future, caller = self._waited_for
            if future.done() and not future.cancelled():
                if rank(caller) != 2:
                    return None  # a library has called it, and who calls that can do nothing
                by = " by asyncio.wait_for, as it is until Python 3.11"
        if self._is_own:
            if error is None and not self._is_in_script:
                return f"the cancellation is swallowed{by}: the test went on", _at(strike.place)
            return None
        if task.done():
            ended_well = not task.cancelled() and task.exception() is None
            if ended_well and task.cancelling() and self._steps_after > _MOST_STEPS_AFTER:
                name = _name_of(task) if self._gone is None else strike.subject.split("`")[1]
                return f"the cancellation is swallowed{by}: {name} went on", _at(strike.place)
        return None

    def _tear_down(self, error: BaseException | None, phase: str) -> tuple[str, str] | None:
        if (
            phase != "teardown"
            or error is None
            or isinstance(error, AssertionError | asyncio.CancelledError | RunEnded)
        ):
            return None
        return f"a fixture's tear-down fails with {type(error).__name__}: {error}", ""


def _waits_in_library(task: Any) -> bool:
    """Whether the innermost line that is not Python's own is a library's."""
    ranks = [rank(frame.f_code.co_filename) for frame, _ in frames(task)]
    return next((each for each in reversed(ranks) if each), 0) == 1


def _name_of_handler(task: Any) -> str:
    """Return the name of the outermost of the user's functions in which the task stands."""
    for frame, _ in frames(task):
        if rank(frame.f_code.co_filename) == 2:
            return frame.f_code.co_qualname.rpartition("<locals>.")[2]
    return _name_of(task)


@cache
def _spans(code: CodeType) -> list[tuple[int | None, ...]]:
    return list(code.co_positions())


def _span(code: CodeType, instruction: int) -> tuple[int | None, ...]:
    """Return which part of the source the instruction is of: those of one ``await`` are many."""
    return _spans(code)[instruction // 2]


@cache
def _last_line(code: CodeType) -> int:
    """Return the last line of the function, with those of the functions in it."""
    own = max((number for _, _, number in code.co_lines() if number is not None), default=0)
    return max([own, *(_last_line(constant) for constant in code.co_consts if isinstance(constant, CodeType))])


def _name_of(task: Any) -> str:
    return name_of(task.get_coro())


def _at(place: Place | None) -> str:
    return f"{place.file}:{place.line}" if place is not None else ""
