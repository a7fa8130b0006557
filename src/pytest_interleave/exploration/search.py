"""Look for a schedule under which a test fails.

Stages, in this order (numbers as in the design; 2 and 4, which need to see reads and writes, are not built):

0. asyncio's own order, which must pass; once more at the end, when it must be the same run.
1. schedules that failed before.
6. operations under ``interrupt``, cancelled at each suspension in each way, then once more while they clean up. A few
   times as many runs as there are suspensions, so it comes before all that has no end.
3. each outside event, one at a time: held back until nothing else can come, or let in at once; then moved behind or
   before another. So are deadlines that were not reached. All schedules, where they are few.
5. random strategies, in turn with stage 3: POS, PCT, random latency. (Measured on 23 known bugs: POS alone needs a
   geometric mean of 12 runs, the extremes of stage 3 in turn with it 10.)

Then, with what is left of the budget, or once no order is new any more, orders that asyncio never makes: they give a
note, not a failure (``odd_orders.py``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import cycle, islice, zip_longest
from pathlib import PurePath
from random import Random

from pytest_interleave.clock.real import perf_counter, process_time
from pytest_interleave.errors import ClocksUnavailable, LeftBehind, RunEnded, Spinning, TimeLimit
from pytest_interleave.exploration import again
from pytest_interleave.exploration.brief import Limited, brief
from pytest_interleave.exploration.execution import Limits
from pytest_interleave.exploration.odd_orders import has_several_tasks, odd_orders
from pytest_interleave.exploration.outcomes import Exploration, Failure
from pytest_interleave.exploration.result import Execute, RunResult, Signature, differ_in_timing
from pytest_interleave.exploration.shrink import Spent, ddmin, shrink_vector
from pytest_interleave.schedule import (
    AGAIN,
    CANCEL,
    CANCELLATIONS,
    CUTS,
    DRAW,
    GONE,
    ODD,
    OUTSIDE,
    SPLITS,
    STEP,
    WAITING,
    Decider,
    EventId,
    Fifo,
    Vector,
    are_held,
)
from pytest_interleave.strategies.guided import NEVER, Guided, answer, repeat
from pytest_interleave.strategies.in_pieces import InPieces
from pytest_interleave.strategies.latency import Latency
from pytest_interleave.strategies.pct import Pct
from pytest_interleave.strategies.pos import Pos

#: What may be spent on shrinking one failure, and on repeating it: runs, seconds of computing (a busy machine does as
#: well as an idle one), and real seconds, some of which a run may wait.
_SHRINK_REPLAYS = 100
_SHRINK_SECONDS = 1.0
_SHRINK_REAL_SECONDS = 10.0
_REPEATS = 5
_REPEATS_SECONDS = 2.0
_REPEATS_REAL_SECONDS = 5.0
#: More constraints than this are not left to ddmin alone.
_MANY = 3
#: So many events that were overtaken are tried as all that it takes.
_MOST_LATE = 10
#: A run that fails in virtual time is repeated in real time, but not without need where that takes longer.
_LONG_SECONDS = 10.0
#: A tree of choices is walked whole if it may be this small.
_SMALL_TREE = 6
#: So many of the user's deadlines that are not reached in asyncio's own order are let in at each turn.
_MOST_UNFIRED = 8
#: A timer is let in with each of so many arrivals before it, and what is late behind each of so many after it, or some
#: steps behind these; and at any of so many places.
_MOST_BACK = 20
_MOST_LATER = 8
_MOST_PLACES = 40
_STEPS_BEHIND = 4
#: At so many suspensions of its clean-up an operation is cancelled a second time.
_MOST_AGAIN = 4
#: After so many runs without a new order, or a quarter of the budget, the search for those that asyncio makes ends.
_SATURATED_RUNS = 100
#: How much of the budget goes to orders that asyncio never makes, where all others were tried.
_ODD_SHARE = 0.2
#: How much of the budget ``--interleave-cancel`` may take.
_CUT_SHARE = 0.7


def repeat_and_label(failure: Failure, execute: Execute, mode: str, unstretched: Execute | None) -> None:
    """Repeat the failure a few times, fewer if that takes long, and say what it takes."""
    cost = _Cost(_REPEATS_SECONDS, _REPEATS_REAL_SECONDS)
    while failure.repeats < _REPEATS and not (failure.repeats and cost.is_spent()):
        failure.repeats += 1
        failure.reproduced += execute(repeat(failure)).signature == failure.signature
    if not failure.is_own_order:
        failure.label = label_for(failure, mode, unstretched)


class _FailsAgain(Exception):
    """The first run has passed, and every other fails in asyncio's own order."""


class _OnlyInVirtualTime(Exception):
    """A run of asyncio's own order came to no end in virtual time, though not the first one, and does in real time."""


class _Cost:
    """What has been spent since it was made, of computing and of real time."""

    def __init__(self, seconds: float, real_seconds: float) -> None:
        self._end, self._real_end = process_time() + seconds, perf_counter() + real_seconds

    def is_spent(self) -> bool:
        """Whether either has come to its limit."""
        return process_time() > self._end or perf_counter() > self._real_end


@dataclass(slots=True)
class Budget:
    """How much one exploration may cost. Whichever ends first."""

    runs: int = 200
    seconds: float = 1.0


class Search:
    """One exploration of one test; ``execute`` makes its runs."""

    def __init__(
        self,
        execute: Execute,
        *,
        seed: int,
        mode: str = "realistic",
        budget: Budget | None = None,
        saved: Iterable[Decider] = (),
        is_repeated_by_caller: bool = False,
        order_only: str = "note",
        in_real_time: Callable[[], RunResult] | None = None,
        unstretched: Execute | None = None,
        with_clocks: Callable[[], RunResult] | None = None,
        clocks_setting: str = "clocks=True",
        cancel: bool = False,
        limited: Limited | None = None,
    ) -> None:
        self.execute = execute
        self.is_repeated_by_caller = is_repeated_by_caller
        self.order_only = order_only
        self.in_real_time = in_real_time
        self.unstretched = unstretched
        self.limited = limited
        #: Makes a run with virtual clocks; None: they are virtual anyway. And how to ask for them.
        self.with_clocks = with_clocks
        self.clocks_setting = clocks_setting
        self.cancel = cancel
        self.budget = budget or Budget()
        self.saved = saved
        self.random = Random(seed)
        self.exploration = Exploration(seed=seed, mode=mode)
        self._orders: set[int] = set()
        self._recent_new: list[bool] = []
        self._has_drawn = False
        #: For each event that was moved: for what else it could have waited in the runs that were made.
        self._alike: dict[EventId, set[EventId]] = {}
        #: What came before each event that was held back until nothing else could come.
        self._held_back: dict[EventId, list[EventId]] = {}
        self._started = perf_counter()
        #: Every cancellation was tried, and no such run had other choice points.
        self._tried_all_cancellations = False

    # -- runs ----------------------------------------------------------------------------------------------------

    def run(self) -> Exploration:
        """Explore until a failure is found, everything was tried, or the budget is spent."""
        done = self.exploration
        try:
            done.verdict = self._stages()
        except _FailsAgain:
            again.note(done, done.failures.pop().signature)
        except _OnlyInVirtualTime:
            done.verdict = "inconclusive"
        finally:
            done.seconds = perf_counter() - self._started
            done.orders = len(self._orders)
            recent = self._recent_new[-50:]
            done.share_new = sum(recent) / len(recent) if recent else 0.0
        return done

    def _run(self, decider: Decider) -> RunResult:
        self.exploration.runs += 1
        result = self.execute(decider)
        if decider.splits:  # another way to read, not another order
            return result
        fingerprint = result.trace.fingerprint()
        self._recent_new.append(fingerprint not in self._orders)
        self._orders.add(fingerprint)
        self._has_drawn = self._has_drawn or result.has_drawn
        return result

    def _has_budget(self, share: float = 1.0) -> bool:
        budget = self.budget
        # Where a share is kept for later, one run at least is: asyncio's own order is repeated at the end.
        runs = budget.runs if share == 1 else min(budget.runs * share, budget.runs - 1)
        if perf_counter() - self._started >= budget.seconds * share:
            self.exploration.is_out_of_time = True
            return False
        return self.exploration.runs < runs

    def _stages(self) -> str:
        done = self.exploration
        first = self._run(Fifo())
        done.baseline, done.steps = first, first.steps
        if self._is_too_long(first):
            return "inconclusive"
        done.points = first.points + first.starts
        if first.error is not None:
            if self._passes_in_real_time(first):
                return "inconclusive"
            self._found(first, label="stock")
            return "failed"
        done.suspensions = len(first.suspensions())
        if self.is_repeated_by_caller and done.nothing_to_choose and not self.cancel:
            done.runs += 1
            return "failed" if self._has_odd_failure(first) else "exhausted"
        if done.nothing_to_choose and not self.cancel and done.mode in ("stock", "realistic"):
            if self._differs_when_repeated(first) or self._has_odd_failure(first):
                return "failed"
            return self._verdict("exhausted")
        for decider in self.saved:
            if self._try(decider):
                return "failed"
        if self.cancel and self._cut_everywhere():
            return "failed"
        if self.cancel and not done.points + done.suspensions and done.mode in ("stock", "realistic"):
            return "exhausted" if done.cuts_tried == done.cuts else "sampled"
        if done.mode == "portable" and self._split_everything(first):
            return "failed"
        orders_share = 0.85 if done.mode in ("stock", "realistic") else 0.3
        if done.suspensions:
            if self._cancel_everywhere(first, orders_share):
                return "failed"
            if self._tried_all_cancellations and not done.points:
                return "failed" if self._differs_when_repeated(first) else self._verdict("exhausted")
        if first.points or done.suspensions:
            if self._walk_small_tree(first):
                if done.failures or self._differs_when_repeated(first):
                    return "failed"
                return "failed" if self._look_for_notes(first, _ODD_SHARE) else self._verdict("exhausted")
            for decider in self._mixed(first):
                if not self._has_budget(orders_share) or self._is_saturated():
                    break
                if self._try(decider):
                    return "failed"
        if self._differs_when_repeated(first) or self._look_for_notes(first):
            return "failed"
        return self._verdict("sampled")

    def _verdict(self, best: str) -> str:
        """Return what may be claimed once asyncio's own order was repeated."""
        if self.exploration.reason:
            return "inconclusive"
        return "sampled" if self.exploration.varies_outside else best

    # -- stages --------------------------------------------------------------------------------------------------

    def _walk_small_tree(self, first: RunResult) -> bool:
        """Try every schedule, if there are few choice points. True: done, with or without a failure."""
        if len(first.widths) > _SMALL_TREE or first.starts or self.exploration.suspensions:
            return False
        if not self._has_budget(0.5):
            return False
        prefix: list[int] = []
        while True:
            result = self._run(Vector(prefix))
            if self._judge(result):
                return True
            if not self._has_budget(0.5):
                return False
            vector, widths = result.vector, result.widths
            while vector and vector[-1] + 1 >= widths[len(vector) - 1]:
                vector = vector[:-1]
            if not vector:
                return True
            prefix = [*vector[:-1], vector[-1] + 1]

    def _cancel_everywhere(self, first: RunResult, share: float) -> bool:
        """Cancel each operation that may be interrupted at each suspension. True: that ends the search."""
        done = self.exploration
        # Each with the number of suspensions that were tried when it was.
        todo: deque[tuple[int, dict[EventId, EventId]]] = deque()
        operations = [suspension for suspension in first.suspensions() if suspension[0][1] == CANCEL]
        for number, (event, ways) in enumerate(operations, start=1):
            for way in range(1, ways + 1):
                todo.append((number if way == ways else 0, {event: answer(way)}))
        has_met_others = False
        while todo:
            if not self._has_budget(share):
                return False
            number, constraints = todo.popleft()
            result = self._run(Guided(constraints))
            if self._judge(result):
                return True
            done.suspensions_tried = max(done.suspensions_tried, number)
            has_met_others = has_met_others or result.points + result.starts > 0
            if len(constraints) == 1:
                again = [event for event, _ in result.suspensions() if event[1] == AGAIN]
                todo += [(0, {**constraints, event: answer(WAITING)}) for event in again[:_MOST_AGAIN]]
        self._tried_all_cancellations = not has_met_others
        return False

    def _cut_everywhere(self) -> bool:
        """Cancel each task, and the test, at each suspension, once a run. True: that ends the search."""
        done = self.exploration
        census = self._run(Guided({}, is_cut=True))
        if census.gave_up or census.error is not None:
            return False
        cuts = [(event, ways) for event, ways in census.suspensions() if event[1] in CUTS]
        # A handler whose client is cancelled is cut as well, and its own await is what a report should name.
        cuts.sort(key=lambda cut: cut[0][1] != GONE)
        done.cuts = len(cuts)
        for event, ways in cuts:
            for way in range(1, ways + 1):
                if not self._has_budget(_CUT_SHARE):
                    return False
                result = self._run(Guided({event: answer(way)}))
                if result.failed and isinstance(result.error, LeftBehind) and not self._found(result):
                    return True
            done.cuts_tried += 1
        return False

    def _split_everything(self, first: RunResult) -> bool:
        """Have all that comes over connections read in pieces, in each way. True: that ends the search."""
        if not _reads(first):
            return False
        for way in SPLITS:
            pieces = InPieces(way)
            if not self._has_budget():
                return False
            if self._try(pieces):
                return True
            if not pieces.asked or self.exploration.notes:
                return False
        return False

    def _extremes(self, first: RunResult) -> Iterator[Decider]:
        """Hold each outside event back until nothing else can come; let each timer fire as soon as it is set."""
        all_events = first.trace.events()
        events = [event for event in all_events if event[1] in OUTSIDE]
        for event in events:
            yield from self._moved(event, NEVER, all_events)
        for event in events[1:]:
            if event[1] in ("timer", "thread"):
                yield from self._moved(event, (), all_events)

    def _moved(self, event: EventId, condition: EventId, events: Sequence[EventId]) -> Iterator[Decider]:
        """Have the event wait for that alone, and learn what other conditions would come to the same."""
        decider = Guided({event: condition})
        yield decider
        before = decider.before(event)
        self._alike.setdefault(event, set()).update(decider.alike(event, before, events), (condition,))
        if condition == NEVER:
            self._held_back[event] = before

    def _mixed(self, first: RunResult) -> Iterator[Decider]:
        """Take turns between the extremes and POS, then between all the strategies and small moves of one event."""
        pos = self._random(lambda random: Pos(random))
        deadlines = self._reached_deadlines(first)
        draws = self._single_draws(first)
        for decider in self._extremes(first):
            yield decider
            yield next(pos)
            yield from islice(deadlines, 2)
            yield from islice(draws, 1)
        points = max(first.points, 1)
        moves = self._postponements(first)
        pct = self._random(lambda random: Pct(random, 3, points))
        latency = self._random(lambda random: Latency(random, points))
        for strategy in cycle((pos, moves, deadlines, draws, pos, pct, moves, deadlines, draws, pos, moves, latency)):
            decider_or_none = next(strategy, None)
            if decider_or_none is not None:
                yield decider_or_none

    def _reached_deadlines(self, first: RunResult) -> Iterator[Decider]:
        """Let each deadline be reached at each turn until what it guards was done, first with what came in by then."""
        events = first.trace.events()
        reached = [
            (deadline, events[index])
            for deadline, begin, end in first.unfired()[:_MOST_UNFIRED]
            for index in range(begin, end)
        ]
        self.random.shuffle(reached)
        reached.sort(key=lambda pair: pair[1][1] not in OUTSIDE)
        for deadline, condition in reached:
            if condition not in self._alike.get(deadline, ()):
                yield from self._moved(deadline, condition, events)

    def _single_draws(self, first: RunResult) -> Iterator[Decider]:
        """Give each thing that is drawn each of its values, all else as asyncio would."""
        values = [Guided({draw: answer(value)}) for draw, ways in first.draws for value in range(1, ways)]
        self.random.shuffle(values)
        yield from values

    def _random(self, make: Callable[[Random], Decider]) -> Iterator[Decider]:
        while True:
            yield make(Random(self.random.random()))

    def _differs_when_repeated(self, first: RunResult) -> bool:
        """Run asyncio's own order again: it must pass again, and be the same run."""
        done = self.exploration
        if done.runs >= self.budget.runs:
            return False
        second = self._run(Fifo())
        if self._is_too_long(second):
            return False
        if second.failed:
            if self._passes_in_real_time(second, has_passed=True):
                return False
            done.reason = "it fails in asyncio's own order, but not each time"
            self._found(second, label="stock")
            return True
        if second.trace.events() != first.trace.events():
            done.varies_outside = differ_in_timing(first, second)
            if not done.varies_outside:
                done.own_order_varies = True
                done.reason = "two runs in asyncio's own order differ"
        return False

    def _is_too_long(self, own_order: RunResult) -> bool:
        """Whether asyncio's own order came to no end here: it may compute as long as it likes."""
        if not own_order.gave_up and not isinstance(own_order.error, Spinning):
            return False
        self.exploration.reason = str(own_order.error)
        return True

    def _passes_in_real_time(self, failed: RunResult, *, has_passed: bool = False) -> bool:
        """Whether it takes virtual time to fail in asyncio's own order: then that is no news about the test.

        It compares a real clock with its sleeps, or a thread of it sleeps. ``has_passed``: but not always.
        """
        done = self.exploration
        # Who looks again and again whether a real second has passed sees none pass before the virtual limit.
        is_over_limit = _is_over_limit(failed)
        if self.in_real_time is None or (isinstance(failed.error, RunEnded) and not is_over_limit):
            return False
        if self._heeds_no_clock(failed):
            return False
        if self.in_real_time().error is not None:
            return False
        kind, place = failed.signature or ("", "")
        how = "it comes to no end" if is_over_limit else f"it fails with {kind} ({PurePath(place).name})"
        if has_passed or self.execute(Fifo()).error is None:  # no clock is to blame
            done.reason = f"{how} in asyncio's own order, but not each time, and not in real time"
        else:
            done.reason = f"{how} in virtual time only: {self._clock_read(failed)}"
        done.passes_in_real_time = True
        return True

    def _heeds_no_clock(self, failed: RunResult) -> bool:
        """Whether a long run failed by itself alone, and fails alike where Python's clocks follow the loop.

        Then nobody need wait for up to a minute, to hear of an assertion that is wrong at any pace. What shorter runs
        fail by may be measured otherwise: by the age of a file, say.
        """
        has_threads = any(event[1] == "thread" for event in failed.trace.events())
        if failed.seconds < _LONG_SECONDS or failed.heeds_real_time or has_threads:
            return False
        try:
            return self.with_clocks is None or self.with_clocks().signature == failed.signature
        except ClocksUnavailable:
            return False

    def _clock_read(self, failed: RunResult) -> str:
        """Say what the test measures real time by, and what can be done about it.

        Clocks are not made virtual unasked: such tests often say how long something may take at most, and to explore
        is to make it take longer.
        """
        if self.with_clocks is None:
            return (
                "it measures the real time of something that is not in the loop, while Python's clocks are virtual: "
                "clocks=False leaves them real"
            )
        setting = self.clocks_setting
        try:
            passes = self.with_clocks().error is None
        except ClocksUnavailable as why:
            return f"it measures real time. If it does so by Python's clocks, {setting} makes them virtual: {why}"
        if passes:
            return f"it reads Python's clocks, which are real. With {setting} they are virtual, and it passes"
        cause = "it measures real time, and not by Python's clocks alone"
        if _reads(failed):  # which takes no virtual time
            cause += ", or one of its sleeps ends in real time before what it reads has come"
        return f"{cause}: it fails with {setting}, too"

    def _postponements(self, first: RunResult) -> Iterator[Decider]:
        """Move one outside event at a time: behind what comes next, or right behind a step long before it.

        What comes next is what came while it was held back: much of what asyncio's own order shows waits for it.
        Most such moves come to the same: an event that waits for one step or for the next comes in behind both, if
        nothing can come in between. So the conditions that a run has shown to be alike are left out.
        """
        events = first.trace.events()
        moves: list[tuple[int, EventId, EventId]] = []
        for index, event in enumerate(events):
            if event[1] not in OUTSIDE:
                continue
            without = self._held_back.get(event, events)
            later = range(index if without is not events else index + 1, len(without))
            moves += [(distance, event, condition) for distance, condition in _places(without, later, _MOST_LATER)]
            if event[1] in ("timer", "thread"):  # it may come at any turn since it was set
                earlier = range(index - 1, -1, -1)
                moves += [(distance, event, condition) for distance, condition in _places(events, earlier, _MOST_BACK)]
        moves.sort(key=lambda move: move[0])
        for event, condition in _in_turn(moves):
            if event != condition and condition not in self._alike.get(event, ()):
                yield from self._moved(event, condition, events)

    def _is_saturated(self) -> bool:
        """Whether the last runs brought no order that was new: what is left of the budget serves odd orders better."""
        most = max(_SATURATED_RUNS // 4, min(_SATURATED_RUNS, self.budget.runs // 4))
        recent = self._recent_new[-most:]
        return len(self._recent_new) > most and not any(recent) and not self._has_drawn

    def _has_odd_failure(self, first: RunResult) -> bool:
        """Look for notes on a test that leaves nothing to choose, in odd orders if it has tasks enough."""
        if has_several_tasks(first):
            return self._look_for_notes(first, _ODD_SHARE)
        return self.order_only != "off" and self._has_note_on_pieces(first)

    def _has_note_on_pieces(self, first: RunResult) -> bool:
        """Look for a reader that takes what it reads for a message. It may be a double of the test's, hence a note."""
        return self.exploration.mode == "realistic" and self._split_everything(first)

    def _look_for_notes(self, first: RunResult, share: float = 1.0) -> bool:
        """Try what gives a note, with that share of the budget. True: one of them is a failure."""
        done = self.exploration
        if done.notes or self.order_only == "off":
            return False
        if self._has_note_on_pieces(first):
            return True
        most = done.runs + self.budget.runs * share
        turns = 3 if done.mode == "portable" else 4
        for decider in odd_orders(first, self.random, turns):
            if not self._has_budget() or done.runs >= most:
                break
            if self._try(decider) or done.notes:
                break
        return bool(done.failures)

    # -- failures ------------------------------------------------------------------------------------------------

    def _try(self, decider: Decider) -> bool:
        return self._judge(self._run(decider))

    def _judge(self, result: RunResult) -> bool:
        """Keep the run if it failed. True if it ends the search."""
        if not result.failed:
            return False
        return not self._found(result)

    def _found(self, result: RunResult, label: str | None = None) -> bool:
        """Shrink the failure, repeat it, and put it where it belongs. True: it is but a note."""
        done = self.exploration
        assert result.error is not None
        signature = result.signature
        assert signature is not None
        found_in_run, error = done.runs, result.error
        limits: Limits | None = None
        if self.limited is not None:
            decider = Vector(result.vector, holds_steps=are_held(result.constraints()))
            found = brief(self.execute, self.limited, decider, result, done.baseline)
            if found is not None:
                limits, result = found
        with self.limited(limits) if self.limited and limits else nullcontext():
            failure = self._reduced(result, signature, label)
        failure.found_in_run, failure.limits = found_in_run, limits
        if limits:
            failure.error = error
        is_own_order = label is None and failure.constraints == {}
        if is_own_order and _is_over_limit(result) and self._passes_in_real_time(result, has_passed=True):
            raise _OnlyInVirtualTime
        is_note = (failure.label == "order-only" and done.mode != "permissive") or (
            done.mode == "realistic" and failure.is_split
        )
        (done.notes if is_note else done.failures).append(failure)
        if found_in_run == 2 and failure.constraints == {} and failure.reproduced == failure.repeats:
            raise _FailsAgain
        return is_note

    def _reduced(self, result: RunResult, signature: Signature, label: str | None) -> Failure:
        """Shrink the failure, repeat it and label it."""
        done = self.exploration
        assert result.error is not None
        constraints, vector, smallest = self._shrink(result, signature) if label is None else ({}, [], result)
        failure = Failure(
            error=smallest.error or result.error,
            signature=signature,
            label="stock",
            found_in_run=done.runs,
            seed=done.seed,
            constraints=constraints,
            vector=vector,
            result=smallest,
            holds_steps=are_held(result.constraints()),
        )
        repeat_and_label(failure, self.execute, done.mode, self.unstretched)
        return failure

    def _shrink(
        self, result: RunResult, signature: Signature
    ) -> tuple[dict[EventId, EventId] | None, list[int], RunResult]:
        cost = _Cost(_SHRINK_SECONDS, _SHRINK_REAL_SECONDS)
        replays = 0
        best = result

        def fails(decider: Decider) -> bool:
            nonlocal replays, best
            replays += 1
            if replays > _SHRINK_REPLAYS or cost.is_spent():
                raise Spent
            again = self.execute(decider)
            if again.failed and again.signature == signature:
                best = again
                return True
            return False

        def find_late(constraints: dict[EventId, EventId]) -> dict[EventId, EventId] | None:
            """Say the same with one late event, and whatever else is no matter of when something comes in."""
            others = {event: condition for event, condition in constraints.items() if event[1] not in OUTSIDE}
            for event, condition in islice(best.late().items(), _MOST_LATE):
                guess = {**others, event: condition}
                if len(guess) < len(constraints) and fails(Guided(guess)):
                    return guess
            return None

        constraints = result.constraints()
        known: dict[EventId, EventId] | None = None
        with suppress(Spent):
            if len(constraints) > _MANY:
                known = find_late(constraints)
            if known is None and len(constraints) > _MANY:
                guess = next((guess for guess in guesses(constraints) if fails(Guided(guess))), None)
                if guess is not None:
                    constraints = best.constraints()
                    exact = {event: constraints[event] for event in guess if event in constraints}
                    known = exact if fails(Guided(exact)) else None
            if known is None and fails(Guided(constraints)):
                known = constraints
        if known is not None:
            least = dict(ddmin(list(known.items()), lambda part: fails(Guided(dict(part)))))
            if len(least) > 1:
                with suppress(Spent):
                    least = find_late(least) or least
            return least, best.vector, best
        holds = are_held(constraints)
        vector = shrink_vector(best.vector, lambda part: fails(Vector(part, holds_steps=holds)))
        return None, vector, best


def _places(events: Sequence[EventId], indices: Sequence[int], arrivals: int) -> Iterator[tuple[int, EventId]]:
    """Yield for what an event may wait, and how far that is: with what comes in, some steps behind it, anywhere."""
    outside = [index for index in indices if events[index][1] in OUTSIDE]
    for distance, index in enumerate(outside[:arrivals]):
        yield distance, events[index]
        steps = [event for event in events[index : index + _STEPS_BEHIND] if event[1] in (STEP, "call")]
        for hop, step in enumerate(steps):
            yield distance + 1 + hop, step
    for distance, index in enumerate(indices[:_MOST_PLACES]):
        yield distance, events[index]


def _in_turn(moves: Iterable[tuple[int, EventId, EventId]]) -> Iterator[tuple[EventId, EventId]]:
    """Yield the moves in turn by kind: what may come at any turn meets another event, or steps; and all others.

    Most moves are of what arrives. The few of a timer must not stand behind all of those that are as near.
    """
    kinds: tuple[list[tuple[EventId, EventId]], ...] = [], [], []
    for _, event, condition in moves:
        kind = 2 if event[1] not in ("timer", "thread") else condition[1] not in OUTSIDE
        kinds[kind].append((event, condition))
    for turn in zip_longest(*kinds):
        yield from (move for move in turn if move is not None)


def _is_over_limit(result: RunResult) -> bool:
    """Whether the run came to the limit of virtual time."""
    return isinstance(result.error, TimeLimit) and not result.error.is_real


def _reads(result: RunResult) -> bool:
    return any(type(entry) is tuple and entry[0] == "read" for entry in result.trace.entries)


def guesses(constraints: dict[EventId, EventId]) -> Iterator[dict[EventId, EventId]]:
    """Yield what may be all that a failure takes, where ddmin may miss it among many.

    With a fault of the network that is the fault, whatever came in another order as well; most failures else that a
    random schedule finds take one event: a timer that fired when it did, or a late one.
    """
    draws = {event: value for event, value in constraints.items() if event[1] == DRAW}
    if draws:
        yield draws
    timers = [event for event in constraints if event[1] == "timer" and constraints[event] != NEVER]
    for event in timers[:_MOST_LATE]:
        yield {**draws, event: constraints[event]}
    for event in constraints:
        if event[1] in OUTSIDE:
            yield {**draws, event: NEVER}


def label_for(failure: Failure, mode: str, unstretched: Execute | None) -> str:
    """Say which schedules show the failure; ``unstretched`` makes a run in which all lasts as long as it says."""
    constraints = failure.constraints
    if failure.is_split:
        return "latency"
    if failure.holds_steps if constraints is None else any(x[1] in ODD for x in constraints):
        return "version-fragile" if mode == "portable" else "order-only"
    if mode == "stock" or (constraints and all(event[1] in CANCELLATIONS for event in constraints)):
        return "stock"
    if unstretched is not None and unstretched(repeat(failure)).signature == failure.signature:
        return "stock"
    return "latency"
