"""The interleaving as a text table: one column a task, one row a step, from top to bottom as it happened.

A row shows the source lines that ran in one step; the last is where the task stopped. Above the row stands what woke
it, where that is an outside event. Only one task runs at a time, so its text may reach over the columns to its right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_interleave.exploration.outcomes import Explanation
from pytest_interleave.report.reading import Reading, cut, duration, file_name, library_of, seconds
from pytest_interleave.report.sentence import Order, as_request
from pytest_interleave.trace import ObservedStep, OutsideEvent, Place

WIDTH = 100
_TIME_WIDTH = 9
_LEAST_TEXT = 44
_MOST_COLUMN = 30
_MOST_TASKS = 5
_MOST_LINES = 6
_VALUE_WIDTH = 32
#: Of a test that pytest runs: what a short one builds first may be of interest.
_MOST_FIRST_LINES = 3
_AROUND = 2
_NOISE = ("def ", "async def ", "class ", "@", "import ", "from ", "nonlocal ", "global ")
_MARKS = {"before": "◂ early", "after": "◂ late", "with": "◂ same loop iteration", "alone": ""}


@dataclass(frozen=True, slots=True)
class Row:
    """One row: what happens in one column. ``task`` None: a remark over all columns."""

    task: int | None
    time: float | None
    lines: tuple[str, ...]


def table(explanation: Explanation, orders: Sequence[Order], *, width: int = WIDTH) -> str:
    """Return the part of the failing run that matters; nothing if no order was changed."""
    if not orders:
        return ""
    reading = Reading(explanation.failing)
    tasks = involved(reading, orders)
    writes = writes_behind_failure(reading, tasks)
    tasks = sorted({*tasks, *(reading.steps[index].task or reading.seen.test for index in writes)})
    rows = select_rows(reading, orders, tasks, writes)
    return render(rows, [(task, reading.name(task)) for task in tasks], width=width) if rows else ""


def involved(reading: Reading, orders: Sequence[Order]) -> list[int]:
    """Return the tasks that matter, at most five, in the order of their numbers."""
    found: list[int] = []

    users = {step.task for step in reading.seen.steps if any(line.rank == 2 for line in step.lines)}

    def add(number: int | None) -> None:
        if number is not None and number not in found and number in users:
            found.append(number)

    failing = reading.failing_step()
    for task in [task for order in orders for task in order.tasks]:
        add(task)
    for entry in [entry for order in orders for entry in order.entries]:
        if entry in reading.steps:
            add(reading.steps[entry].task)
        for step in _led_to(entry, reading):
            add(step.task)
    if failing is not None:
        add(failing.task)
    for path in [path for order in orders for path in (order.event[0], *order.paths)]:
        if len(found) < 3:
            add(reading.number(path))
    add(reading.seen.test if len(reading.seen.paths) > reading.seen.test else None)
    return sorted(found[:_MOST_TASKS])


def writes_behind_failure(reading: Reading, tasks: Sequence[int]) -> list[int]:
    """Return the steps that wrote what the failing line reads, where fewer than two of ``tasks`` did so.

    Behind a server and a client what races may be far from the events that the sentence names.
    """
    failing = reading.failing_step()
    if failing is None:
        return []
    read = {name for line in reading.seen.error_places[-1:] for name in line.reads}
    writing: dict[int, list[int]] = {}
    for step in reading.seen.steps:
        if step.task not in (None, failing.task) and any(line.writes & read for line in step.lines):
            assert step.task is not None
            writing.setdefault(step.task, []).append(step.index)
    if len(writing.keys() & set(tasks)) > 1:
        return []
    others = [task for task in writing if task not in tasks]
    room = max(_MOST_TASKS - len(tasks), 0)
    return [index for task in others[-room:] if room for index in writing[task]]


def select_rows(reading: Reading, orders: Sequence[Order], tasks: Sequence[int], also: Iterable[int] = ()) -> list[Row]:
    """Choose the steps of those tasks around what the sentence names and where it failed; count the rest."""
    wanted = set(tasks)
    failing = reading.failing_step()
    last = failing.index if failing is not None else len(reading.seen.events) - 1
    steps = [step for step in reading.seen.steps if step.index <= last]
    shown = [step for step in steps if step.task in wanted]
    keys = {entry for order in orders for entry in order.entries}
    keys |= {step.index for entry in keys for step in _led_to(entry, reading)}
    keys |= set(also)
    if failing is not None:
        keys.add(failing.index)
    near = [i for i, step in enumerate(shown) if step.index in keys]
    kept = {j for i in near for j in range(i - _AROUND, i + _AROUND + 1)} if near else set(range(len(shown)))
    kept |= {i for i in range(len(shown)) if i - 1 in kept | {-1} and i + 1 in kept}  # a gap of one step saves nothing
    kept_steps = {step.index for i, step in enumerate(shown) if i in kept}
    marks = {order.entries[0]: _MARKS[order.relation] for order in orders if order.entries}
    arrivals = _arrivals(reading, orders, kept_steps, keys, wanted)
    rows: list[Row] = []
    skipped: list[ObservedStep] = []
    main_file = _main_file(reading)
    for index in range(last + 1):
        step = reading.steps.get(index)
        if index in arrivals:
            rows += _gap(skipped)
            skipped = []
            event = reading.outside[index]
            rows.append(Row(arrivals[index], event.time, (_event_text(event, marks.get(index, ""), reading),)))
        elif step is None or step.task is None:
            continue
        elif index in kept_steps:
            rows += _gap(skipped)
            skipped = []
            is_test = step.task == reading.seen.test
            if failing is not None and index == failing.index and step.ended != "raised" and reading.seen.error:
                step = replace(step, ended="raised", error=reading.seen.error)  # a runner's task takes it, and goes on
            lines = _step_lines(step, main_file, marks.get(index, ""), _values(reading, index), is_test=is_test)
            lines = _without_repetition(lines, step.task, rows)
            if lines:
                rows.append(Row(step.task, step.time, lines))
        else:
            skipped.append(step)
    rows += _gap(skipped)
    return rows


def _without_repetition(lines: tuple[str, ...], task: int | None, rows: Sequence[Row]) -> tuple[str, ...]:
    """Leave out the first line if the last row says that the task stood there: it went on within a library."""
    if rows and rows[-1].task == task and rows[-1].lines[-1:] == lines[:1]:
        return lines[1:]
    return lines


def _led_to(entry: int, reading: Reading) -> list[ObservedStep]:
    """Return the steps that an outside event led to; through a library, to the first one with a line of the user's."""
    if entry not in reading.outside:
        return []
    first = reading.first_of_user(entry)
    return reading.woken(entry) + ([] if first is None else [first])


def _arrivals(
    reading: Reading, orders: Sequence[Order], kept: Container[int], keys: Container[int], tasks: Container[int]
) -> dict[int, int]:
    """Return the outside events that led to a step which is shown, with its task, and those that the sentence names.

    A timeout may lead to no step of its own: the task that it cancels was about to go on.
    """
    found: dict[int, int] = {}
    for index, event in reading.outside.items():
        for step in reading.woken(index):
            if step.index in kept and step.task is not None:
                found.setdefault(index, step.task)
        owner = reading.number(event.event[0])
        if index in keys and owner is not None and owner in tasks:
            found.setdefault(index, owner)
    for order in orders:
        columns = [task for task in order.tasks if task in tasks]  # there is not room for all
        if order.entries and columns and order.entries[0] in reading.outside:
            found.setdefault(order.entries[0], columns[-1])
        for entry in order.entries:
            for step in _led_to(entry, reading):
                if step.task is not None and step.task in tasks:
                    found.setdefault(entry, step.task)
        if order.entries and order.entries[0] in reading.outside and reading.seen.test in tasks:
            found.setdefault(order.entries[0], reading.seen.test)  # of a task that has no column
    return found


def _gap(skipped: Sequence[ObservedStep]) -> list[Row]:
    if not skipped:
        return []
    tasks = len({step.task for step in skipped})
    steps = "1 step" if len(skipped) == 1 else f"{len(skipped)} steps"
    return [Row(None, None, (f"… {steps} of {tasks} {'task' if tasks == 1 else 'tasks'} …",))]


def _event_text(event: OutsideEvent, mark: str, reading: Reading) -> str:
    if event.what == "cancellation":
        return f"─ {event.subject} {'(what it waited for is here)' if event.is_late else ''}".rstrip()
    if event.pieces is not None:
        return f"─ {event.pieces.first} of {event.pieces.size} bytes arrive {mark}".rstrip()
    request = as_request(event, reading) if event.what == "data" else None
    if request is not None:
        return f"─ {request} {mark}".rstrip()
    length = "" if event.seconds is None else f" of {duration(event.seconds)}"
    if event.what in ("sleep", "timer") and event.place is not None and event.place.rank == 1:
        return f"─ timer{length} of {library_of(event.place)} fires {mark}".rstrip()
    text = {
        "sleep": f"sleep{length} ends",
        "outside": f"outside work{length} ends",
        "timeout": f"timeout{length} fires",
        "timer": f"timer{length} fires",
        "thread": "the thread answers",
        "connection": "a connection comes in",
        "writable": "there is room to write",
    }.get(event.what, "data arrives")
    return f"─ {text} {mark}".rstrip()


def _values(reading: Reading, index: int) -> dict[tuple[str, int], str]:
    """Return what was drawn in that step, by the line that drew it."""
    found: dict[tuple[str, int], str] = {}
    for drawn in reading.draws.values():
        if drawn.index == index and drawn.place is not None and drawn.value:
            line = drawn.place.file, drawn.place.line
            value = cut(drawn.value, _VALUE_WIDTH)
            found[line] = f"{found[line]}, {value}" if line in found else value
    return found


def _step_lines(
    step: ObservedStep, main_file: str, mark: str, values: Mapping[tuple[str, int], str], *, is_test: bool
) -> tuple[str, ...]:
    lines = list(step.lines)
    if not lines and step.went_on is not None:
        lines = [step.went_on]
    at = step.stopped if step.ended == "suspended" else None
    if at is not None and at.rank < 2 and any(line.rank == 2 for line in lines):
        at = None  # a runner's own, behind the end of the test
    if at is not None and (not lines or (lines[-1].file, lines[-1].line) != (at.file, at.line)):
        lines.append(replace(at, awaited=""))
    # Where it went on stands above, as the line where it stopped. Only a value that is awaited is worth a second row.
    lines = [line for line in lines if not (line.awaited and line.text.startswith("await"))] or lines
    lines = [line for line in lines if not _is_noise(line)] or lines[-1:]
    lines = [line for line, last in zip(lines, [None, *lines], strict=False) if line != last]
    if is_test and (step.is_first or (step.went_on is None and len(lines) > _MOST_FIRST_LINES)):
        # What the test builds first is no interleaving yet.
        lines = [line for line in lines[:-1] if (line.file, line.line) in values] + lines[-1:]
    if len(lines) > _MOST_LINES:
        half = _MOST_LINES // 2
        texts = _sources(lines[: half - 1], main_file, values)
        hidden = len(lines) - 2 * half + 1
        texts += [f"… {hidden} more lines …", *_sources(lines[-half:], main_file, values)]
    else:
        texts = _sources(lines, main_file, values)
    ended = {"returned": "ends", "raised": f"raises {step.error}", "cancelled": "is cancelled"}.get(step.ended)
    if ended is not None:
        texts.append(f"→ {ended}")
    if mark and texts:
        texts[0] = f"{texts[0]}  {mark}"
    return tuple(texts)


def _is_noise(line: Place) -> bool:
    """Whether the line says nothing about what is shared."""
    return (
        line.function == "__init__"
        or line.text.startswith(_NOISE)
        or line.text in ("pass", "try:", "else:", "finally:")
    )


def _sources(lines: Iterable[Place], main_file: str, values: Mapping[tuple[str, int], str]) -> list[str]:
    texts = []
    for line in lines:
        where = str(line.line) if line.file == main_file else f"{file_name(line)}:{line.line}"
        texts.append(f"{where}  {line.text}")
        value = values.get((line.file, line.line))
        if value is not None:  # below the line, which may be too long for its column
            texts.append(f"{' ' * len(where)}  ◂ {value}")
    return texts


def _main_file(reading: Reading) -> str:
    files = Counter(line.file for step in reading.seen.steps for line in step.lines if line.rank == 2)
    return files.most_common(1)[0][0] if files else ""


def render(rows: Sequence[Row], tasks: Sequence[tuple[int, str]], *, width: int = WIDTH) -> str:
    """Draw the rows. ``tasks``: number and name of each column."""
    space = width - _TIME_WIDTH
    step = min(_MOST_COLUMN, (space - _LEAST_TEXT) // (len(tasks) - 1)) if len(tasks) > 1 else 0
    offsets = {task: _TIME_WIDTH + index * step for index, (task, _) in enumerate(tasks)}
    text = [_row("time", [(offsets[task], cut(name, (step or space) - 2)) for task, name in tasks], (), width)]
    last: str | None = None
    ended: set[int] = set()
    for row in rows:
        now = None if row.time is None else seconds(row.time)
        shown = now if now is not None and now != last else ""
        last = now or last
        for line in row.lines:
            lanes = [offset for task, offset in offsets.items() if task not in ended]
            at = offsets[row.task] if row.task is not None else _TIME_WIDTH
            text.append(_row(shown, [(at, cut(line, width - at))], lanes, width))
            shown = ""
            if line.startswith("→ ") and row.task is not None:
                ended.add(row.task)
    return "\n".join(text)


def _row(time: str, cells: Iterable[tuple[int, str]], lanes: Iterable[int], width: int) -> str:
    buffer = [" "] * width
    for lane in lanes:
        buffer[lane] = "│"
    for at, cell in [(0, time), *cells]:
        cell = cell[: width - at]
        padded = f"{cell} " if at and at + len(cell) < width else cell
        buffer[at : at + len(padded)] = padded
    return "".join(buffer).rstrip()
