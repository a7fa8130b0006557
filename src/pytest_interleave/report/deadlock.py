"""A deadlock as text: each task, where it stands, what it waits for, who has that and where it was taken."""

from __future__ import annotations

from collections.abc import Callable

from pytest_interleave.detectors.deadlock import Deadlock
from pytest_interleave.report.reading import cut, location, seconds, wrap
from pytest_interleave.trace import BlockedTask, Holder

_WIDTH = 100
_THINGS = {
    "Queue.get": "an item in Queue",
    "Queue.put": "room in Queue",
    "Queue.join": "the end of all items of Queue",
    "data": "data from StreamReader",
    "drain": "room to write",
    "future": "Future",
    "sleep": "a sleep",
    "its turn": "its turn",
    "Server.serve_forever": "the end of Server",
    "Server.wait_closed": "the end of Server",
}
_NOUNS = {"task": "the end of", "gather": "gather of", "asyncio.wait": "asyncio.wait of", "TaskGroup": "its TaskGroup:"}


def render_deadlock(found: Deadlock, name: Callable[[int], str], *, moment: str = "Deadlock") -> str:
    """Return the text. ``name`` gives a task's name; ``moment`` begins the first line."""
    first = f"{moment} at virtual time {seconds(found.when)}, after {found.steps} steps: {_headline(found)}."
    lines = [wrap(first, _WIDTH), ""]
    rows = [(name(task.number), location(task.place) if task.place else "", task) for task in found.tasks]
    name_width = min(max(len(row[0]) for row in rows), 30)
    place_width = max(len(row[1]) for row in rows)
    waits = [_wanted(task, name) for task in found.tasks]
    states = [_state(task, name) for task in found.tasks]
    wait_width = max(map(len, waits))
    indent = " " * (name_width + 4)
    starts = [f"  {cut(own, name_width):<{name_width}}  {place:<{place_width}}  waits for  " for own, place, _ in rows]
    is_narrow = all(len(starts[0]) + wait_width + 2 + len(state) <= _WIDTH for state in states)
    for start, wanted, state, task in zip(starts, waits, states, found.tasks, strict=True):
        if is_narrow:
            lines.append(f"{start}{wanted:<{wait_width}}  {state}".rstrip())
        else:
            lines.append(f"{start}{wanted}")
            lines += [f"{indent}{state}"] if state else []
        if task.was_cancelled:
            lines.append(f"{indent}was cancelled, and has not ended")
        if task.place is not None and task.place.text:
            lines.append(f"{indent}{cut(task.place.text, _WIDTH - len(indent))}")
    others = [_other(task, name) for task in found.others]
    if others:
        lines += ["", *(wrap(text, _WIDTH, "  ") for text in others[:6])]
        if len(others) > 6:
            lines.append(f"  … {len(others) - 6} more tasks wait …")
    return "\n".join(lines)


def _headline(found: Deadlock) -> str:
    count = len(found.tasks)
    if found.kind == "cycle":
        if count == 1:
            return "a task waits for itself"
        return "2 tasks wait for each other" if count == 2 else f"{count} tasks wait for each other in a circle"
    if found.kind == "ended holder":
        return "a lock is held by a task that has ended"
    if found.kind == "lost wake-up":
        return "a signal came while nobody waited for it"
    if found.kind == "not woken":
        return "a task waits still" if count == 1 else f"{count} tasks wait still"
    return "nothing is left that could wake " + (
        "the task that waits" if count == 1 else f"the {count} tasks that wait"
    )


def _wanted(task: BlockedTask, name: Callable[[int], str]) -> str:
    wait = task.wait
    if wait.what in _NOUNS:
        names = ", ".join(name(number) for number in wait.tasks[:3]) + (", …" if len(wait.tasks) > 3 else "")
        return f"{_NOUNS[wait.what]} {names}".rstrip(": ")
    shown = _THINGS.get(wait.what, wait.what)
    if not wait.name:
        return shown
    return f'{shown} "{wait.name}"' if "'" in wait.name else f"{shown} '{wait.name}'"


def _state(task: BlockedTask, name: Callable[[int], str]) -> str:
    wait = task.wait
    if wait.holders:
        return "held by " + ", ".join(_holder(holder, task, name) for holder in wait.holders[:3])
    if wait.signalled is not None:
        word = "set" if wait.what == "Event" else "notified"
        return f"{word} at {location(wait.signalled)}, before it waited"
    return ""


def _holder(holder: Holder, task: BlockedTask, name: Callable[[int], str]) -> str:
    who = "itself" if holder.task == task.number else name(holder.task)
    ended = ", which was cancelled" if holder.was_cancelled else ", which has ended" if holder.has_ended else ""
    return f"{who}{ended}" + (f" (taken at {location(holder.place)})" if holder.place else "")


def _other(task: BlockedTask, name: Callable[[int], str]) -> str:
    where = f" ({location(task.place)})" if task.place else ""
    return f"{name(task.number)}{where} waits for {_wanted(task, name)}"
