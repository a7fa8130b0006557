"""Who asks for virtual clocks: a flag, an ini key, and an argument of two marks. Free of asyncio."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_interleave.clock.instants import next_second, read_instant
from pytest_interleave.errors import ClocksUnavailable

KEY = "clocks"
INI = "interleave_clocks"
_FLAG = "--interleave-clocks"
#: What a worker of pytest-xdist is told the session's start by.
FOR_WORKERS = "interleave_clocks_start"
_START = pytest.StashKey[int]()
_MARKS = ("interleave", "virtual_time")


def add_options(parser: pytest.Parser) -> None:
    """Register the flag and the ini key."""
    parser.getgroup("interleave").addoption(
        _FLAG,
        action="store_true",
        default=None,
        help="in virtual time, let time.monotonic(), datetime.now() and the like follow the loop",
    )
    parser.addini(INI, help=f"true: as {_FLAG}; or the instant at which they start", type="string", default=None)


def session_start(config: pytest.Config) -> int:
    """Return the instant at which virtual clocks start in this session, in all of pytest-xdist's workers."""
    start = config.stash.get(_START, None)
    if start is None:
        given_by_controller = getattr(config, "workerinput", {}).get(FOR_WORKERS)
        start = config.stash[_START] = next_second() if given_by_controller is None else int(given_by_controller)
    return start


def read_clocks(config: pytest.Config) -> int | None:
    """Return where the clocks of every test in virtual time start; None: they are real. Or raise a UsageError."""
    start = session_start(config)
    value = config.getini(INI) or "false"
    try:
        configured = _read(value, INI, start)
    except ValueError as wrong:
        raise pytest.UsageError(str(wrong)) from None
    if config.getoption("interleave_clocks") and configured is None:
        configured = start
    if configured is not None:
        try:
            check()
        except ClocksUnavailable as why:
            raise pytest.UsageError(f"{_FLAG if config.getoption('interleave_clocks') else INI}: {why}") from None
        if value not in ("true", "false"):
            config.stash[_START] = configured  # where a mark's clocks start, too
    return configured


def clocks_of(item: pytest.Item) -> int | None:
    """Return where the clocks of this test start; None: they are real. Raises ValueError with one line."""
    for name in _MARKS:
        mark = item.get_closest_marker(name)
        if mark is not None and KEY in mark.kwargs:
            start = _read(mark.kwargs[KEY], f"{KEY} of mark.{name}", session_start(item.config))
            if start is not None:
                try:
                    check()
                except ClocksUnavailable as why:
                    raise ValueError(str(why)) from None
            return start
    return read_clocks(item.config)


def check() -> None:
    """Raise ``ClocksUnavailable`` if what it takes is not installed."""
    from pytest_interleave.clock.virtual import find_library

    find_library()


def _read(value: Any, name: str, start: int) -> int | None:
    text = str(value).lower()
    if text in ("true", "false"):
        return start if text == "true" else None
    try:
        return read_instant(value)
    except ValueError:
        raise ValueError(
            f"{value!r} is not a valid {name}. Valid values: true, false, an instant like 2024-02-29T23:59:30Z."
        ) from None
