"""The mark and the key that ask for virtual time; free of asyncio, for suites that do not use them."""

from __future__ import annotations

import pytest

MARK = "virtual_time"
KEY = "interleave_virtual_time"
MARK_LINE = (
    "virtual_time(enabled=True, *, limit, clocks): run this async test on a loop that jumps over its waits; it may use "
    "up to limit virtual seconds (a day); with clocks, Python's clocks follow"
)
#: Whatever a test waits for, it does not wait longer. Something that ticks would go on for ever.
DAY_SECONDS = 86_400.0


def add_options(parser: pytest.Parser) -> None:
    """Register the ini key."""
    parser.addini(KEY, help="true: every async test runs in virtual time", type="string", default=None)


def is_for_all(config: pytest.Config) -> bool:
    """Whether every async test is to run in virtual time, or raise a one-line UsageError."""
    value = str(config.getini(KEY) or "false").lower()
    if value not in ("true", "false"):
        raise pytest.UsageError(f"{value!r} is not a valid {KEY}. Valid values: true, false.")
    return value == "true"


def read_mark(mark: pytest.Mark) -> float | None:
    """Return how much virtual time the test may use; None if the mark says that it runs in real time."""
    unknown = set(mark.kwargs) - {"enabled", "limit", "clocks"}
    if unknown or len(mark.args) > 1 or (mark.args and not isinstance(mark.args[0], bool)):
        raise ValueError(
            f"mark.{MARK} takes one positional bool and the keywords limit and clocks"
            + (f", not {', '.join(sorted(unknown))}." if unknown else ".")
        )
    limit = mark.kwargs.get("limit", DAY_SECONDS)
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0:
        raise ValueError(f"{limit!r} is not a valid limit of mark.{MARK}: it must be a number of seconds above 0.")
    enabled = mark.args[0] if mark.args else mark.kwargs.get("enabled", True)
    return float(limit) if enabled else None
