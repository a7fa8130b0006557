"""Look closely at one run: an observer for ``loop.observer``, for the replay of a failure that is to be explained.

It runs each step in the loop's place and notes where the task went on, which of the user's lines ran, where it stopped,
and what had put the step into the queue. The run is not changed by it: steps, turns and virtual time are the same. It
traces lines (``sys.settrace``), so it is slow; a debugger's or coverage's own tracer is put back after each step.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

from pytest_interleave.detectors import deadlock
from pytest_interleave.loop import _waits
from pytest_interleave.loop._events import Watch
from pytest_interleave.loop.ownership import Ownership
from pytest_interleave.loop.places import calling, expression, own_frames, place, raising, standing
from pytest_interleave.loop.requests import request_of
from pytest_interleave.loop.snapshot import take
from pytest_interleave.loop.tasks import ControlledTask
from pytest_interleave.loop.unasked import UnaskedTasks
from pytest_interleave.origins import rank
from pytest_interleave.schedule import CODE_SLEEP, SPLIT, TICK, EventId
from pytest_interleave.trace import (
    ACCEPTED,
    Drawn,
    Draws,
    Observation,
    ObservedStep,
    OutsideEvent,
    Pieces,
    Place,
    Reader,
    Snapshot,
    Trace,
)

#: Lines that are kept of one step, and how often the same one: of a loop, the first rounds.
_MOST_LINES = 400
_MOST_TIMES = 3
_THE_TEST = "the test"
_UNNAMED = "Task-"
_RUNNER_OF_ANYIO = "TestRunner._run_tests_and_fixtures"
#: What comes in, by its kind where they are not called the same.
_WHAT = {"read": "data", "write": "writable", TICK: "timer"}
#: Ends of files that ask for the text of values when an assertion fails.
_SHOWS = tuple(os.path.join("_pytest", *parts) for parts in (("_io", "saferepr.py"), ("assertion", "util.py")))


@dataclass(slots=True)
class _Started:
    """What is known of a timer when it is set."""

    seconds: float
    what: str
    place: Place | None


@dataclass(slots=True)
class _Run:
    """What the observer knows while a run goes on."""

    loop: Any
    trace: Trace
    reader: Reader
    draws: Draws
    start: float
    events: list[EventId] = field(default_factory=list)
    steps: list[ObservedStep] = field(default_factory=list)
    outside: list[OutsideEvent] = field(default_factory=list)
    drawn: list[Drawn] = field(default_factory=list)
    pieces: dict[EventId, Pieces] = field(default_factory=dict)
    #: By the ``id`` of a queued callback: the entries that queued it, and the callback itself, to keep it alive.
    causes: dict[int, tuple[Any, list[int]]] = field(default_factory=dict)
    timers: dict[EventId, _Started] = field(default_factory=dict)
    arguments: dict[int, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    #: The HTTP request that a task was made for.
    requests: dict[int, str] = field(default_factory=dict)
    unasked: UnaskedTasks = field(default_factory=UnaskedTasks)
    end: Snapshot | None = None
    idle: Snapshot | None = None
    error: BaseException | None = None
    tasks: int = 0


class Observer:
    """Observes one run: ``with observer.watching(loop, trace): …``, and then ``observer.result()``.

    ``looks_for_wakers``: at the end, walk the heap to see which of the tasks that are left nothing can wake. That takes
    50 ms in a small process, and tells nothing where the test broke off: its own variables are gone.
    """

    def __init__(self, *, looks_for_wakers: bool = False) -> None:
        self.looks_for_wakers = looks_for_wakers
        self.ownership = Ownership()
        self._run: _Run | None = None
        self._lines: list[tuple[CodeType, int]] = []
        #: Who ran each of these lines.
        self._workers: list[Any] = []
        self._times: Counter[tuple[CodeType, int]] = Counter()

    @contextmanager
    def watching(self, loop: Any, trace: Trace) -> Iterator[None]:
        """Observe what the loop runs in this context; at its end, look at the tasks that are left."""
        self._run = run = _Run(loop, trace, Reader(trace), Draws(trace), loop.time())
        self._note_timers(run, None)
        loop.observer = self
        try:
            with self.ownership.watched():
                yield
        except BaseException as error:
            run.error = error
            raise
        finally:
            loop.observer = None
            self._read(run)
            run.tasks = len(trace.parents)
            self.look()

    def look(self) -> None:
        """Look at the tasks that are left, once: at the end of the run at the latest, better before any clean-up."""
        run = self._run
        if run is not None and run.end is None:
            run.end = self._take(run, look_for_wakers=self.looks_for_wakers)

    def result(self, error: BaseException | None = None) -> Observation:
        """Return what was seen. ``error``: how the run failed, where the context did not see it."""
        run = self._run
        assert run is not None
        error = error or run.error
        paths = [run.trace.path(number) for number in range(run.tasks)]
        return Observation(
            events=tuple(run.events),
            steps=run.unasked.renumbered(run.steps, run.tasks),
            outside=tuple(run.outside),
            draws=tuple(run.drawn),
            names=_names(run),
            test=next((number for number, name in run.names.items() if name == _THE_TEST), 1),
            paths=(*paths, *run.unasked.paths(paths)),
            end=run.end,
            idle=run.idle,
            error="" if error is None else type(error).__name__,
            error_places=raising(error.__traceback__) if error is not None else (),
        )

    # -- called by the loop --------------------------------------------------------------------------------------

    def run(self, context: Any, callback: Any, args: Any, owner: Any, origin: int) -> None:
        """Run one step and note it."""
        run = self._run
        assert run is not None
        index = len(run.trace.entries) - 1
        self._note_arrivals(run, callback, index)
        task = owner if getattr(owner, "number", None) == origin and hasattr(owner, "get_coro") else None
        number: int | None = origin
        if task is None:
            number = run.unasked.number(owner, origin)
        is_first, went_on = False, None
        resumed: list[tuple[FrameType, Place]] = []
        if task is None and number is not None:
            task, went_on, resumed = owner, standing(owner), own_frames(owner)
        elif task is not None:
            coroutine = task.get_coro()
            is_first = inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED
            went_on = standing(task)
            run.names[origin] = _own_name(task)
            if is_first:
                request = request_of(coroutine.cr_frame.f_locals)
                run.requests[origin] = request
                run.arguments[origin] = "" if request else _arguments(coroutine)
            else:
                resumed = own_frames(task)
        queued = len(_waits.queue(run.loop))
        cause = self._cause(run, callback)
        self._lines, self._workers = [], []
        self._times.clear()
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            context.run(callback, *args)
        finally:
            sys.settrace(before)
            for new in _waits.queue(run.loop)[queued:]:
                run.causes.setdefault(id(new), (new, []))[1].append(index)
            guest = run.unasked.guest(task, self._workers) if not resumed else None
            if guest is not None:  # it began in this step, or a library's task led to it
                task, is_first, went_on = guest, run.unasked.is_new(guest), None
                number = run.unasked.number(guest, origin)
            lines = _with_resumed(task, resumed, [place(code, line) for code, line in self._lines])
            ended, error, stopped = _outcome(task) if task is not None else ("ran", "", None)
            if ended == "returned" and lines:
                stopped = lines[-1]
            self._note_timers(run, stopped)
            run.steps.append(
                ObservedStep(
                    index=index,
                    event=run.events[index],
                    task=number,
                    time=run.loop.time() - run.start,
                    turn=run.loop.turns,
                    went_on=went_on,
                    stopped=stopped,
                    lines=lines,
                    ended=ended,
                    is_first=is_first,
                    error=error,
                    cause=cause,
                )
            )

    def drew(self, frame: FrameType, value: str) -> None:
        """Note a value that the code in ``frame`` has drawn just now, by the expression at which it stands."""
        code = frame.f_code
        where = place(code, frame.f_lineno)
        self._note_drawn(expression(code, frame.f_lasti) or where.text, value, where)

    def drew_time(self, frame: FrameType, *, is_late: bool) -> None:
        """Note whether a mock that the code in ``frame`` awaits takes time."""
        where = calling(frame)
        verb = "takes time" if is_late else "answers at once"
        if where is None:  # it is a task's own
            self._note_drawn("an AsyncMock", verb, None)
        else:
            self._note_drawn(where.awaited or where.text, "late" if is_late else "", where, verb)

    def drew_of_network(self, subject: str, value: str) -> None:
        """Note what goes wrong between a client and a named host, as was drawn just now."""
        self._note_drawn(subject, value, None)

    def came_in_pieces(self, watch: Watch, first: int, size: int) -> None:
        """Note that of the data that comes in now, only so many bytes are read at first, and maybe again and again."""
        run = self._run
        if run is not None:
            path = run.trace.path(watch.origin)
            event = path, SPLIT, watch.whole_ordinal
            run.pieces[path, watch.kind, watch.ordinal] = Pieces(event, first, size, are_many=watch.piece > 0)

    def _note_drawn(self, what: str, value: str, where: Place | None, verb: str = "") -> None:
        run = self._run
        if run is not None:
            run.drawn.append(Drawn(len(run.trace.entries) - 1, run.draws.next(), what, value, where, verb))

    def struck(self, index: int, queued: int) -> None:
        """Note that a cancellation, the entry ``index``, put there all that is in the queue behind ``queued``."""
        run = self._run
        if run is not None:
            for new in _waits.queue(run.loop)[queued:]:
                run.causes.setdefault(id(new), (new, []))[1].append(index)

    def idle(self) -> None:
        """Nothing can run now. Keep the tasks as they are if some wait for each other."""
        run = self._run
        if run is None or run.idle is not None or not self.ownership.has_held():
            return
        snapshot = self._take(run)
        found = deadlock.find(snapshot)
        if found is not None and found.kind == "cycle":
            run.idle = snapshot

    def blocked(self) -> None:
        """Nothing will ever run again, or has for as long as a run may take: the loop is about to say so."""
        run = self._run
        if run is not None and run.end is None:
            run.end = self._take(run)

    def _take(self, run: _Run, *, look_for_wakers: bool = False) -> Snapshot:
        when = run.loop.time() - run.start
        return take(run.loop, self.ownership, when=when, ignore=(self, run), look_for_wakers=look_for_wakers)

    # -- notes ---------------------------------------------------------------------------------------------------

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if rank(frame.f_code.co_filename) != 2 or _is_for_show(frame):
            return None
        if self._run is not None:
            self._run.unasked.note_call(frame)
        return self._trace_line

    def _trace_line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line" and len(self._lines) < _MOST_LINES:
            line = frame.f_code, frame.f_lineno
            self._times[line] += 1
            if self._times[line] <= _MOST_TIMES:
                self._lines.append(line)
                self._workers.append(UnaskedTasks.working())
        return self._trace_line

    @staticmethod
    def _read(run: _Run) -> None:
        run.events += run.reader.read()

    @staticmethod
    def _cause(run: _Run, callback: Any) -> int | None:
        known = run.causes.get(id(callback))
        if known is None:
            return None
        cause = known[1].pop(0)
        if not known[1]:
            del run.causes[id(callback)]
        return cause

    def _note_arrivals(self, run: _Run, callback: Any, index: int) -> None:
        """Note the outside events that came in since the last step, and which callbacks they put into the queue."""
        known = len(run.events)
        self._read(run)
        arrived = [i for i in range(known, index) if isinstance(run.trace.entries[i], tuple)]
        for entry in [i for i in arrived if i in run.loop.strikes]:
            arrived.remove(entry)  # strikes between two steps, and queues nothing of its own
            strike = run.loop.strikes[entry]
            run.outside.append(
                OutsideEvent(
                    index=entry,
                    event=run.events[entry],
                    what="cancellation",
                    time=run.loop.time() - run.start,
                    turn=run.loop.turns,
                    place=strike.place,
                    subject=strike.subject,
                    is_late=strike.is_late,
                )
            )
        if not arrived:
            return
        handles = [callback, *_waits.queue(run.loop)][-len(arrived) :]
        for position, entry in enumerate(arrived):
            # What was queued before can only be older; a cancelled one may be gone.
            handle = handles[position] if len(handles) == len(arrived) else None
            self._note_outside(run, entry, handle)
            if handle is not None:
                run.causes.setdefault(id(handle), (handle, []))[1].append(entry)

    @staticmethod
    def _note_outside(run: _Run, index: int, handle: Any) -> None:
        event = run.events[index]
        kind = str(event[1])
        seconds, what, where = None, _WHAT.get(kind, kind), None
        if kind in ("timer", TICK):
            started = run.timers.get((event[0], "timer", event[2]))
            if started is not None:
                seconds, what, where = started.seconds, started.what, started.place
        elif handle is not None and _waits.purpose(handle) == "connection":
            what = "connection"
        taker = _library_that_takes(handle) if kind == "read" else ""
        time, turn = run.loop.time() - run.start, run.loop.turns
        pieces = run.pieces.get(event)
        run.outside.append(OutsideEvent(index, event, what, time, turn, seconds, where, taker, pieces=pieces))

    @staticmethod
    def _note_timers(run: _Run, stopped: Place | None) -> None:
        """Note the timers that are new; ``stopped`` is where the task stands that may have set them."""
        now = run.loop.time()
        for timer in _waits.timers(run.loop):
            event: EventId = (run.trace.path(timer.origin), "timer", timer.ordinal)
            if event in run.timers:
                continue
            callback = _waits.callback_of(timer)
            what = _waits.purpose(callback)
            where = _timer_place(timer, stopped)
            if what == "sleep" and timer.place is None and timer.stands_for == CODE_SLEEP:
                what = "outside"
            known = what in ("sleep", "outside", "timeout")
            run.timers[event] = _Started(timer.when() - now, what if known else "timer", where)


def _timer_place(timer: Any, stopped: Place | None) -> Place | None:
    """Return the user's line that set the timer: the task's own, if the timer was set by a library for it."""
    if timer.place is None:
        return stopped
    filename, line = timer.place
    if stopped is not None and rank(filename) < stopped.rank:
        return stopped
    if stopped is not None and (stopped.file, stopped.line) == (filename, line):
        return stopped
    return place(compile("", filename, "exec"), line)


def _with_resumed(task: Any, resumed: list[tuple[FrameType, Place]], lines: list[Place]) -> tuple[Place, ...]:
    """Add the lines at which frames went on after their ``await``: no tracer is told of them.

    A frame goes on if the one that it awaits has ended, and the innermost goes on in any case.
    """
    suspended = {id(frame) for frame, _ in own_frames(task)} if resumed and not task.done() else set()
    went_on: list[Place] = []
    for frame, where in reversed(resumed):
        went_on.append(where)
        if id(frame) in suspended:
            break
    for where in went_on:
        # Before the first line of the same function, which it went on to.
        index = next((i for i, line in enumerate(lines) if _is_in(line, where)), len(lines))
        if index < len(lines) and lines[index].line == where.line:
            del lines[index]  # CPython 3.12 traces that line again where an exception comes in
        lines.insert(index, where)
    return tuple(lines)


def _is_in(line: Place, where: Place) -> bool:
    return line.function == where.function and line.file == where.file


def _outcome(task: Any) -> tuple[str, str, Place | None]:
    if not task.done():
        return "suspended", "", standing(task)
    if task.cancelled():
        return "cancelled", "", None
    error = _waits.error_of(task)
    if error is None:
        return "returned", "", None
    places = raising(error.__traceback__)
    return "raised", type(error).__name__, places[-1] if places else None


def _arguments(coroutine: Any) -> str:
    """Return the arguments that are short and simple, to tell two tasks of one function apart."""
    frame = coroutine.cr_frame
    if frame is None:
        return ""
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    values = (frame.f_locals.get(name) for name in names)
    shown = [repr(value) for value in values if isinstance(value, str | int | float | bool) and len(repr(value)) <= 12]
    return ", ".join(shown[:3])


def _names(run: _Run) -> tuple[str, ...]:
    """Name every task: its own name or its function's, with arguments or a number where that is not enough."""
    plain = [*(_plain_name(run, number) for number in range(run.tasks)), *run.unasked.names()]
    names = list(plain)
    # In a loop of wider scope, tasks of earlier runs have numbers as well, and mostly no more than that.
    last = run.loop.first_number
    past = set(range(1, last + 1)) - {step.task for step in run.steps}
    for name in set(plain) - {_THE_TEST}:
        same = [number for number, other in enumerate(plain) if other == name]
        same.sort(key=lambda number: 0 < number <= last)
        if len(same) < 2 or same[1] in past:
            continue
        given = [run.arguments.get(number, "") for number in same]
        told_apart = all(given) and len(set(given)) == len(given)
        for count, number in enumerate(same, start=1):
            names[number] = f"{name}({run.arguments[number]})" if told_apart else f"{name} #{count}"
    return tuple(names)


def _is_for_show(frame: FrameType) -> bool:
    """Whether this runs only to show a value in a failed assertion: a ``__repr__`` that pytest asks for."""
    caller = frame.f_back
    while caller is not None and caller.f_code.co_filename != __file__:
        if caller.f_code.co_filename.endswith(_SHOWS):
            return True
        caller = caller.f_back
    return False


def _own_name(task: Any) -> str:
    # A task that the loop only adopted is a runner's, and stands for the test; so does that of anyio's plugin.
    coroutine = task.get_coro()
    if not isinstance(task, ControlledTask) or getattr(coroutine, "__qualname__", "") == _RUNNER_OF_ANYIO:
        return _THE_TEST
    if _waits.is_accepting(coroutine):
        return ACCEPTED
    name = str(task.get_name())
    # anyio wraps what a task group starts, and names it in full: "test_it.test_seats.<locals>.arrive".
    frame = getattr(coroutine, "cr_frame", None)
    if frame is not None and frame.f_globals.get("__name__", "").startswith("anyio."):
        return name.rpartition(".")[2]
    return name


def _library_that_takes(callback: Any) -> str:
    """Return the name of the library whose protocol takes what comes in, if that is no bridge to streams."""
    protocol = _waits.protocol_of(callback)
    module = sys.modules.get(type(protocol).__module__)
    name = "" if protocol is None or module is None else module.__name__.partition(".")[0]
    return name if name != "anyio" and rank(getattr(module, "__file__", None) or "") == 1 else ""


def _plain_name(run: _Run, number: int) -> str:
    name = run.names.get(number, _UNNAMED)
    if name.startswith(_UNNAMED) and run.requests.get(number):
        return run.requests[number]
    # `create_task(…, name=…)` names the task after it is made (CPython 3.11), so the trace does not know.
    return run.trace.name_of(run.trace.path(number)) if name.startswith(_UNNAMED) else name
