"""Coroutines that were made and never awaited: the test that made one fails, with the line that made it.

CPython calls ``warnings._warn_unawaited_coroutine`` for each coroutine that is finalized before it started
(``_PyErr_WarnUnawaitedCoroutine`` in Python/_warnings.c). Taking its place costs nothing as long as there is none, and
gives the coroutine itself, with the line that made it (``sys.set_coroutine_origin_tracking_depth``).
"""

from __future__ import annotations

import gc
import linecache
import sys
import warnings
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pytest

from pytest_interleave.detectors.findings import Finding
from pytest_interleave.origins import is_of_python, lines_from

if TYPE_CHECKING:
    from pytest_interleave.plugin.detecting.hooks import DetectingHooks

_HOOK = "_warn_unawaited_coroutine"


class NeverAwaited:
    """Watches for one session; an inner session, in the same process, watches for itself."""

    def __init__(self, findings: DetectingHooks) -> None:
        self._findings = findings
        self._warn: Any = None
        self._depth = 0
        #: Whether the garbage collector is at work: what it drops may be of any test.
        self.is_collecting = False
        self._filters: Any = None
        self._show: Any = None

    def install(self) -> None:
        """Begin."""
        self._warn = getattr(warnings, _HOOK, None)
        if self._warn is None:
            return
        setattr(warnings, _HOOK, self._found)
        self._depth = sys.get_coroutine_origin_tracking_depth()
        sys.set_coroutine_origin_tracking_depth(max(self._depth, 1))
        gc.callbacks.append(self._on_collection)

    def uninstall(self) -> None:
        """End, and leave the process as it was."""
        if self._warn is None:
            return
        setattr(warnings, _HOOK, self._warn)
        sys.set_coroutine_origin_tracking_depth(self._depth)
        gc.callbacks.remove(self._on_collection)

    def tell_of_kept(self, coroutine: Any) -> bool:
        """Take a coroutine that was kept until the session ends; return whether it is a finding."""
        root = str(self._findings.config.rootpath)
        is_inner = getattr(self._warn, "__func__", None) is NeverAwaited._found
        if self._warn is None or (is_inner and not coroutine.cr_origin[0][0].startswith(root)):
            return False  # the outer session's may yet be awaited
        self.begin()  # no test is at its own business with warnings
        self.is_collecting = True  # it may be of any test
        try:
            return self._is_wanted(coroutine)
        finally:
            self.is_collecting = False

    def begin(self) -> None:
        """Remember how warnings are treated when a test begins: what it changes itself is its own business."""
        self._filters = warnings.filters
        self._show = getattr(warnings, "_showwarnmsg_impl", None)

    def _on_collection(self, phase: str, info: dict[str, int]) -> None:
        self.is_collecting = phase == "start"

    def _found(self, coroutine: Any) -> None:
        if not self._is_wanted(coroutine):
            self._warn(coroutine)

    def _is_wanted(self, coroutine: Any) -> bool:
        findings = self._findings
        if findings.item is None or self._is_test_looking(coroutine):
            return False
        code = coroutine.cr_code
        path, line, function = (coroutine.cr_origin or [(code.co_filename, code.co_firstlineno, "")])[0]
        owner = self._owner(path, line) if function else None if self.is_collecting else findings.item
        if is_of_python(path) and not self.is_collecting:  # AsyncMock: the caller may be here still
            caller = next(lines_from(sys._getframe()), None)
            if caller is not None and not _is_of_pytest(caller.path):
                path, line, function = caller[:3]
            else:  # it was kept until the test had ended
                path, line, function = _start_of(findings.item)
        finding = Finding(
            "never-awaited",
            f"coroutine '{coroutine.__qualname__}' was never awaited",
            f"{path}:{line}",
            tuple(filter(None, (linecache.getline(path, line).strip(), function and f"made in {function}"))),
            "Write 'await' before the call, or make a task of it; 'close()' it if it is not meant to run.",
        )
        return findings.take(owner, finding)

    def _owner(self, path: str, line: int) -> pytest.Item | None:
        """Return the test that made the coroutine, as far as that is known."""
        current = self._findings.item
        assert current is not None
        if _is_in(current, path, line):
            return current
        others = [item for item in current.session.items if _is_in(item, path, line)]
        if others:  # a test kept it; the one that drops it is innocent
            return others[0] if len(others) == 1 else None
        # A helper's line. What dies by its reference count dies where it was made; what the collector finds may be old.
        return None if self.is_collecting else current

    def _is_test_looking(self, coroutine: Any) -> bool:
        """Whether the test is looking for warnings itself (pytest.warns), or such ones are ignored by name."""
        if warnings.filters is not self._filters or getattr(warnings, "_showwarnmsg_impl", None) is not self._show:
            return True
        text = f"coroutine '{coroutine.__qualname__}' was never awaited"
        for action, message, category, _, _ in warnings.filters:
            pattern: Any = message
            if issubclass(RuntimeWarning, category) and (pattern is None or pattern.match(text)):
                return action == "ignore" and (pattern is not None or category is RuntimeWarning)
        return False


def _is_of_pytest(path: str) -> bool:
    return not {"_pytest", "pluggy"}.isdisjoint(PurePath(path).parts)


def _start_of(item: pytest.Item) -> tuple[str, int, str]:
    path, line, name = item.location
    return str(item.config.rootpath / path), (line or 0) + 1, name


def _is_in(item: pytest.Item, path: str, line: int) -> bool:
    function = getattr(item, "obj", None)
    code = getattr(getattr(function, "__wrapped__", function), "__code__", None)
    if code is None or code.co_filename != path or line < code.co_firstlineno:
        return False
    last = max((number for _, _, number in code.co_lines() if number is not None), default=0)
    return bool(line <= last)
