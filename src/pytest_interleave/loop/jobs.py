"""Work given to other threads and processes, and what they send to the loop.

What one thread sends keeps its order, as on asyncio: a callback that a job schedules comes before the job's result.
What several send may come in any order, and is offered in the order in which the jobs were started, since the order in
which threads happen to end differs from run to run.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

#: Messages that a job sends before its result are numbered within the job.
_MESSAGES = 10_000
#: The number of what a thread sends that is no job's: it comes last.
_NO_JOB = float("inf")


class Job:
    """Work in a thread, or a message from one, as an outside event that may not have happened yet."""

    __slots__ = (
        "executor",
        "future",
        "gate",
        "handle",
        "here_since",
        "kind",
        "messages",
        "number",
        "ordinal",
        "origin",
        "overtaken",
        "thread",
    )

    def __init__(self, origin: int, ordinal: int, number: float = 0) -> None:
        self.kind = "thread"
        self.origin = origin
        self.ordinal = ordinal
        self.number = number
        self.messages = 0
        self.executor: Any = None
        self.future: asyncio.Future[Any] | None = None
        self.handle: Any = None
        self.gate: threading.Event | None = None
        #: When the loop could first have let it in, and by how many timers it was overtaken that were set since.
        self.here_since: float | None = None
        self.overtaken = 0
        #: Its native number, once the work has begun.
        self.thread: int | None = None

    def wrap(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that notes the thread it runs in, and begins only when the gate is open.

        An answer that comes before its future is chained to the loop's would come by another way, now and then.
        """
        self.gate = gate = threading.Event()

        def run(*args: Any) -> Any:
            self.thread = threading.get_native_id()
            gate.wait()
            return func(*args)

        return run


class Jobs:
    """All jobs of a run: asked for, at work, answered and not yet delivered."""

    def __init__(self) -> None:
        self._asked: dict[asyncio.Future[Any], Job] = {}
        #: What was answered and not delivered, by sender; looked at in each turn of the loop.
        self.letters: dict[Any, deque[Job]] = {}
        self._number = 0
        self._strangers: dict[int, tuple[int, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._asked or self.letters)

    @property
    def were_used(self) -> bool:
        """Whether there ever was a job, or a message."""
        return bool(self._number or self.letters or self._strangers)

    def are_asked(self) -> bool:
        """Whether a job has not answered yet."""
        return bool(self._asked)

    def add(self, job: Job, future: Any, executor: Any) -> None:
        """Note a job that was given to an executor, number it, and let it begin."""
        self._number += 1
        job.number = self._number
        job.future = future
        job.executor = executor
        self._asked[future] = job
        if job.gate is not None:
            job.gate.set()

    def post(self, sender: int, handle: Any) -> None:
        """Take a callback from the thread of that native number."""
        args = handle._args
        answered = self._asked.pop(args[0], None) if args and isinstance(args[0], asyncio.Future) else None
        if answered is not None:
            answered.handle = handle
            self.letters.setdefault(answered.number, deque()).append(answered)
            return
        for job in self._asked.values():
            if job.thread == sender:
                job.messages += 1
                letter = Job(job.origin, job.ordinal * _MESSAGES + job.messages, job.number)
                break
        else:
            letter = Job(0, 0, _NO_JOB)
            letter.thread = sender
        letter.handle = handle
        self.letters.setdefault(sender if letter.number == _NO_JOB else letter.number, deque()).append(letter)

    def has_letters(self) -> bool:
        """Whether anything could come in."""
        return bool(self.letters)

    def heads(self) -> list[Job]:
        """Return what could come in next: of each sender its first message, the oldest job first.

        Threads that are no job's are numbered in the order of their creation, until a message of theirs is delivered:
        one that was created later may have sent its first a moment earlier.
        """
        letters = [queue[0] for queue in self.letters.values()]
        if len(letters) > 1:
            letters.sort(key=lambda job: (job.number, job.thread or 0))
        known = len(self._strangers)
        for letter in letters:
            if letter.number == _NO_JOB:
                number, messages = self._strangers.get(cast(int, letter.thread), (0, 0))
                if not number:
                    known += 1
                    number = known
                letter.ordinal = number * _MESSAGES + messages + 1
        return letters

    def take(self, letter: Job) -> None:
        """Remove a message that is being delivered."""
        key: float = letter.number
        if key == _NO_JOB:
            key = cast(int, letter.thread)
            self._strangers[key] = divmod(letter.ordinal, _MESSAGES)
        queue = self.letters[key]
        queue.popleft()
        if not queue:
            del self.letters[key]

    def threads(self) -> set[int]:
        """Return the threads whose results are awaited."""
        return {job.thread for job in self._asked.values() if job.thread is not None}

    def is_one_to_begin(self) -> bool:
        """Whether a result will come, and there is no telling by a thread: one is about to begin, or is a process."""
        for job in self._asked.values():
            if job.gate is None:
                return True
            future = job.future
            if job.thread is None and not (future is not None and future.done()) and self._has_room(job.executor):
                return True
        return False

    def _has_room(self, executor: Any) -> bool:
        if not isinstance(executor, ThreadPoolExecutor):
            return True
        begun = sum(job.executor is executor and job.thread is not None for job in self._asked.values())
        return begun < executor._max_workers
