"""Say why tasks that are blocked will stay so: from a snapshot to a finding.

A task waits for *all* of the tasks that it joins (``gather``, ``TaskGroup``, ``await task``), so one of them that is
stuck is enough; a semaphore can be given back by *any* of its holders, so all of them must be stuck.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_interleave.trace import BlockedTask, Snapshot

Kind = Literal["cycle", "ended holder", "lost wake-up", "no waker", "not woken"]


@dataclass(frozen=True, slots=True)
class Deadlock:
    """Tasks that will never go on."""

    kind: Kind
    when: float
    steps: int
    #: Those that are the reason; in a cycle each waits for the next, and the last for the first.
    tasks: tuple[BlockedTask, ...]
    #: Others, that only wait for these, or for what nobody here can tell.
    others: tuple[BlockedTask, ...] = ()


def find(snapshot: Snapshot, *, is_global: bool = False) -> Deadlock | None:
    """Return the deadlock among these tasks, if there is one.

    ``is_global``: nothing can run any more, so whoever waits is stuck, and it only remains to say why. Otherwise only
    what is certain counts: a cycle, a lock whose holder has ended, or a task that nothing alive can reach.
    """
    blocked = {task.number: task for task in snapshot.blocked if task.wait.what != "its turn"}
    stuck = blocked if is_global else _certainly_stuck(blocked)
    for kind, tasks in (
        ("cycle", _cycle(stuck)),
        ("ended holder", [task for task in stuck.values() if _waits_for_ended(task)]),
        ("lost wake-up", [t for t in blocked.values() if t.wait.signalled and (is_global or t.is_unreachable)]),
        ("no waker", [t for t in blocked.values() if t.is_unreachable] or (_leaves(stuck) if is_global else [])),
    ):
        if tasks:
            numbers = {task.number for task in tasks}
            others = tuple(task for task in blocked.values() if task.number not in numbers)
            return Deadlock(kind, snapshot.when, snapshot.steps, tuple(tasks), others)  # type: ignore[arg-type]
    return None


def find_at_limit(snapshot: Snapshot) -> Deadlock | None:
    """Return who waits, and for what, when all the time that a run may take is over: others only slept meanwhile.

    What is certain comes first, as always.
    """
    found = find(snapshot)
    if found is not None:
        return found
    blocked = {task.number: task for task in snapshot.blocked if task.wait.what not in ("its turn", "sleep")}
    tasks = _leaves(blocked)
    # Who waits for one that sleeps is waiting for that.
    sleeping = {task.number for task in snapshot.blocked if task.wait.what == "sleep"}
    tasks = [task for task in tasks if not sleeping.intersection(_next(task))]
    others = tuple(task for task in snapshot.blocked if task not in tasks)
    return Deadlock("not woken", snapshot.when, snapshot.steps, tuple(tasks), others) if tasks else None


def _waits_for_ended(task: BlockedTask) -> bool:
    holders = task.wait.holders
    return bool(holders) and all(holder.has_ended for holder in holders)


def _next(task: BlockedTask) -> list[int]:
    """Return the tasks that this one waits for, holders first."""
    return [holder.task for holder in task.wait.holders if not holder.has_ended] + list(task.wait.tasks)


def _certainly_stuck(blocked: dict[int, BlockedTask]) -> dict[int, BlockedTask]:
    """Return the greatest set of tasks whose wakers are all in it, or have ended."""
    stuck = dict(blocked)
    while True:
        free = [number for number, task in stuck.items() if not _is_stuck(task, stuck)]
        if not free:
            return stuck
        for number in free:
            del stuck[number]


def _is_stuck(task: BlockedTask, stuck: dict[int, BlockedTask]) -> bool:
    if task.wait.tasks:
        return any(number in stuck for number in task.wait.tasks)
    return bool(task.wait.holders) and all(h.has_ended or h.task in stuck for h in task.wait.holders)


def _cycle(tasks: dict[int, BlockedTask]) -> list[BlockedTask]:
    """Return the shortest cycle of the wait-for graph, the task of the lowest number first."""
    best: list[int] = []
    for start in sorted(tasks):
        paths = [[start]]
        seen: set[int] = set()
        while paths and not (best and len(paths[0]) >= len(best)):
            path = paths.pop(0)
            for number in _next(tasks[path[-1]]):
                if number == start:
                    best, paths = path, []
                    break
                if number in tasks and number not in seen:
                    seen.add(number)
                    paths.append([*path, number])
    return [tasks[number] for number in best]


def _leaves(tasks: dict[int, BlockedTask]) -> list[BlockedTask]:
    """Return the tasks that wait for no other blocked task: the ends of the chains."""
    return [task for task in tasks.values() if not any(number in tasks for number in _next(task))]
