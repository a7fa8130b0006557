"""looptime, which compresses the time of pytest-asyncio's loops: here by its part that concerns us."""

from __future__ import annotations

import pytest

# It is not installed, for it would take part in all our sessions. This asks for loops as release 0.9 does.
LOOPTIME = '''
"""Loops whose clock jumps while it is enabled."""

import asyncio
import pytest


class Jumping(asyncio.BaseEventLoop):
    def time(self):
        return self.now if self.is_enabled else super().time()

    def jump(self, timeout=None):
        ready = self.original(0 if self.is_enabled and timeout else timeout)
        if self.is_enabled and timeout and not ready:
            self.now += timeout
        return ready


def patch_event_loop(loop, _enabled):
    if not isinstance(loop, Jumping):
        loop.__class__ = type("Jumping", (Jumping, type(loop)), {})
        loop.now, loop.is_enabled, loop.original = 0.0, _enabled, loop._selector.select
        loop._selector.select = loop.jump
    return loop


def pytest_addoption(parser):
    parser.addoption("--looptime", dest="looptime", action="store_true", default=None)


def pytest_configure(config):
    config.addinivalue_line("markers", "looptime: jump")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    mark = pyfuncitem.get_closest_marker("looptime")
    policy = pyfuncitem.funcargs.get("event_loop_policy")
    loop = policy and policy.get_event_loop()
    if not isinstance(loop, Jumping) or not (mark or pyfuncitem.config.getoption("looptime")):
        return (yield)
    loop.now = mark.kwargs.get("start", loop.now) if mark else loop.now
    loop.is_enabled = True
    try:
        return (yield)
    finally:
        loop.is_enabled = False
'''
CONFTEST = """
import looptime

def pytest_addoption(parser, pluginmanager):
    pluginmanager.register(looptime, "looptime_plugin")
"""
TESTS = """
import asyncio, pytest, pytest_asyncio, time

began = time.monotonic()

@pytest_asyncio.fixture
async def loop():
    await asyncio.sleep(0.01)
    yield asyncio.get_running_loop()
    await asyncio.sleep(0.01)

@pytest.mark.looptime
async def test_marked(loop):
    assert loop is asyncio.get_running_loop()
    await asyncio.sleep(600)
    assert 600 <= loop.time() < 601

@pytest.mark.looptime
@pytest.mark.asyncio(loop_scope="session")
async def test_in_a_wider_loop(loop, event_loop_policy):
    assert event_loop_policy.get_event_loop() is asyncio.get_running_loop()
    await asyncio.sleep(600)

@pytest.mark.asyncio(loop_scope="session")
async def test_plain():
    before = time.monotonic()
    await asyncio.sleep(0.02)
    assert time.monotonic() - before >= 0.01

@pytest.mark.looptime(start=100)
async def test_clock():
    await asyncio.sleep(1)
    assert asyncio.get_running_loop().time() >= 101

def test_sync():
    assert time.monotonic() - began < 60
"""


@pytest.fixture
def session(pytester: pytest.Pytester) -> pytest.Pytester:
    """Return a suite for looptime, with it."""
    pytester.syspathinsert()
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(looptime=LOOPTIME, test_it=TESTS)
    pytester.makeconftest(CONFTEST)
    return pytester


def test_its_marked_tests_have_its_clock(session: pytest.Pytester) -> None:
    session.runpytest("-Werror", "--strict-markers").assert_outcomes(passed=5)


def test_a_patched_selector_goes_to_no_other_loop(session: pytest.Pytester) -> None:
    session.makepyfile(
        test_it="""
        import asyncio, pytest

        @pytest.mark.looptime
        @pytest.mark.parametrize("number", range(3))
        async def test_it(number):
            await asyncio.sleep(600)
            jumps = asyncio.get_running_loop()._selector.select.__self__
            assert not isinstance(jumps.original.__self__, asyncio.AbstractEventLoop)
        """
    )

    session.runpytest("-Werror").assert_outcomes(passed=3)


def test_explored_tests_are_in_virtual_time_unless_they_set_its_clock(session: pytest.Pytester) -> None:
    result = session.runpytest("--interleave", "--interleave-runs=5", "-k", "not plain")

    result.assert_outcomes(passed=4, deselected=1)
    result.stdout.fnmatch_lines(["*test_clock: not explored: mark.looptime sets the start of its clock"])


def test_a_mark_for_our_virtual_time_goes_first(session: pytest.Pytester) -> None:
    session.makepyfile(
        test_it="""
        import asyncio, pytest

        @pytest.mark.looptime
        @pytest.mark.virtual_time
        async def test_it():
            await asyncio.sleep(600)
            assert asyncio.get_running_loop().time() == 600
            assert not hasattr(asyncio.get_running_loop(), "is_enabled")

        @pytest.mark.looptime(start=100)
        @pytest.mark.virtual_time
        async def test_cannot_have_both():
            pass
        """
    )

    result = session.runpytest()

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*but mark.looptime sets the start of its clock."])
