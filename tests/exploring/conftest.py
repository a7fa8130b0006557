from __future__ import annotations

import gc
import textwrap
import warnings
from collections.abc import Callable, Iterator

import pytest
from sessions import run_forked

#: Runs in a file of tests beside them: three operations whose order is open, and a lost update.
HELPERS = """
import asyncio, contextvars, itertools, logging, os, sys, warnings
import pytest

async def work():
    async def call(seconds):
        await asyncio.sleep(seconds)
    await asyncio.gather(call(0.01), call(0.01), call(0.02))

async def lose_update(state):
    async def remote():
        await asyncio.sleep(0.01)
    async def add():
        value = state["n"]
        await remote()
        state["n"] = value + 1
    async def late():
        await asyncio.sleep(0.02)
        await add()
    await asyncio.gather(add(), late())
"""

Explore = Callable[..., pytest.RunResult]


@pytest.fixture(autouse=True)
def leftovers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collect what failing tests of a session in this process left: the next test would get the warnings."""
    yield
    if "pytester" in request.fixturenames:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@pytest.fixture
def explore(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Explore:
    """Write a file of tests and run ``pytest --interleave`` on it."""
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)

    def run(
        source: str, *options: str, flag: bool = True, ini: str = "", fresh: bool = False, cache: bool = False
    ) -> pytest.RunResult:
        pytester.makefile(".ini", pytest=f"[pytest]\nasyncio_mode = auto\n{textwrap.dedent(ini)}")
        pytester.makepyfile(helpers=HELPERS)
        pytester.makepyfile(test_it="from helpers import *\n" + textwrap.dedent(source))
        given = " ".join((*options, ini))
        # Whether a busy machine makes its 200 runs within a second is not what these tests are about.
        is_timed = any(word in given for word in ("interleave-time", "interleave_time", "profile", "interleave-runs"))
        patience = [] if is_timed or "interleave_runs" in given or not flag else ["--interleave-time=60"]
        arguments = [*(["--interleave"] if flag else []), *patience, *options]
        if not cache:
            arguments += ["-p", "no:cacheprovider"]
        if fresh:
            return run_forked(pytester, *arguments)
        return pytester.runpytest_inprocess(*arguments)

    return run
