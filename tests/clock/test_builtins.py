"""Replaced builtin functions, and instants."""

from __future__ import annotations

import datetime
import gc
import time
from time import monotonic, sleep

import pytest

from pytest_interleave.clock.builtins import replaced
from pytest_interleave.clock.instants import next_second, read_instant, write_instant
from pytest_interleave.errors import ClocksUnavailable


def held(clock=time.monotonic):
    return clock()


def test_whoever_holds_the_function_gets_the_other():
    with replaced("monotonic", lambda: 42.0):
        assert (monotonic(), time.monotonic(), held(), gc.collect() >= 0) == (42.0, 42.0, 42.0, True)
        with replaced("monotonic", lambda: 43.0):
            assert held() == 43.0
        assert held() == 42.0

    assert held() not in (42.0, 43.0)
    assert monotonic is time.monotonic


def test_an_argument_is_passed_on_and_its_absence_told():
    slept = []
    with replaced("sleep", slept.append):
        sleep(1000)
        with pytest.raises(TypeError, match="exactly one argument"):
            sleep()  # type: ignore[call-arg]

    assert slept == [1000]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_exceptions_come_through(error: type[BaseException]):
    def fail() -> float:
        raise error

    with pytest.raises(error), replaced("monotonic", fail):
        monotonic()

    assert monotonic() > 0


def test_nothing_is_kept():
    def clock() -> float:
        return 42.0

    before = len(gc.get_referrers(clock))
    with replaced("monotonic", clock):
        assert monotonic() == 42.0

    assert len(gc.get_referrers(clock)) == before


def test_what_is_no_builtin_any_more_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "monotonic", lambda: 1.0)

    with pytest.raises(ClocksUnavailable, match=r"time\.monotonic cannot be made virtual: .* has replaced it"):
        replaced("monotonic", lambda: 42.0).__enter__()


@pytest.mark.parametrize(
    "value",
    [
        "2024-02-29T23:59:30Z",
        "2024-02-29T23:59:30",
        "2024-03-01T00:59:30+01:00",
        datetime.datetime(2024, 2, 29, 23, 59, 30, tzinfo=datetime.UTC),
    ],
)
def test_instants_are_read_in_utc(value: object):
    assert write_instant(read_instant(value)) == "2024-02-29T23:59:30Z"


def test_an_instant_keeps_its_microseconds():
    assert read_instant("2024-02-29T23:59:30.000001Z") % 1_000_000_000 == 1000
    assert write_instant(read_instant("2024-02-29T23:59:30.000001Z")) == "2024-02-29T23:59:30.000001Z"


@pytest.mark.parametrize("value", ["noon", "2024-02-30", 12, None, True])
def test_what_is_no_instant_is_refused(value: object):
    with pytest.raises(ValueError):
        read_instant(value)


@pytest.mark.parametrize(("now", "then"), [(0, 0), (1, 10**9), (10**9, 10**9), (10**9 + 1, 2 * 10**9)])
def test_the_next_second_is_not_over(now: int, then: int):
    assert next_second(lambda: now) == then
