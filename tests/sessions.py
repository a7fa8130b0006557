"""Sessions of pytest, each in a process of its own, without the half second of work that such a process takes to start.

A server loads pytest, what plugins there are and ours, then forks for each session: that inherits what is loaded, and
nothing of what another session did. Run as a program, this file is the server. It reads a line that asks for a session,
forks, answers with the number of the process, and with its exit status when it has ended.

What a test says of the start of a process (Python's options, which plugin is loaded first, what is imported), or of how
Python takes itself down at its end, needs ``run_fresh``.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NoReturn

import pytest

#: Nobody should have to wait for longer, to hear that a session hangs.
_SECONDS = 300.0

_LOADS_ALL = """
import asyncio

async def test_it():
    await asyncio.gather(asyncio.sleep(0.1), asyncio.sleep(0.2))
"""


def run_forked(
    pytester: pytest.Pytester, *arguments: str | os.PathLike[str], timeout: float = _SECONDS
) -> pytest.RunResult:
    """Run a session as ``pytester.runpytest_subprocess`` does, in a process that the server forks."""
    base = tempfile.mkdtemp(prefix="runpytest-", dir=pytester.path)
    command = [f"--basetemp={base}", *map(os.fspath, arguments)]
    began = time.perf_counter()
    status, *texts = run_pytest(command, Path.cwd(), dict(os.environ), timeout=timeout)
    for text, stream in zip(texts, (sys.stdout, sys.stderr), strict=True):
        stream.write(text)
    return pytest.RunResult(status, *(text.splitlines() for text in texts), time.perf_counter() - began)


def run_fresh(
    pytester: pytest.Pytester, *arguments: str | os.PathLike[str], timeout: float | None = None
) -> pytest.RunResult:
    """Run a session in a process that starts as a user's does, but for Hypothesis's plugin.

    At its end that imports all of Hypothesis, whether or not a test uses it, which takes a third of a short session.
    """
    return pytester.runpytest_subprocess("-p", "no:hypothesispytest", *arguments, timeout=timeout)


def run_pytest(
    arguments: list[str], folder: Path, environment: dict[str, str], *, timeout: float = _SECONDS
) -> tuple[int, str, str]:
    """Run a session in a folder; return its exit status and what it prints, to stdout and stderr."""
    server = _start_server()
    if server.poll() is not None:  # whoever ended it; the test that was waiting for it has failed
        _start_server.cache_clear()
        server = _start_server()
    with tempfile.TemporaryDirectory() as kept:
        files = [Path(kept, name) for name in ("stdout", "stderr")]
        request = [arguments, str(folder), environment, *map(str, files)]
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        assert answer, f"the server of sessions ended with status {server.wait()}"
        session = int(answer)
        if not select.select([server.stdout], [], [], timeout)[0]:
            os.kill(session, signal.SIGKILL)
            server.stdout.readline()
            raise TimeoutError(f"after {timeout} s: pytest {' '.join(arguments)}\n{files[0].read_text()}")
        status = int(server.stdout.readline())
        return status, files[0].read_text("utf-8"), files[1].read_text("utf-8")


@functools.cache
def _start_server() -> subprocess.Popen[str]:
    command = [sys.executable, __file__]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.communicate)  # it ends when there is nothing to read any more
    return server


def _serve() -> None:
    _load()
    for line in sys.stdin:
        session = os.fork()
        if session == 0:
            _end(_become(*json.loads(line)))
        print(session, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(session, 0)[1]), flush=True)


def be_patient() -> None:
    """Let failures be repeated and reduced in explorations of this process however busy the machine is.

    A report says how often a failure was repeated, which is fewer times where that takes long: tests that compare its
    text are not about that.
    """
    from pytest_interleave.exploration import search

    for name in ("_SHRINK_SECONDS", "_SHRINK_REAL_SECONDS", "_REPEATS_SECONDS", "_REPEATS_REAL_SECONDS"):
        assert hasattr(search, name)
        setattr(search, name, 60.0)


def _load() -> None:
    """Run a session that explores, so that what it imports is there."""
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    path = sys.path.copy()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_all_is_loaded.py").write_text(_LOADS_ALL)
        options = ["-qq", "--no-summary", "-p", "no:cacheprovider", "--asyncio-mode=auto", "--interleave"]
        assert pytest.main([*options, f"--rootdir={folder}", folder]) == 0
    be_patient()
    # A collector that looks at what is loaded writes to each page of it, so that each session would copy them all.
    gc.collect()
    gc.freeze()
    sys.stdout.flush()
    sys.path[:] = path[1:]  # without the folder of this file
    os.dup2(answers, 1)
    os.close(answers)


def _become(arguments: list[str], folder: str, environment: dict[str, str], *outputs: str) -> int:
    """Run the session in this process, which is made what a new one would be."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, output in enumerate(outputs, 1):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["pytest", *arguments]
    sys.path[:0] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    random.seed()
    return pytest.main(arguments)


def _end(status: int) -> NoReturn:
    """Exit as Python does, but do not take apart what was loaded: the system takes it all back at once."""
    threading._shutdown()  # waits for the threads that are no daemons, and tells pools of them to end
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()
