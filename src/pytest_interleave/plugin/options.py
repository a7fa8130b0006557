"""The options of the runner, read once into values.

Names, defaults and texts are pytest-asyncio's, so that its configuration works as it stands; ours are
``asyncio_loop_scope`` and ``interleave_misuse``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, get_args

import pytest

from pytest_interleave.plugin.marks import SCOPES, ScopeName

_FIXTURE_SCOPE = "fixture-scope"
LEGACY_MODE = DeprecationWarning(
    "The 'asyncio_mode' is 'legacy', switching to 'auto' for the sake of pytest-aiohttp backward compatibility. "
    "Please explicitly use 'asyncio_mode=strict' or 'asyncio_mode=auto' in pytest configuration file."
)
_FIXTURE_KEY = "asyncio_default_fixture_loop_scope"
_TEST_KEY = "asyncio_default_test_loop_scope"
_BOTH_KEY = "asyncio_loop_scope"
_PEER_KEYS = ("asyncio_mode", "asyncio_debug", _FIXTURE_KEY, _TEST_KEY)


class Mode(str, enum.Enum):  # noqa: UP042 - pytest-asyncio's header shows it so on 3.11
    """Which tests and fixtures are ours: the marked ones, or every async one."""

    AUTO = "auto"
    STRICT = "strict"


class Misuse(enum.Enum):
    """What happens to a test that could not have run as its author meant."""

    FAIL = "fail"
    WARN = "warn"


@dataclass(frozen=True)
class Settings:
    """What the user configured.

    ``fixture_loop_scope`` is None where a fixture's loop is the one of its own scope. ``is_loop_scope_configured``
    tells whether any of the loop-scope keys is set, as opposed to a default.
    """

    mode: Mode
    debug: bool
    fixture_loop_scope: ScopeName | None
    test_loop_scope: ScopeName
    misuse: Misuse
    is_loop_scope_configured: bool
    configured_fixture_loop_scope: str | None
    is_one_scope_key_set: bool


def add_options(parser: pytest.Parser) -> None:
    """Register options and keys, but none that another plugin (pytest-asyncio itself) has registered already."""
    group = parser.getgroup("asyncio")
    if not any("--asyncio-mode" in option.names() for option in group.options):
        group.addoption(
            "--asyncio-mode",
            dest="asyncio_mode",
            default=None,
            metavar="MODE",
            help="'strict' (default): tests marked with asyncio and fixtures made with pytest_asyncio.fixture are run; "
            "'auto': every async test and fixture is",
        )
    if not any("--asyncio-debug" in option.names() for option in group.options):
        group.addoption(
            "--asyncio-debug",
            dest="asyncio_debug",
            action="store_true",
            default=None,
            help="turn on asyncio's debug mode in every loop",
        )
    keys: tuple[tuple[str, str, Any, Any], ...] = (
        ("asyncio_mode", "strict (default) or auto, as --asyncio-mode", None, "strict"),
        ("asyncio_debug", "as --asyncio-debug", "bool", False),
        (_FIXTURE_KEY, "loop of async fixtures: a scope, or fixture-scope (default) for their own", "string", None),
        (_TEST_KEY, "loop of async tests: a scope, default function", "string", "function"),
        (_BOTH_KEY, "loop of async tests and fixtures alike: a scope", "string", None),
        ("interleave_misuse", "fail (default without pytest-asyncio's keys) or warn", "string", None),
    )
    for name, text, kind, default in keys:
        if name not in parser._inidict:
            parser.addini(name, help=text, type=kind, default=default)


def read_settings(config: pytest.Config) -> Settings:
    """Return the configuration, or raise a one-line UsageError."""
    both = _scope(config, _BOTH_KEY)
    fixture_scope = _scope(config, _FIXTURE_KEY, _FIXTURE_SCOPE)
    test_scope = _scope(config, _TEST_KEY)
    assert test_scope is not None
    is_test_scope_set = _is_set(config, _TEST_KEY)
    if both is not None:
        fixture_scope = fixture_scope or both
        test_scope = test_scope if is_test_scope_set else both
    return Settings(
        mode=_mode(config),
        debug=_debug(config),
        fixture_loop_scope=None if fixture_scope in (None, _FIXTURE_SCOPE) else fixture_scope,  # type: ignore[arg-type]
        test_loop_scope=test_scope,  # type: ignore[arg-type]
        misuse=_misuse(config),
        is_loop_scope_configured=both is not None or fixture_scope is not None or is_test_scope_set,
        configured_fixture_loop_scope=fixture_scope,
        is_one_scope_key_set=both is not None,
    )


def _mode(config: pytest.Config) -> Mode:
    value = config.getoption("asyncio_mode")
    if value is None:
        value = config.getini("asyncio_mode")
    if value == "legacy":  # of pytest-asyncio 0.17, which pytest-aiohttp still takes
        config.issue_config_time_warning(LEGACY_MODE, stacklevel=3)
        return Mode.AUTO
    try:
        return Mode(value)
    except ValueError:
        modes = ", ".join(mode.value for mode in Mode)
        raise pytest.UsageError(f"{value!r} is not a valid asyncio_mode. Valid modes: {modes}.") from None


def _debug(config: pytest.Config) -> bool:
    value = config.getoption("asyncio_debug")
    if value is None:
        try:
            value = config.getini("asyncio_debug")
        except (ValueError, pytest.UsageError) as error:  # which one depends on the version of pytest
            raise pytest.UsageError(f"asyncio_debug: {error}") from None
    return value if isinstance(value, bool) else value == "true"


def _scope(config: pytest.Config, key: str, *more: str) -> str | None:
    value = config.getini(key)
    if not value:
        return None
    if value not in SCOPES and value not in more:
        raise pytest.UsageError(f"{value!r} is not a valid {key}. Valid scopes are: {', '.join(SCOPES)}.")
    return str(value)


def _misuse(config: pytest.Config) -> Misuse:
    value = config.getini("interleave_misuse")
    if not value:
        has_peer_configuration = (
            config.getoption("asyncio_mode") is not None
            or config.getoption("asyncio_debug") is not None
            or any(_is_set(config, key) for key in _PEER_KEYS)
        )
        return Misuse.WARN if has_peer_configuration else Misuse.FAIL
    try:
        return Misuse(value)
    except ValueError:
        raise pytest.UsageError(f"{value!r} is not a valid interleave_misuse. Valid values: fail, warn.") from None


def _is_set(config: pytest.Config, key: str) -> bool:
    values = getattr(config, "_inicfg", None)  # pytest 9 deprecates the public name
    if values is None:
        values = config.inicfg
    return key in values or any(pair.partition("=")[0] == key for pair in config.getoption("override_ini") or ())


assert set(get_args(ScopeName)) == set(SCOPES)
