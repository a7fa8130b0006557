"""The report of a failure, and the lines of a summary, as text."""

from __future__ import annotations

import textwrap
import traceback

from pytest_interleave.errors import Blocked, StepLimit, TimeLimit
from pytest_interleave.exploration.outcomes import Explanation, Exploration, Failure, Trial
from pytest_interleave.origins import rank
from pytest_interleave.report.deadlock import render_deadlock
from pytest_interleave.report.reading import Reading, location, wrap
from pytest_interleave.report.sentence import needs_held_up_loop, read_orders, sentence
from pytest_interleave.report.table import table
from pytest_interleave.trace import Place

_LABELS = {
    "stock": "asyncio can do this as it is",
    "latency": "asyncio can do this, when the timing falls so",
    "version-fragile": "another Python, or another event loop, may do this",
    "order-only": "asyncio itself never makes this order",
}

#: Said of data that is read in pieces.
_NO_MESSAGES = "a connection has no messages, and a network may hand on in pieces what was sent at once"

#: How a test says that two callers are independent, for notes.
_TWO_CALLERS = """\
async def arrives(call):           # beside the test, not inside it
    await asyncio.sleep(0.01)      # as long as you like: which one arrives first is explored
    return await call

await asyncio.gather(arrives(one()), arrives(other()))"""


def sentence_of(failure: Failure) -> str:
    """Return what the failure takes, in one sentence without a full stop."""
    if failure.explanation is None:
        kind, place = failure.signature
        return f"fails with {kind} at {place}" if place else f"fails with {kind}"
    return sentence(failure.explanation, verb=_verb(failure.error))


def _verb(error: BaseException) -> str:
    if isinstance(error, Blocked):
        return "deadlocks"
    return "goes round for ever" if isinstance(error, StepLimit) else "fails"


def render_failure(
    failure: Failure, exploration: Exploration, *, replay_command: str = "", is_error_shown: bool = True
) -> str:
    """Return the whole report: sentence, label, what happened, verdict and how to see it again.

    ``is_error_shown``: whoever reads it sees the exception elsewhere, as pytest shows it.
    """
    meaning = _LABELS.get(failure.label, "")
    if failure.label == "order-only" and needs_held_up_loop(failure.constraints or {}):
        meaning = "asyncio makes this order only while a step holds the loop up"
    if failure.is_split:
        meaning = _NO_MESSAGES
    parts = [
        wrap(_capital(sentence_of(failure)) + "."),
        wrap(f"{failure.label}: {meaning}. {_reproduced(failure)}"),
    ]
    if failure.explanation is not None:
        parts += _what_happened(failure, failure.explanation)
    if not is_error_shown:
        parts.append(_error(failure.error))
    parts.append(_verdict(failure, exploration))
    if replay_command:
        parts[-1] += f"\nReplay it:  {replay_command}"
    return "\n\n".join(part for part in parts if part)


def _error(error: BaseException) -> str:
    """Return the exception with the user's lines that it went through."""
    if isinstance(error, Blocked):  # the table of who waits says it all
        return ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if rank(frame.filename) == 2]
    lines = [f"  {location(Place(frame.filename, frame.lineno or 0, frame.name))}  {frame.line}" for frame in frames]
    return "\n".join([*lines, *"".join(traceback.format_exception_only(error)).rstrip().splitlines()])


def _what_happened(failure: Failure, explanation: Explanation) -> list[str]:
    if not explanation.is_same:
        return ["When it was run once more to see what happens, it did not fail in the same way: no table."]
    reading = Reading(explanation.failing)
    found = explanation.deadlock
    if found is not None and isinstance(failure.error, Blocked):
        return [render_deadlock(found, reading.name)]
    parts = [table(explanation, read_orders(explanation))]
    if found is not None:
        is_idle = explanation.failing.idle is not None
        moment = "Before that, a deadlock" if is_idle else "At the end, tasks are left that nothing wakes"
        if isinstance(failure.error, TimeLimit) and not is_idle:
            moment = "When its time was over,"
        parts.append(render_deadlock(found, reading.name, moment=moment))
    return parts


def _reproduced(failure: Failure) -> str:
    if not failure.repeats:
        return ""
    text = f"Reproduced {failure.reproduced} of {failure.repeats}"
    if failure.reproduced < failure.repeats:
        return f"{text}: something outside the schedule has a say."
    return f"{text}{_tried_on_plain_loop(failure.tried)}."


def _tried_on_plain_loop(trial: Trial | None) -> str:
    if trial is None:
        return ""
    if trial.outcome == "not tried":
        return f"; not tried on a plain loop: {trial.detail}"
    faster = f", {trial.speed:.2g} times as fast" if trial.speed > 1 else ""
    what = {"same": "it fails the same way", "passed": "it does not fail"}.get(trial.outcome, "it fails otherwise")
    detail = f" ({trial.detail})" if trial.detail else ""
    return f"; on a plain loop, with those delays for real{faster}, {what}{detail}"


def _verdict(failure: Failure, exploration: Exploration) -> str:
    points = _count(exploration.points, "choice point")
    suspensions = exploration.suspensions + exploration.cuts
    if suspensions:
        points = f"{_count(suspensions, 'suspension')} to cancel at, {points}"
    return f"Found in run {failure.found_in_run} of {exploration.runs}; {points}; seed {exploration.seed}."


def render_note(failure: Failure, exploration: Exploration, *, replay_command: str = "") -> str:
    """Return the short text for a failure that asyncio's own order cannot show."""
    kind = failure.signature[0]
    where = ""
    if failure.explanation is not None and failure.explanation.failing.error_places:
        where = f" ({location(failure.explanation.failing.error_places[-1])})"
    if failure.is_split:
        text = sentence_of(failure).partition(" if ")[2]
        parts = [
            wrap(
                f"latency: fails with {kind}{where} if {text}: {_NO_MESSAGES}. A bug if what reads there meets a "
                "network in production: it should read a line (readline), a known number of bytes (readexactly), or on "
                "until its message is complete. None if it is only a double of the test's."
            )
        ]
        return "\n\n".join([*parts, *([f"See it:  {replay_command}"] if replay_command else [])])
    text = sentence_of(failure).partition(": ")[2] or "another order of steps"
    fails = f"order-only: fails with {kind}{where}"
    if needs_held_up_loop(failure.constraints or {}):
        parts = [
            wrap(
                f"{fails} if the loop is held up between two sleeps of the test, as by a step that takes long: {text}. "
                "A bug if the two may meet in production; none if the second is only there to come after all that the "
                "first leads to. A sleep that stands for work is explored if it stands in a helper beside the test."
            )
        ]
    else:
        parts = [
            wrap(
                f"{fails} in an order that asyncio never makes: {text}. A bug if these are independent in production, "
                "such as two requests; none if the test's order always holds. To say that they are independent, let "
                "each arrive by itself:"
            ),
            textwrap.indent(_TWO_CALLERS, "    "),
        ]
    if replay_command:
        parts.append(f"See it:  {replay_command}")
    return "\n\n".join(parts)


#: Said of runs in which what is outside this process had a say.
_VARIES = "a thread or another process was faster or slower when a run was repeated: a replay may differ, too"


#: Said of tests whose runs take long, so that there were fewer than these.
_OUT_OF_TIME = "its time was up: --interleave-time=S gives it more"
_FEW_RUNS = 20

#: Said of tests that leave nothing to choose.
MOCKS_AT_ONCE = "AsyncMocks answer at once, --interleave-mocks lets them take time"


def render_summary_line(exploration: Exploration) -> str:
    """Return what was explored, in a line."""
    line = _line_with_cuts(exploration)
    if exploration.verdict == "sampled":
        if exploration.is_out_of_time and exploration.runs < _FEW_RUNS:
            line += f"; {_OUT_OF_TIME}"
        if exploration.varies_outside:
            line += f"; {_VARIES}"
    return line


def _line_with_cuts(done: Exploration) -> str:
    if not done.cuts or done.verdict == "failed":
        return _summary_line(done)
    if not done.points + done.suspensions:
        return f"{_count(done.runs, 'run')}: {_tried_cuts(done)}"
    return f"{_summary_line(done)}; {_tried_cuts(done)}"


def _tried_cuts(done: Exploration) -> str:
    """Say at how many of its awaits the test, or a task of it, was cancelled, with nothing left behind."""
    if not done.cuts_tried:
        return f"cancelled at none of {_count(done.cuts, 'await')}"
    if done.cuts_tried < done.cuts:
        return f"cancelled at {done.cuts_tried} of {_count(done.cuts, 'await')}, nothing left behind"
    which = f"each await (tried all {done.cuts})" if done.cuts > 1 else "its only await"
    return f"cancelled at {which}, nothing left behind"


def _summary_line(exploration: Exploration) -> str:
    done = exploration
    runs = _count(done.runs, "run")
    if done.verdict == "failed":
        found = (done.failures or done.notes)[0].found_in_run if done.failures or done.notes else done.runs
        return f"{runs}: failed in run {found}"
    if done.verdict == "inconclusive":
        return f"{runs}: inconclusive" + (f", since {done.reason}" if done.reason else "")
    if done.nothing_to_choose:
        suspensions = _suspensions(done)
        if not suspensions and not done.mocks_at_once:
            return "nothing to explore: 0 suspension points (do its mocks yield?)"
        line = f"nothing to explore: {_count(suspensions, 'suspension point')}"
        line += ", none that could end in another order" if suspensions else ""
        return f"{line}; its {MOCKS_AT_ONCE}" if done.mocks_at_once else line
    if done.suspensions:
        tried = f"{runs}, {_tried(done)}"
        if done.verdict == "exhausted":
            return f"{tried}: exhausted"
        return f"{tried}; {_count(done.orders, 'distinct order')}: sampled"
    if done.verdict == "exhausted":
        return (
            f"all {done.orders} orders of what was observed: exhausted"
            if done.orders > 1
            else "the only order: exhausted"
        )
    share = f"{done.share_new:.0%}".replace("%", " %")
    return f"{runs}, {_count(done.orders, 'distinct order')}, {share} new at the end: sampled"


def render_exploration(exploration: Exploration) -> str:
    """Return the summary line, the failures and the notes: for a script."""
    parts = [render_summary_line(exploration)]
    parts += [str(failure) for failure in exploration.failures]
    parts += [str(note) for note in exploration.notes]
    return "\n\n".join(parts)


def _tried(done: Exploration) -> str:
    """Say at how many of its suspensions what is under ``interrupt`` was cancelled."""
    number = done.suspensions
    if done.suspensions_tried < number:
        return f"cancelled at {done.suspensions_tried} of {_count(number, 'suspension')}"
    return f"cancelled at each suspension (tried all {number})" if number > 1 else "cancelled at its only suspension"


def _suspensions(exploration: Exploration) -> int:
    baseline = exploration.baseline
    if baseline is None:
        return 0
    steps = [entry for entry in baseline.trace.entries if isinstance(entry, int) and entry > 0]
    return max(len(steps) - len(set(steps)), 0)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
