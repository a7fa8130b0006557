"""Options, ini keys and the mark of exploration, read into values."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_interleave.plugin.clock_options import KEY as CLOCKS
from pytest_interleave.settings import MODES

if TYPE_CHECKING:
    from pytest_interleave.exploration.token import Token

ORDER_ONLY = ("note", "fail", "off")
#: Runs and seconds for each test, whichever ends first.
PROFILES = {"default": (200, 1.0), "night": (10_000, 30.0)}
MARK_LINE = (
    "interleave(enabled=True, *, runs, time, seed, mode, order_only, cancel, mocks, clocks, faults, limit, timeout): "
    "explore this test under many schedules, with or without --interleave; interleave(False) leaves it out"
)
_OPTION_KEYS = ("runs", "time", "seed", "mode", "order_only", "cancel", "mocks", "limit")
_MARK_KEYS = (*_OPTION_KEYS, "faults")
MARK = "interleave"
#: The mark of pytest-timeout, which is taken where that is not installed.
TIMEOUT_MARK_LINE = "timeout(seconds): end the test, and fail it, if it takes longer"


@dataclass(frozen=True, slots=True)
class ExploreSettings:
    """What to explore, and how long."""

    enabled: bool
    runs: int
    seconds: float
    seed: int
    mode: str
    order_only: str
    #: Whether to cancel each task, and the test, at each of its suspensions.
    cancel: bool = False
    #: Whether an ``AsyncMock`` that is awaited may take time.
    mocks: bool = False
    #: How much virtual time one run may take; None: an hour, or what the test may take in a plain run.
    virtual_seconds: float | None = None
    #: Which faults of the network the search may choose, beside those that the test names itself.
    faults: tuple[str, ...] = ()
    replay: Token | None = None
    replay_text: str = ""
    json_path: str | None = None


def add_options(parser: pytest.Parser) -> None:
    """Register flags and ini keys."""
    group = parser.getgroup("interleave", "exploration of interleavings")
    group.addoption("--interleave", action="store_true", default=None, help="run each async test under many schedules")
    group.addoption("--interleave-runs", metavar="N", default=None, help="at most N runs a test (default 200)")
    group.addoption("--interleave-time", metavar="S", default=None, help="at most S real seconds a test (default 1)")
    group.addoption("--interleave-seed", metavar="N", default=None, help="search as the session with this seed did")
    group.addoption("--interleave-mode", metavar="MODE", default=None, help=f"{', '.join(MODES)} (default realistic)")
    group.addoption(
        "--interleave-order-only",
        metavar="WHAT",
        default=None,
        help="what a failure is that needs an order asyncio never makes: note (default), fail or off",
    )
    group.addoption(
        "--interleave-profile", metavar="NAME", default=None, help="default, or night: 10,000 runs or 30 s a test"
    )
    group.addoption(
        "--interleave-cancel",
        action="store_true",
        default=None,
        help="explore, and cancel each task, or the whole test, at each await: nothing may be left behind",
    )
    group.addoption(
        "--interleave-mocks",
        action="store_true",
        default=None,
        help="let each AsyncMock that is awaited take time, as a choice of the search",
    )
    group.addoption(
        "--interleave-limit", metavar="S", default=None, help="a run may take S virtual seconds (default 3600)"
    )
    group.addoption(
        "--interleave-timeout", metavar="S", default=None, help="end a test after S real seconds (default: never)"
    )
    group.addoption("--interleave-replay", metavar="TOKEN", default=None, help="run exactly the schedule of this token")
    group.addoption("--interleave-json", metavar="FILE", default=None, help="write what was explored to this file")
    for name, text in (
        ("interleave", "true: as --interleave"),
        ("interleave_runs", "as --interleave-runs"),
        ("interleave_time", "as --interleave-time"),
        ("interleave_seed", "as --interleave-seed"),
        ("interleave_mode", "as --interleave-mode"),
        ("interleave_order_only", "as --interleave-order-only"),
        ("interleave_profile", "as --interleave-profile"),
        ("interleave_limit", "as --interleave-limit"),
        ("interleave_timeout", "as --interleave-timeout"),
        ("interleave_cancel", "true: as --interleave-cancel, in tests that are explored"),
        ("interleave_mocks", "true: as --interleave-mocks"),
    ):
        parser.addini(name, help=text, type="string", default=None)


def read_settings(config: pytest.Config) -> ExploreSettings:
    """Return what is configured for the session, or raise a one-line UsageError."""
    profile = _value(config, "profile") or "default"
    if profile not in PROFILES:
        name = _name(config, "profile")
        raise pytest.UsageError(f"{profile!r} is not a valid {name}. Valid values: {', '.join(PROFILES)}.")
    runs, seconds = PROFILES[profile]
    replay = config.getoption("interleave_replay")
    token = None
    if replay is not None:
        from pytest_interleave.exploration.token import Token, TokenError

        try:
            token = Token.decode(replay)
        except TokenError as error:
            raise pytest.UsageError(f"--interleave-replay: {error}") from None
    seed = _value(config, "seed")
    if seed is None:  # the same for all workers of pytest-xdist, and kept for the marks, which are read later
        given_by_controller = getattr(config, "workerinput", {}).get("interleave_seed")
        seed = config.option.interleave_seed = given_by_controller or str(random.SystemRandom().getrandbits(32))
    settings = ExploreSettings(
        enabled=_is_enabled(config) or token is not None,
        runs=runs,
        seconds=seconds,
        seed=0,
        mode="realistic",
        order_only="note",
        replay=token,
        replay_text=replay or "",
        json_path=config.getoption("interleave_json"),
    )
    given = {key: value for key in _OPTION_KEYS if (value := _value(config, key)) is not None}
    try:
        return _with(settings, given, lambda key: _name(config, key))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


def settings_for(item: pytest.Item, settings: ExploreSettings) -> ExploreSettings:
    """Return the settings of one test. Raises ValueError with one line if its mark is wrong."""
    mark = item.get_closest_marker("interleave")
    if mark is None:
        return settings
    unknown = set(mark.kwargs) - {"enabled", "timeout", CLOCKS, *_MARK_KEYS}
    if unknown or len(mark.args) > 1 or (mark.args and not isinstance(mark.args[0], bool)):
        raise ValueError(
            f"mark.interleave takes one positional bool and the keywords {', '.join(_MARK_KEYS)}, {CLOCKS}, timeout"
            + (f", not {', '.join(sorted(unknown))}" if unknown else "")
        )
    is_for_time_only = not mark.args and set(mark.kwargs) == {"timeout"}
    enabled = mark.args[0] if mark.args else bool(mark.kwargs.get("enabled", settings.enabled or not is_for_time_only))
    if "faults" in mark.kwargs and "hosts" not in getattr(item, "fixturenames", ()):
        raise ValueError(f"{_in_mark('faults')} are those of named hosts, but the test does not ask for `hosts`")
    found = _with(settings, {key: mark.kwargs[key] for key in _MARK_KEYS if key in mark.kwargs}, _in_mark)
    return replace(found, enabled=enabled)


def _kinds_of_faults(value: Any) -> tuple[str, ...]:
    """Return the kinds that the mark names, all for True. Raises ValueError with one line if one is none."""
    from pytest_interleave.net.draw import CHOICES

    kinds = CHOICES if value is True else (value,) if isinstance(value, str) else value
    wrong = [kind for kind in kinds if kind not in CHOICES] if isinstance(kinds, tuple | list | set) else [kinds]
    if wrong:
        raise ValueError(
            f"{wrong[0]!r} is not a valid {_in_mark('faults')}. Valid values: {', '.join(CHOICES)}, or True for all."
        )
    return tuple(kind for kind in CHOICES if kind in kinds)


def limit_of_mark(mark: pytest.Mark) -> float | None:
    """Return how many real seconds the mark gives a test. Raises ValueError with one line if it is wrong."""
    value = mark.kwargs.get("timeout")
    return None if value is None else _seconds(value, _in_mark("timeout"))


def read_time_limit(config: pytest.Config) -> float | None:
    """Return how many real seconds a test may take, or raise a one-line UsageError."""
    value = _value(config, "timeout")
    try:
        return None if value is None else _seconds(value, _name(config, "timeout"))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


def _seconds(value: Any, name: str) -> float:
    seconds: float = _number(value, float, name, "a number of seconds above 0", least=1e-9)
    return seconds


def _name(config: pytest.Config, key: str) -> str:
    if config.getoption(f"interleave_{key}") is None:
        return f"interleave_{key}"
    return f"--interleave-{key.replace('_', '-')}"


def _in_mark(key: str) -> str:
    return f"mark.interleave's {key}"


def _with(settings: ExploreSettings, given: dict[str, Any], name: Any) -> ExploreSettings:
    changes: dict[str, Any] = {}
    for key, value in given.items():
        if key in ("runs", "seed"):
            number = _number(value, int, name(key), "a whole number", least=1 if key == "runs" else 0)
            changes[key] = number
        elif key in ("cancel", "mocks"):
            changes[key] = _flag(value, name(key))
        elif key == "faults":
            changes[key] = _kinds_of_faults(value)
        elif key in ("time", "limit"):
            changes["seconds" if key == "time" else "virtual_seconds"] = _seconds(value, name(key))
        else:
            valid = MODES if key == "mode" else ORDER_ONLY
            if value not in valid:
                raise ValueError(f"{value!r} is not a valid {name(key)}. Valid values: {', '.join(valid)}.")
            changes[key] = value
    # Who says how many runs means them: the default time does not cut them short.
    if "runs" in changes and "seconds" not in changes:
        changes["seconds"] = float("inf")
    return replace(settings, **changes)


def _number(value: Any, kind: Any, name: str, what: str, *, least: float) -> Any:
    try:
        number = kind(value)
    except (TypeError, ValueError):
        number = None
    if isinstance(value, float) and number != value:
        number = None  # 2.5 is no number of runs
    if number is None or not number >= least:
        raise ValueError(
            f"{value!r} is not a valid {name}: it must be {what}" + (f", {least} or more." if kind is int else ".")
        )
    return number


def _value(config: pytest.Config, key: str) -> Any:
    value = config.getoption(f"interleave_{key}")
    if value is None:
        value = config.getini(f"interleave_{key}") or None
    return value


def _is_enabled(config: pytest.Config) -> bool:
    if config.getoption("interleave") or config.getoption("interleave_cancel"):
        return True
    try:
        return _flag(config.getini("interleave") or False, "value of interleave")
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


def _flag(value: Any, name: str) -> bool:
    text = str(value).lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off"):
        return False
    raise ValueError(f"{value!r} is not a valid {name}: it must be true or false.")
