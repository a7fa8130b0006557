"""The whole report of a failure, as it is read. The programs, and so the line numbers, are in programs.py."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_interleave.report.text import render_failure, render_note
from report import programs
from report.repeat import failure_of

COMMAND = 'pytest "test_bank.py::test_transfers" --interleave-replay=x1.AAEC'

LOST_UPDATE = r"""
Fails if the sleep of 0.02 s (programs.py:29, task late) ends before
`account.balance = balance + amount` (programs.py:26, task deposit).

latency: asyncio can do this, when the timing falls so. Reproduced 5 of 5.

time     lost_update            deposit                late
0 s      32  await asyncio.gather(deposit(10), late()) │
         │                      24  balance = account.balance
         │                      25  await remote(amount)
         │                      16  await asyncio.sleep(0.01)
         │                      │                      29  await asyncio.sleep(0.02)
0.02 s   │                      │                      ─ sleep of 0.02 s ends ◂ early
         │                      ─ sleep of 0.01 s ends │
         │                      │                      30  await deposit(5)
         │                      │                      24  balance = account.balance
         │                      │                      25  await remote(amount)
         │                      │                      16  await asyncio.sleep(0.01)
         │                      17  return value       │
         │                      26  account.balance = balance + amount
         │                      → ends                 │
0.03 s   │                                             ─ sleep of 0.01 s ends
         │                                             17  return value
         │                                             26  account.balance = balance + amount
         │                                             → ends
         33  assert account.balance == 15
         → raises AssertionError

Found in run 17 of 17; 3 choice points; seed 7.
Replay it:  pytest "test_bank.py::test_transfers" --interleave-replay=x1.AAEC
"""

TRANSFERS = r"""
Deadlocks if the sleep of 0.1 s (programs.py:61, task bob→alice) ends before
`async with target.lock:` (programs.py:55, task alice→bob).

latency: asyncio can do this, when the timing falls so. Reproduced 5 of 5.

Deadlock at virtual time 0.11 s, after 9 steps: 2 tasks wait for each other.

  alice→bob  programs.py:55  waits for  Lock 'bob.lock'
             held by bob→alice (taken at programs.py:53)
             async with target.lock:
  bob→alice  programs.py:55  waits for  Lock 'alice.lock'
             held by alice→bob (taken at programs.py:53)
             async with target.lock:

  transfers (programs.py:67) waits for gather of alice→bob, bob→alice

Found in run 17 of 17; 3 choice points; seed 7.
Replay it:  pytest "test_bank.py::test_transfers" --interleave-replay=x1.AAEC
"""

TABLES = r"""
Deadlocks if the sleep of 0.01 s (programs.py:16, task copy('users', 'orders')) ends after the sleep
of 0.1 s (programs.py:89) ends.

latency: asyncio can do this, when the timing falls so. Reproduced 5 of 5.

Deadlock at virtual time 0.11 s, after 9 steps: 2 tasks wait for each other.

  copy('users', 'orders')  programs.py:81  waits for  Lock "tables.locks['orders']"
                           held by copy('orders', 'users') (taken at programs.py:79)
                           async with self.locks[second]:
  copy('orders', 'users')  programs.py:81  waits for  Lock "tables.locks['users']"
                           held by copy('users', 'orders') (taken at programs.py:79)
                           async with self.locks[second]:

  tables (programs.py:87) waits for its TaskGroup: copy('users', 'orders'), copy('orders', 'users')

Found in run 17 of 17; 3 choice points; seed 7.
Replay it:  pytest "test_bank.py::test_transfers" --interleave-replay=x1.AAEC
"""

REPLY = r"""
Fails if the timeout of 0.5 s (programs.py:100) fires before data for `await client.ask(b"two\n")`
(programs.py:117) arrives.

latency: asyncio can do this, when the timing falls so. Reproduced 5 of 5.

time     reply_to_the_last_question    serve
         … 9 steps of 4 tasks …        │
0 s      │                             ─ data arrives
         │                             109  while line := await reader.readline():
         │                             110  writer.write(line)
         │                             109  while line := await reader.readline():
         ─ data arrives                │
         101  return await self.reader.readline()
         100  async with asyncio.timeout(0.5):
         117  assert await client.ask(b"two\n") == b"two\n"
         98  self.writer.write(question)
         100  async with asyncio.timeout(0.5):
         101  return await self.reader.readline()
0.5 s    ─ timeout of 0.5 s fires ◂ early
         101  return await self.reader.readline()
         100  async with asyncio.timeout(0.5):
         … 2 more lines …              │
         117  assert await client.ask(b"two\n") == b"two\n"
         119  writer.close()           │
         120  server.close()           │
         → raises AssertionError       │

Found in run 17 of 17; 3 choice points; seed 7.
Replay it:  pytest "test_bank.py::test_transfers" --interleave-replay=x1.AAEC
"""

UNDER_A_TIMEOUT = r"""
Fails if the sleep of 0.1 s (programs.py:61, task other) ends before `async with target.lock:`
(programs.py:55, task one).

latency: asyncio can do this, when the timing falls so. Reproduced 5 of 5.

time     timeout_over_a_deadl…  one                    other
0 s      204  await asyncio.wait([one, other], timeout=5)
         │                      53  async with source.lock:
         │                      54  await remote(amount)
         │                      16  await asyncio.sleep(0.01)
         │                      │                      61  await asyncio.sleep(seconds)
0.1 s    │                      │                      ─ sleep of 0.1 s ends ◂ early
         │                      ─ sleep of 0.01 s ends │
         │                      │                      62  await call
         │                      │                      53  async with source.lock:
         │                      │                      54  await remote(amount)
         │                      │                      16  await asyncio.sleep(0.01)
         │                      17  return value       │
         │                      55  async with target.lock:
0.11 s   │                      │                      ─ sleep of 0.01 s ends
         │                      │                      17  return value
         │                      │                      55  async with target.lock:
5 s      ─ timeout of 5 s fires │                      │
         205  assert one.done() │                      │
         → raises AssertionError                       │

Before that, a deadlock at virtual time 0.11 s, after 9 steps: 2 tasks wait for each other.

  one    programs.py:55  waits for  Lock 'bob.lock'    held by other (taken at programs.py:53)
         async with target.lock:
  other  programs.py:55  waits for  Lock 'alice.lock'  held by one (taken at programs.py:53)
         async with target.lock:

  timeout_over_a_deadlock (programs.py:204) waits for asyncio.wait of one, other

Found in run 17 of 17; 3 choice points; seed 7.
Replay it:  pytest "test_bank.py::test_transfers" --interleave-replay=x1.AAEC
"""

LOST_WAKE_UP = r"""
Deadlocks if the sleep of 0.01 s (programs.py:16, task consumer) ends after `async with ready:`
(programs.py:170, task producer).

latency: asyncio can do this, when the timing falls so. Reproduced 5 of 5.

Deadlock at virtual time 0.1 s, after 8 steps: a signal came while nobody waited for it.

  consumer  programs.py:176  waits for  Condition 'ready'
            notified at programs.py:171, before it waited
            await ready.wait()

  lost_wake_up (programs.py:178) waits for gather of consumer

Found in run 17 of 17; 3 choice points; seed 7.
Replay it:  pytest "test_bank.py::test_transfers" --interleave-replay=x1.AAEC
"""

FIVE_OF_TWELVE = r"""
Fails if the sleep of 0.01 s (programs.py:16, task add('a0', 0.0)) ends after `state["n"] = n + 1`
(programs.py:231, task add('a4', 0.08)).

latency: asyncio can do this, when the timing falls so. Reproduced 5 of 5.

time     five_of_twelve         add('a0', 0.0)         add('a4', 0.08)
         … 11 steps of 11 tasks …                      │
0 s      │                      229  n = state["n"]    │
         │                      230  await remote()    │
         │                      16  await asyncio.sleep(0.01)
         … 36 steps of 8 tasks …                       │
0.08 s   │                      │                      ─ sleep of 0.08 s ends
         │                      │                      229  n = state["n"]
         │                      │                      230  await remote()
         │                      │                      16  await asyncio.sleep(0.01)
0.09 s   │                      │                      ─ sleep of 0.01 s ends
         │                      │                      17  return value
         │                      │                      231  state["n"] = n + 1
         │                      │                      → ends
         │                      ─ sleep of 0.01 s ends ◂ late
         │                      17  return value
         │                      231  state["n"] = n + 1
         │                      → ends
         237  async with asyncio.TaskGroup() as group:
         241  assert state["n"] == 5
         → raises AssertionError

Found in run 17 of 17; 3 choice points; seed 7.
Replay it:  pytest "test_bank.py::test_transfers" --interleave-replay=x1.AAEC
"""

MEETING = r"""
order-only: fails with AssertionError (programs.py:262) if the loop is held up between two sleeps of
the test, as by a step that takes long: the sleep of 0.02 s (programs.py:261, task read) ends in the
same loop iteration in which the sleep of 0.01 s (programs.py:256, task write) ends. A bug if the
two may meet in production; none if the second is only there to come after all that the first leads
to. A sleep that stands for work is explored if it stands in a helper beside the test.

See it:  pytest "test_bank.py::test_transfers" --interleave-replay=x1.AAEC
"""


START_ORDER = r"""
order-only: fails with AssertionError (programs.py:147) in an order that asyncio never makes: task
add(2) starts before task add(1), though `await asyncio.gather(add(1), add(2))` (programs.py:146)
starts add(1) first. A bug if these are independent in production, such as two requests; none if the
test's order always holds. To say that they are independent, let each arrive by itself:

    async def arrives(call):           # beside the test, not inside it
        await asyncio.sleep(0.01)      # as long as you like: which one arrives first is explored
        return await call

    await asyncio.gather(arrives(one()), arrives(other()))

See it:  pytest "test_bank.py::test_transfers" --interleave-replay=x1.AAEC
"""


@pytest.mark.parametrize(
    ("program", "constraints", "expected"),
    [
        (programs.lost_update, {((1, 2), "timer", 1): ((1, 2), "step", 1)}, LOST_UPDATE),
        (programs.transfers, {((1, 2), "timer", 1): ((1, 2), "step", 1)}, TRANSFERS),
        (programs.tables, {((1, 1), "timer", 1): ((1,), "call", 1)}, TABLES),
        (programs.reply_to_the_last_question, {((1,), "timer", 2): ((1,), "step", 6)}, REPLY),
        (programs.timeout_over_a_deadlock, {((1, 2), "timer", 1): ((1, 2), "step", 1)}, UNDER_A_TIMEOUT),
        (programs.lost_wake_up, {((1, 2), "timer", 1): ((1, 1), "call", 2)}, LOST_WAKE_UP),
        (programs.five_of_twelve, {((1, 1), "timer", 1): ((1, 9), "call", 3)}, FIVE_OF_TWELVE),
    ],
    ids=["lost_update", "transfers", "tables", "reply", "under_a_timeout", "lost_wake_up", "five_of_twelve"],
)
def test_a_failure_reads(program: Any, constraints: Any, expected: str) -> None:
    failure, exploration = failure_of(program, constraints)

    assert render_failure(failure, exploration, replay_command=COMMAND) == expected.strip("\n")


def test_a_note_on_sleeps_that_meet_reads() -> None:
    failure, exploration = failure_of(programs.meeting, {((1, 2), "meet", 1): ((1, 1), "timer", 1)}, "order-only")

    assert render_note(failure, exploration, replay_command=COMMAND) == MEETING.strip("\n")


def test_an_order_only_note_reads() -> None:
    failure, exploration = failure_of(programs.start_order, {((1, 1), "start", 1): ((1, 2), "start", 1)}, "order-only")

    assert render_note(failure, exploration, replay_command=COMMAND) == START_ORDER.strip("\n")


AT_THE_LIMIT = """
When its time was over, at virtual time 3600 s, after 123 steps: a task waits still.

  answer  programs.py:275  waits for  Event 'answered'
          await answered.wait()

  a_heart_beats_beside_a_deadlock (programs.py:279) waits for the end of answer
  beat (programs.py:272) waits for a sleep
"""


def test_who_waits_for_whom_is_told_of_a_run_whose_time_is_over() -> None:
    failure, exploration = failure_of(programs.a_heart_beats_beside_a_deadlock, {}, "stock")
    assert AT_THE_LIMIT in render_failure(failure, exploration, replay_command=COMMAND)

    failure, exploration = failure_of(programs.sleeps_too_long, {}, "stock")
    assert "still" not in render_failure(failure, exploration, replay_command=COMMAND).partition("TimeLimit")[0]


@pytest.mark.parametrize(
    "expected", [LOST_UPDATE, TRANSFERS, TABLES, REPLY, UNDER_A_TIMEOUT, FIVE_OF_TWELVE, START_ORDER, MEETING]
)
def test_no_line_is_longer_than_100_columns(expected: str) -> None:
    assert max(map(len, expected.splitlines())) <= 100
