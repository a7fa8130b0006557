"""From a snapshot to a finding."""

from __future__ import annotations

from typing import Any

from pytest_interleave.detectors.deadlock import find
from pytest_interleave.trace import BlockedTask, Holder, Place, Snapshot, Wait

HERE = Place("/src/bank.py", 31, "transfer")


def lock(number: int, *holders: int | Holder, what: str = "Lock") -> BlockedTask:
    found = tuple(h if isinstance(h, Holder) else Holder(h, HERE) for h in holders)
    return BlockedTask(number, HERE, Wait(what, holders=found))


def join(number: int, *tasks: int) -> BlockedTask:
    return BlockedTask(number, HERE, Wait("gather", tasks=tasks))


def other(number: int, what: str = "Event", **values: Any) -> BlockedTask:
    return BlockedTask(number, HERE, Wait(what, **values))


def snapshot(*tasks: BlockedTask) -> Snapshot:
    return Snapshot(12.5, 9, tasks)


def numbers(found: Any) -> list[int]:
    return [task.number for task in found.tasks]


def test_two_tasks_that_hold_what_the_other_wants() -> None:
    found = find(snapshot(join(1, 2, 3), lock(2, 3), lock(3, 2)))

    assert found is not None
    assert (found.kind, numbers(found), [task.number for task in found.others]) == ("cycle", [2, 3], [1])
    assert (found.when, found.steps) == (12.5, 9)


def test_a_cycle_may_lead_over_the_end_of_a_task() -> None:
    found = find(snapshot(join(1, 2), lock(2, 1)))

    assert found is not None
    assert (found.kind, numbers(found)) == ("cycle", [1, 2])


def test_a_task_that_wants_its_own_lock_again() -> None:
    found = find(snapshot(lock(2, 2)))

    assert found is not None
    assert (found.kind, numbers(found)) == ("cycle", [2])


def test_no_cycle_while_a_holder_can_still_go_on() -> None:
    assert find(snapshot(lock(2, 3), other(3, "sleep"))) is None
    assert find(snapshot(lock(2, 3), other(3, "its turn"))) is None


def test_a_semaphore_is_stuck_only_if_all_its_holders_are() -> None:
    assert find(snapshot(lock(2, 3, 4, what="Semaphore"), lock(3, 2), other(4, "sleep"))) is None

    found = find(snapshot(lock(2, 3, 4, what="Semaphore"), lock(3, 2), lock(4, 2)))
    assert found is not None
    assert found.kind == "cycle"


def test_a_join_is_stuck_if_one_of_its_tasks_is() -> None:
    found = find(snapshot(join(1, 2, 3), other(2, "sleep"), lock(3, 1)))

    assert found is not None
    assert numbers(found) == [1, 3]


def test_a_lock_of_a_task_that_has_ended() -> None:
    found = find(snapshot(lock(2, Holder(3, HERE, has_ended=True))))

    assert found is not None
    assert found.kind == "ended holder"


def test_a_lost_wake_up_counts_when_nothing_else_can_happen() -> None:
    waiting = other(2, "Condition", signalled=HERE)

    assert find(snapshot(waiting)) is None
    found = find(snapshot(join(1, 2), waiting), is_global=True)
    assert found is not None
    assert (found.kind, numbers(found)) == ("lost wake-up", [2])


def test_a_global_deadlock_without_a_reason_names_the_ends_of_the_chains() -> None:
    found = find(snapshot(join(1, 2), other(2, "Queue.get")), is_global=True)

    assert found is not None
    assert (found.kind, numbers(found)) == ("no waker", [2])


def test_an_unreachable_task_is_a_partial_deadlock() -> None:
    alone = BlockedTask(2, HERE, Wait("Event"), is_unreachable=True)

    found = find(snapshot(alone, other(3, "sleep")))

    assert found is not None
    assert (found.kind, numbers(found)) == ("no waker", [2])


def test_tasks_that_only_wait_for_the_outside_are_fine() -> None:
    assert find(snapshot(join(1, 2), other(2, "data"))) is None
    assert find(snapshot()) is None
