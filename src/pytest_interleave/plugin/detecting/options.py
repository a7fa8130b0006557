"""Levels and the allow-list of detectors: ini keys, flags and marks, read into values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from pytest_interleave.detectors.findings import DETECTORS, Finding, Level

DETECT_MARK = "interleave_detect"
ALLOW_MARK = "interleave_allow"
MARK_LINES = (
    f'{DETECT_MARK}(name="level", ...): levels of detectors for this test, as leaked_task="fail"; off, report or fail',
    f"{ALLOW_MARK}(name, match=regex): leave out findings of this detector whose place or summary matches",
)

#: Real suites have steps of 0.1 s on slow machines (importing, TLS contexts, compiling); 0.2 s is somebody's sleep.
_BLOCKED_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Allowed:
    """Findings that are left out: those of the detector whose place or summary matches."""

    detector: str
    pattern: re.Pattern[str]

    def covers(self, finding: Finding) -> bool:
        """Whether the finding is one of them."""
        return finding.detector == self.detector and any(
            self.pattern.search(text) for text in (finding.where, finding.summary) if text
        )


@dataclass(frozen=True, slots=True)
class DetectSettings:
    """What is configured for the session."""

    levels: dict[str, Level]
    allowed: tuple[Allowed, ...]
    blocked_seconds: float


def add_options(parser: pytest.Parser) -> None:
    """Register flags and ini keys."""
    group = parser.getgroup("interleave")
    group.addoption(
        "--interleave-detect",
        metavar="NAME=LEVEL",
        action="append",
        default=None,
        help="level of a detector: off, report or fail (repeatable)",
    )
    group.addoption(
        "--interleave-strict", action="store_true", default=None, help="whatever a detector finds fails the test"
    )
    parser.addini("interleave_detect", help="lines of 'detector = level'", type="linelist", default=[])
    parser.addini("interleave_strict", help="true: as --interleave-strict", type="string", default=None)
    parser.addini(
        "interleave_blocked_seconds", help="a step of the loop that takes longer is blocked-loop", type="string"
    )
    parser.addini("interleave_allow", help="lines of 'detector: regex over place or summary'", type="linelist")


def read_settings(config: pytest.Config) -> DetectSettings:
    """Return what is configured, or raise a one-line UsageError. What names a detector wins over strict."""
    try:
        is_strict = config.getoption("interleave_strict") or _read_strict(config.getini("interleave_strict"))
        levels = {name: Level.FAIL if is_strict else level for name, (level, _) in DETECTORS.items()}
        levels.update(_read_level("interleave_detect", line) for line in config.getini("interleave_detect"))
        levels.update(_read_level("--interleave-detect", text) for text in config.getoption("interleave_detect") or ())
        allowed = tuple(_read_allowed_line(line) for line in config.getini("interleave_allow"))
        return DetectSettings(levels, allowed, _read_seconds(config.getini("interleave_blocked_seconds")))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


def level_of(finding: Finding, item: pytest.Item | None, settings: DetectSettings) -> Level:
    """Return what is to become of the finding; OFF if it is allowed."""
    allowed: list[Allowed] = list(settings.allowed)
    if item is not None:
        allowed += [read_allow_mark(mark) for mark in item.iter_markers(ALLOW_MARK)]
    if any(entry.covers(finding) for entry in allowed):
        return Level.OFF
    return named_level(finding.detector, item, settings)


def named_level(detector: str, item: pytest.Item | None, settings: DetectSettings) -> Level:
    """Return the level of a detector, for one test if there is an item."""
    for mark in item.iter_markers(DETECT_MARK) if item is not None else ():  # the closest first
        named = read_detect_mark(mark)
        if detector in named:
            return named[detector]
    return settings.levels[detector]


def describe_wrong_mark(marks: Iterable[pytest.Mark]) -> str | None:
    """Return what is wrong with the first of our marks that is not right."""
    for mark in marks:
        try:
            if mark.name == DETECT_MARK:
                read_detect_mark(mark)
            elif mark.name == ALLOW_MARK:
                read_allow_mark(mark)
        except ValueError as error:
            return str(error)
    return None


def read_detect_mark(mark: pytest.Mark) -> dict[str, Level]:
    """Return the levels that a mark gives, or raise a ValueError of one line."""
    what = f"mark.{DETECT_MARK}"
    if mark.args or not mark.kwargs:
        raise ValueError(f'{what} takes detectors by name, as {DETECT_MARK}(leaked_task="fail").')
    return {_check_name(what, n.replace("_", "-")): _check_level(what, v) for n, v in mark.kwargs.items()}


def read_allow_mark(mark: pytest.Mark) -> Allowed:
    """Return what a mark allows, or raise a ValueError of one line."""
    what = f"mark.{ALLOW_MARK}"
    if len(mark.args) != 1 or not mark.kwargs.keys() <= {"match"}:
        raise ValueError(f'{what} takes a detector and match=, as {ALLOW_MARK}("leaked-task", match="worker.py").')
    return Allowed(_check_name(what, mark.args[0]), _compile(what, mark.kwargs.get("match", "")))


def _read_allowed_line(line: str) -> Allowed:
    name, _, pattern = line.partition(":")
    what = "interleave_allow"
    return Allowed(_check_name(what, name.strip()), _compile(what, pattern.strip()))


def _read_level(what: str, text: str) -> tuple[str, Level]:
    name, equals, level = text.partition("=")
    if not equals:
        raise ValueError(f"{what}: {text!r} is not of the form name=level, as leaked-task=fail.")
    return _check_name(what, name.strip()), _check_level(what, level.strip())


def _read_strict(value: str | None) -> bool:
    if value in (None, "", "false", "true"):
        return value == "true"
    raise ValueError(f"{value!r} is not a valid interleave_strict. Valid values: true, false.")


def _read_seconds(value: str | None) -> float:
    if not value:
        return _BLOCKED_SECONDS
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0.01 <= seconds <= 3600:
        raise ValueError(f"{value!r} is not a valid interleave_blocked_seconds: seconds, from 0.01.")
    return seconds


def _check_name(what: str, name: Any) -> str:
    if isinstance(name, str) and name in DETECTORS:
        return name
    near = difflib.get_close_matches(str(name), DETECTORS, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"Detectors are: {', '.join(DETECTORS)}."
    raise ValueError(f"{what}: there is no detector {name!r}. {hint}")


def _check_level(what: str, value: Any) -> Level:
    try:
        return Level(value)
    except ValueError:
        raise ValueError(f"{what}: {value!r} is not a level. Levels are: off, report, fail.") from None


def _compile(what: str, pattern: Any) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"{what}: {pattern!r} is not a regular expression: {error}.") from None
