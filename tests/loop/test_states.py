from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from pytest_interleave.loop import _plain
from pytest_interleave.loop.blocking_calls import CallWatch

_COMPUTES = "import os\nos.sched_setaffinity(0, {%d})\nwhile True: pass"
#: How often the thread has to be seen to hold the loop up, and for how long each time; if it does, on this machine.
_GAPS, _GAP_SECONDS, _MOST_SECONDS = 20, 0.03, 10


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not let a thread choose a processor")
def test_who_gave_the_interpreter_to_a_thread_without_a_processor_does_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processor = min(os.sched_getaffinity(0))
    gaps: list[float] = []
    end = time.monotonic() + _MOST_SECONDS

    def is_over() -> bool:
        return len(gaps) >= _GAPS or time.monotonic() > end

    class Loop:
        def run_forever(self) -> None:
            before = time.monotonic()
            while not is_over():
                time.process_time()
                now = time.monotonic()
                if now - before > _GAP_SECONDS:
                    gaps.append(now - before)
                before = now

    def wake_often() -> None:
        os.sched_setaffinity(0, {processor})
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        while not is_over():
            time.sleep(0.001)

    monkeypatch.setattr(_plain, "turns", {Loop.run_forever.__code__})
    watch, loop = CallWatch(), Loop()
    other = subprocess.Popen([sys.executable, "-c", _COMPUTES % processor])
    thread = threading.Thread(target=wake_often)
    thread.start()
    try:
        with watch.watching([loop]):
            loop.run_forever()
    finally:
        other.kill()
        other.wait()
        thread.join()

    assert watch.found == []
