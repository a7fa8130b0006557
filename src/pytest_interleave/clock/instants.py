"""Instants of the calendar, as nanoseconds since 1970."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_instant(value: object) -> int:
    """Return the instant that a date and time (or its ISO text) names; without an offset it is in UTC.

    Raises ValueError if it is none.
    """
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise ValueError(f"{value!r} is no date and time")
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return (value - _EPOCH) // timedelta(microseconds=1) * 1000


def write_instant(instant: int) -> str:
    """Return the ISO text of an instant, to the microsecond."""
    moment = _EPOCH + timedelta(microseconds=instant // 1000)
    return moment.replace(tzinfo=None).isoformat() + "Z"


def next_second(clock: Callable[[], int] = time.time_ns) -> int:
    """Return the first whole second of a clock that is not over: what was stamped so far was not stamped later."""
    return -(-clock() // _SECOND) * _SECOND
