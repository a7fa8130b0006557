"""A failing schedule as one English sentence, with places.

A constraint says "X comes right after Y". Which order matters is seen beside asyncio's own: either X was moved forward,
and *overtook* what asyncio lets go first, or it was held back, and was *overtaken*. Of what changed places with X, the
sentence names the line that touches what X's task touches, if there is one; else the nearest event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from pytest_interleave.exploration.outcomes import Explanation
from pytest_interleave.report.reading import Reading, cut, duration, library_of, lines_of, location, meets
from pytest_interleave.schedule import CANCELLATIONS, DRAW, MEET, SPLIT, START, STEP, EventId
from pytest_interleave.trace import ACCEPTED, ObservedStep, OutsideEvent, Place

_CODE_WIDTH = 64
_MOST_CONSTRAINTS = 3
#: Of more, no table shows anything that a person could follow; and each takes a look at the whole run.
_MOST_ORDERS = 20
_REQUEST = "request "


@dataclass(frozen=True, slots=True)
class Phrase:
    """Something that happens: "the sleep of 0.02 s (test_x.py:9, task late)", "ends"."""

    subject: str
    verb: str = ""

    def __str__(self) -> str:
        return f"{self.subject} {self.verb}".rstrip()


@dataclass(frozen=True, slots=True)
class Order:
    """What one constraint changes. ``other`` is what X should not have changed places with."""

    event: EventId
    phrase: Phrase
    #: ``before``, ``after`` or ``with`` (the same loop iteration); ``alone``: it just happens.
    relation: str
    other: Phrase | None
    #: The entries of the failing run that matter here: X first, then what changed places with it.
    entries: tuple[int, ...] = ()
    #: The paths of all tasks that changed places with X.
    paths: tuple[Hashable, ...] = ()
    #: The tasks that a reader must see, where neither X nor what changed places with it is in one of the user's.
    tasks: tuple[int, ...] = ()


def sentence(explanation: Explanation, *, verb: str = "fails") -> str:
    """Return the sentence, without a full stop. ``verb``: what the test does then."""
    constraints = explanation.constraints
    if not constraints:
        return f"{verb} in asyncio's own order, with nothing changed"
    orders = read_orders(explanation)
    told_twice = [order for place, order in enumerate(orders) if any(_mirrors(order, one) for one in orders[:place])]
    orders = [order for order in orders if order not in told_twice]
    never = any(event[1] in (STEP, START) for event in constraints)
    # A thread's second answer for a line reads like the first.
    clauses = list(Counter(map(_clause, orders)).items())[:_MOST_CONSTRAINTS]
    parts = [clause if times == 1 else f"{clause} ({times} times)" for clause, times in clauses]
    rest = len(constraints) - len(told_twice) - sum(times for _, times in clauses)
    if rest:
        parts.append(f"{rest} more {'orders differ' if rest > 1 else 'order differs'}")
    text = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])}, and {parts[-1]}"
    if never:
        return f"needs an order that asyncio never makes: {text}"
    if needs_held_up_loop(constraints):
        return f"needs a loop that is held up between two sleeps of the test: {text}"
    return f"{verb} if {text}"


def needs_held_up_loop(constraints: Iterable[EventId]) -> bool:
    """Whether all that is odd about the order is that sleeps of the test's own meet."""
    kinds = {event[1] for event in constraints}
    return MEET in kinds and not kinds & {STEP, START}


def _mirrors(order: Order, other: Order) -> bool:
    """Whether "B ends after A" says what "A ends before B" has said."""
    return (
        {order.relation, other.relation} == {"before", "after"}
        and order.other == other.phrase
        and other.other == order.phrase
    )


def _clause(order: Order) -> str:
    if order.relation == "alone":
        return str(order.phrase)
    if order.other is None:
        return f"{order.phrase} {'later' if order.relation == 'after' else 'sooner'} than usual"
    if order.relation == "with":
        verb = "" if order.other.verb else " runs"
        return f"{order.phrase} in the same loop iteration in which {order.other}{verb}"
    both_are_requests = all(phrase.subject.startswith(_REQUEST) for phrase in (order.phrase, order.other))
    return f"{order.phrase} {order.relation} {order.other.subject if both_are_requests else order.other}"


def read_orders(explanation: Explanation) -> list[Order]:
    """Return what the first constraints mean, in the order of the failing run."""
    failing = Reading(explanation.failing)
    passing = Reading(explanation.passing) if explanation.passing is not None else failing
    constraints = sorted(explanation.constraints.items(), key=lambda pair: _position(pair[0], pair[1], failing))
    return [_order(event, condition, failing, passing) for event, condition in constraints[:_MOST_ORDERS]]


def _position(event: EventId, condition: EventId, failing: Reading) -> int:
    """Return where in the failing run it happens, the end if it does not."""
    if event[1] == DRAW:
        drawn = failing.draws.get(event)
        return len(failing.seen.events) if drawn is None else drawn.index
    if event[1] == START:
        event = condition[0], STEP, 1
    elif event[1] == MEET:
        event = _sleep_of(event)
    elif event[1] == SPLIT:
        return next((seen.index for seen in _split_arrivals(event, failing)), len(failing.seen.events))
    return failing.positions.get(event, len(failing.seen.events))


def _sleep_of(event: EventId) -> EventId:
    """Return the end of the sleep which meets another."""
    return event[0], "timer", event[2]


def _split_arrivals(event: EventId, failing: Reading) -> list[OutsideEvent]:
    """Return the arrival of which that choice has made two."""
    return [seen for seen in failing.outside.values() if seen.pieces is not None and seen.pieces.event == event]


def _order(event: EventId, condition: EventId, failing: Reading, passing: Reading) -> Order:
    if event[1] == START:
        return _start_order(event, condition, failing)
    if event[1] in CANCELLATIONS:
        return _cancellation(event, failing)
    if event[1] == DRAW:
        return _drawn(event, failing)
    if event[1] == SPLIT:
        return _split(event, failing, passing)
    if event[1] == MEET:
        event = _sleep_of(event)
    here = failing.positions.get(event)
    phrase = _phrase(event, failing, passing)
    if here is None:
        # The run had failed before it came.
        last = failing.seen.error_places[-1:]
        return Order(event, phrase, "after", _line(last[0], None, failing) if last else None)
    there = passing.positions.get(event)
    start = passing.positions.get(condition, -1)
    behind = set(failing.seen.events[:here])
    # asyncio's own run may do without X: a timeout that is cancelled in time. Then X overtook what came instead.
    is_new = there is None and event[1] == "timer"
    end = len(passing.seen.events) if there is None else there
    overtook = [index for index in range(start + 1 if is_new else 0, end) if passing.seen.events[index] not in behind]
    ahead = set(passing.seen.events[:end])
    overtaken_by = [index for index in range(here) if failing.seen.events[index] not in ahead]
    if overtook and (there is not None or is_new) and (start < end or not overtaken_by):
        partner = _partner(here, overtook, failing, passing)
        if partner is not None:
            other = _phrase(failing.seen.events[partner], failing, passing)
            return Order(event, phrase, "with", other, (here, partner))
        paths = tuple(dict.fromkeys(passing.seen.events[index][0] for index in overtook))
        met, entries, tasks = _named(_guarded_first(overtook, here, failing, passing), passing, failing, here, failing)
        phrase = _connection(here, tasks, failing) or phrase
        relation = "with" if entries and _is_in_same_turn(here, entries[0], failing) else "before"
        return Order(event, phrase, relation, met, (here, *entries), paths, tasks)
    overtaken_by = overtaken_by or list(range(max(here - 6, 0), here))
    met, entries, tasks = _named(overtaken_by[::-1], failing, passing, here, failing)
    phrase = _connection(here, tasks, failing) or phrase
    paths = tuple(dict.fromkeys(failing.seen.events[index][0] for index in overtaken_by))
    return Order(event, phrase, "after", met, (here, *entries), paths, tasks)


def _split(event: EventId, failing: Reading, passing: Reading) -> Order:
    # Half a request starts no handler: what it is for shows where it came as a whole, and has the name of the choice.
    subject = _phrase((event[0], "read", event[2]), passing, failing).subject
    seen = next(iter(_split_arrivals(event, failing)), None)
    if seen is None or seen.pieces is None:
        return Order(event, Phrase(subject, "arrives in pieces"), "alone", None)
    first, rest = seen.pieces.first, seen.pieces.size - seen.pieces.first
    size = f"{first} byte{'s' * (first != 1)}"
    how = f"arrives in pieces of {size}" if seen.pieces.are_many else f"arrives in two pieces, {size} and {rest}"
    return Order(event, Phrase(subject, how), "alone", None, (seen.index,))


def _cancellation(event: EventId, failing: Reading) -> Order:
    index = failing.positions.get(event, -1)
    seen = failing.outside.get(index)
    if seen is None:  # what it waited for did not come
        return Order(event, Phrase("an operation", "would be cancelled"), "alone", None)
    where = "" if seen.place is None else f" at {location(seen.place)}{_awaiting(seen.place)}"
    late = ", just after that completed" if seen.is_late else ""
    return Order(event, Phrase(f"{seen.subject}{where}{late}"), "alone", None, (index,))


def _drawn(event: EventId, failing: Reading) -> Order:
    drawn = failing.draws.get(event)
    if drawn is None:
        return Order(event, Phrase("another value", "is drawn"), "alone", None)
    if drawn.place is None:
        return Order(event, Phrase(drawn.what, drawn.value), "alone", None, (drawn.index,))
    step = failing.steps.get(drawn.index)
    where = _where(drawn.place, None if step is None else step.task, failing)
    verb = drawn.verb or f"gives `{cut(drawn.value, _CODE_WIDTH)}`"
    phrase = Phrase(f"`{cut(drawn.what, _CODE_WIDTH)}`{where}", verb)
    meanwhile = _at_work_until_it_goes_on(step, failing) if drawn.verb and step is not None else ()
    return Order(event, phrase, "alone", None, (drawn.index,), tasks=meanwhile)


def _at_work_until_it_goes_on(step: ObservedStep, failing: Reading) -> tuple[int, ...]:
    """Return the tasks that the task of that step let past."""
    found: dict[int, None] = {}
    for other in failing.seen.steps:
        if other.index > step.index and other.task is not None:
            if other.task == step.task:
                break
            found[other.task] = None
    return tuple(found)


def _awaiting(place: Place) -> str:
    text = cut(place.awaited or place.text, _CODE_WIDTH)
    return f" (`{text}`)" if text else ""


def _guarded_first(overtook: list[int], here: int, failing: Reading, passing: Reading) -> list[int]:
    """Put what a timeout guards before all else that it overtook."""
    timeout = failing.outside.get(here)
    if timeout is None or timeout.what != "timeout":
        return overtook
    owner = timeout.event[0]

    def is_guarded(index: int) -> bool:
        woken = passing.woken(index) if index in passing.outside else []
        return any(step.task is not None and passing.seen.paths[step.task] == owner for step in woken)

    guarded = [index for index in overtook if is_guarded(index)][:1]
    return guarded or overtook


def _partner(here: int, overtook: list[int], failing: Reading, passing: Reading) -> int | None:
    """Return the outside event with which X came in, if all that X overtook is what that event led to."""
    index = here - 1
    if (
        index not in failing.outside
        or here not in failing.outside
        or failing.seen.events[index] not in passing.positions
    ):
        return None
    start = passing.positions[failing.seen.events[index]]
    return index if min(overtook) > start else None


def _is_in_same_turn(here: int, other: int, failing: Reading) -> bool:
    """Whether X came in behind a step that was queued already, and both ran in one turn."""
    arrival, step = failing.outside.get(here), failing.steps.get(other)
    if arrival is None or step is None or step.turn != arrival.turn:
        return False
    first = min((effect.index for effect in failing.seen.steps if effect.cause == here), default=-1)
    return here < other < first


def _named(
    indices: list[int], where: Reading, elsewhere: Reading, here: int, failing: Reading
) -> tuple[Phrase | None, tuple[int, ...], tuple[int, ...]]:
    """Return ``_met``, and which tasks a reader must see, where two of a kind race."""
    twin = _twin(indices, where, here, failing)
    if twin is None:
        return *_met(indices, where, elsewhere, here, failing), ()
    step, line, tasks = twin
    return _line(line, step.task, where), _entry(step.event, failing), tasks


def _met(
    indices: list[int], where: Reading, elsewhere: Reading, here: int, failing: Reading
) -> tuple[Phrase | None, tuple[int, ...]]:
    """Choose which of the events that changed places with X to name; ``indices`` into ``where``, best first."""
    own = {step.task for step in failing.woken(here)}
    if here in failing.steps:
        own.add(failing.steps[here].task)
    own_tasks = [task for task in own if task is not None]
    touched = lines_of(failing.steps_of(own_tasks, after=here - 1))
    steps = [where.steps[index] for index in indices if index in where.steps]
    steps = [step for step in steps if step.task is not None and step.task not in own]
    for step in steps:
        for line in sorted(step.lines, key=lambda line: not line.writes):
            if any(meets(line, other) for other in touched):
                return _line(line, step.task, where), _entry(step.event, failing)
    own_paths = {failing.seen.paths[task] for task in own_tasks}
    for least_rank in (2, 0):  # a library's events and lines only where there are no others
        for index in indices:
            event = where.seen.events[index]
            if index in where.outside and event[0] not in own_paths and (not least_rank or _is_of_user(index, where)):
                return _phrase(event, where, elsewhere), _entry(event, failing)
        for step in steps:
            telling = _telling(step)
            if telling is not None and telling.rank >= least_rank:
                return _line(telling, step.task, where), _entry(step.event, failing)
    for index in indices:
        event = where.seen.events[index]
        if index in where.outside or where.steps[index].task is not None:
            return _phrase(event, where, elsewhere), _entry(event, failing)
    return None, ()


def _is_of_user(index: int, reading: Reading) -> bool:
    """Whether an outside event can be told by a line of the user's."""
    event = reading.outside[index]
    if event.place is not None and event.place.rank == 2:
        return True
    if any(step.went_on is not None and step.went_on.rank == 2 for step in reading.woken(index)):
        return True
    return (event.what == "data" and as_request(event, reading) is not None) or _for_user(event, reading) is not None


def _for_user(event: OutsideEvent, reading: Reading) -> tuple[int, Place] | None:
    """Return the user's task for which a library's task gets an event, and where that stood."""
    woken = reading.woken(event.index)
    return reading.behind(woken[0].task if woken else reading.number(event.event[0]), event.index)


def _twin(
    indices: list[int], where: Reading, here: int, failing: Reading
) -> tuple[ObservedStep, Place, tuple[int, ...]] | None:
    """Return a step that ran in one task what another one runs after X, and the line that says most of it.

    Only where X wakes a library, as a request wakes a server: what it leads to may be at the other end of a connection.
    Two tasks that run the same lines are two of a kind, of which one was held up; the fewer run a line, the more it
    says.
    """
    woken = failing.woken(here)
    if any(line.rank == 2 for step in woken for line in step.lines):
        return None
    runners: dict[tuple[str, int], set[int]] = {}
    to_come: dict[tuple[str, int], int] = {}
    for each in failing.seen.steps:
        for line in each.lines:
            if line.rank == 2 and each.task is not None:
                runners.setdefault((line.file, line.line), set()).add(each.task)
                if each.index > here:
                    to_come.setdefault((line.file, line.line), each.task)
    best: tuple[tuple[int, bool, int], ObservedStep, Place, tuple[int, ...]] | None = None
    for position, index in enumerate(indices):
        step = where.steps.get(index)
        if step is None or step.task is None or step.task == where.seen.test:
            continue
        for line in step.lines:
            key = line.file, line.line
            own = to_come.get(key)
            if own is None or own == step.task:
                continue
            merit = len(runners.get(key, ())), not line.awaited, position
            if best is None or merit < best[0]:
                best = merit, step, line, (step.task, own)
    return None if best is None else best[1:]


def _line(line: Place, task: int | None, reading: Reading) -> Phrase:
    """Describe a line that ran; one with an ``await`` had its value then."""
    return Phrase(f"`{cut(line.text, _CODE_WIDTH)}`{_where(line, task, reading)}", "completes" if line.awaited else "")


def _entry(event: EventId, failing: Reading) -> tuple[int, ...]:
    index = failing.positions.get(event)
    return () if index is None else (index,)


def _telling(step: ObservedStep) -> Place | None:
    """Return the line of a step that says most: one that writes what others see, else where it stopped."""
    return next((line for line in step.lines if line.writes), step.stopped or (step.lines[-1] if step.lines else None))


def _phrase(event: EventId, first: Reading, second: Reading) -> Phrase:
    """Describe an event in the user's terms, from whichever run shows more of it.

    Where nobody waits for it any more, as for data that come too late, the other run shows whose it was.
    """
    found: list[Phrase] = []
    for reading in (first, second):
        index = reading.positions.get(event)
        if index is None:
            continue
        if index in reading.steps:
            return found[0] if found else _step(reading.steps[index], reading)
        if index in reading.outside:
            phrase = _outside(reading.outside[index], reading)
            if _is_of_user(index, reading):
                return phrase
            found.append(phrase)
    if found:
        return found[0]
    return Phrase(f"{event[1]} {event[2]} of task {_task_name(event[0], first)}", "comes")


def _outside(event: OutsideEvent, reading: Reading) -> Phrase:
    owner = reading.number(event.event[0])
    if event.what in ("sleep", "timeout") and event.seconds is not None and event.place is not None:
        verb = "ends" if event.what == "sleep" else "fires"
        if event.place.rank == 2 or event.what == "timeout":
            return Phrase(f"the {event.what} of {duration(event.seconds)}{_where(event.place, owner, reading)}", verb)
    if event.what == "data":
        request = as_request(event, reading)
        if request is not None:
            return request
    woken = [step for step in reading.woken(event.index) if step.went_on is not None]
    woken.sort(key=lambda step: -step.went_on.rank if step.went_on is not None else 0)
    if not woken or (woken[0].went_on is not None and woken[0].went_on.rank < 2):
        return _of_library(event, reading)
    step = woken[0]
    assert step.went_on is not None
    awaited = _quoted(reading.resumed(step) or step.went_on, step.task, reading)
    if event.what != "data" and _moved_on(step):
        return Phrase(awaited, "completes")
    if event.what == "timer":
        return Phrase(awaited, "goes on")
    return Phrase(f"{_THINGS.get(event.what, 'data')} for {awaited}", "arrives")


#: What comes in, by its kind; else it is data.
_THINGS = {"thread": "the thread's answer", "connection": "the connection", "writable": "room to write"}


def _of_library(event: OutsideEvent, reading: Reading) -> Phrase:
    """Describe what comes in for a library's task, by the user's line for which that works, or by the library."""
    owner = reading.number(event.event[0])
    user = _for_user(event, reading)
    places = [step.went_on for step in reading.woken(event.index) if step.went_on is not None]
    library = next(map(library_of, places), event.subject)
    if event.what in ("timer", "sleep", "timeout") and event.seconds is not None:
        if event.place is not None and event.place.rank == 1:  # it may sleep by the help of another
            library = library_of(event.place)
        noun = "timeout" if event.what == "timeout" else "timer"
        timer = f"the {noun} of {duration(event.seconds)}" if event.seconds else f"the {noun} that is due at once"
        if user is not None:
            return Phrase(f"{timer} for {_quoted(user[1], user[0], reading)}", "fires")
        return Phrase(f"{timer} of {library}" if library else f"{timer}{_where(event.place, owner, reading)}", "fires")
    if user is not None:
        return Phrase(f"{_THINGS.get(event.what, 'data')} for {_quoted(user[1], user[0], reading)}", "arrives")
    is_accepted = event.what == "connection" and event.event[1] == "read"
    if is_accepted and not library:
        return Phrase(f"a connection to the server of {_task(owner, event.event[0], reading)}", "comes in")
    things = {
        "thread": "the answer of a thread",
        "writable": "room to write",
        "connection": "a connection" if is_accepted else "the connection",
    }
    what = things.get(event.what, "data")
    return Phrase(f"{what} for {library or _task(owner, event.event[0], reading)}", "arrives")


def _connection(here: int, tasks: tuple[int, ...], failing: Reading) -> Phrase | None:
    """Describe a connection by the task that it is for, where that is known: those that make it are a library's."""
    event = failing.outside.get(here)
    if not tasks or event is None or event.what != "connection":
        return None
    name = failing.name(tasks[-1])
    subject = f"request {name}" if "/" in name else _task(tasks[-1], failing.seen.paths[tasks[-1]], failing)
    return Phrase(f"the connection for {subject}", "comes in")


def as_request(event: OutsideEvent, reading: Reading) -> Phrase | None:
    """Describe data that a library takes, and that has the user's code begin: a request to a server."""
    step = reading.first_of_user(event.index)
    if step is None or (step.went_on is not None and step.went_on.rank == 2 and not step.is_first):
        return None
    line = next(line for line in step.lines if line.rank == 2)
    name = "" if step.task is None else reading.name(step.task)
    if "/" in name:
        return Phrase(f"{_REQUEST}{name}", "arrives")
    return Phrase(f"the data that starts `{line.function}` ({location(line)})", "arrives")


def _moved_on(step: ObservedStep) -> bool:
    """Whether the task got past what it awaited."""
    if step.ended != "suspended" or step.stopped is None or step.went_on is None:
        return True
    same = (step.stopped.file, step.stopped.line) == (step.went_on.file, step.went_on.line)
    return not same or len(step.lines) > 2


def _step(step: ObservedStep, reading: Reading) -> Phrase:
    if step.task is None:
        return Phrase(f"a callback of task {_task_name(step.event[0], reading)}", "runs")
    is_users = any(place is not None and place.rank == 2 for place in (step.went_on, step.stopped, *step.lines))
    user = None if is_users else reading.behind(step.task, step.index)
    if user is not None:
        return Phrase(
            f"a library's task for {_quoted(user[1], user[0], reading)}", "starts" if step.is_first else "goes on"
        )
    if step.is_first:
        return Phrase(f"task {reading.name(step.task)}", "starts")
    if step.went_on is not None:
        return Phrase(f"{_quoted(step.went_on, step.task, reading)}", "goes on")
    return Phrase(f"task {reading.name(step.task)}", "goes on")


def _start_order(event: EventId, condition: EventId, failing: Reading) -> Order:
    late, early = _task_name(event[0], failing), _task_name(condition[0], failing)
    entries = tuple(i for path in (condition[0], event[0]) for i in _entry((path, STEP, 1), failing))
    first = failing.steps.get(entries[0]) if entries else None
    starter = failing.steps.get(first.cause) if first is not None and first.cause is not None else None
    where = ""
    if starter is not None and starter.stopped is not None:
        together = cut(starter.stopped.awaited or starter.stopped.text, _CODE_WIDTH)
        where = f", though `{together}` ({location(starter.stopped)}) starts {late} first"
    return Order(event, Phrase(f"task {early}", "starts"), "before", Phrase(f"task {late}{where}"), entries)


def _quoted(place: Place, task: int | None, reading: Reading) -> str:
    return f"`{cut(place.awaited or place.text, _CODE_WIDTH)}`{_where(place, task, reading)}"


def _where(place: Place | None, task: int | None, reading: Reading) -> str:
    parts = [] if place is None else [location(place)]
    if task is not None and task > reading.seen.test:
        parts.append(f"task {reading.name(task)}")
    return f" ({', '.join(parts)})" if parts else ""


def _task(number: int | None, path: object, reading: Reading) -> str:
    """Return "task fetch", or "the test"; what asyncio's own task does with a connection is for that."""
    if number is not None and reading.name(number).startswith(ACCEPTED) and isinstance(path, tuple):
        return f"a connection to the server of {_task(reading.number(path[:-1]), path[:-1], reading)}"
    return "the test" if number == reading.seen.test else f"task {_task_name(path, reading)}"


def _task_name(path: object, reading: Reading) -> str:
    number = reading.number(path) if isinstance(path, tuple) else None
    if number is None:
        return ".".join(map(str, path)) if isinstance(path, Iterable) else str(path)
    return reading.name(number)
