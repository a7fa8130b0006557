"""Context variables: one context for a test and its fixtures, kept in step with the one that pytest runs in.

Async code of a test (its function-scoped fixtures, its body, their tear-downs) runs in one context of its own, so that
nothing leaks to the next test. Sync code (sync fixtures, hooks) runs in pytest's context, the *ambient* one. Before an
async job what sync code changed is copied in; after a set-up what it changed is copied out, and undone when that
fixture is torn down. A variable can only be unset with a token that was made when it was not set yet, hence the tokens.
"""

from __future__ import annotations

from contextvars import Context, ContextVar, Token, copy_context
from typing import Any, TypeAlias

Changes: TypeAlias = list[tuple[ContextVar[Any], Token[Any]]]

_MISSING: Any = object()


class JobContext:
    """The context of jobs that belong together, and what it has seen of the ambient one."""

    __slots__ = ("_mirrored", "_seen", "context")

    def __init__(self) -> None:
        self.context = copy_context()
        self._seen = copy_context()
        self._mirrored: dict[ContextVar[Any], Token[Any]] | None = None

    def take_ambient(self) -> None:
        """Copy in what changed in the ambient context since the last time."""
        ambient = copy_context()
        seen = self._seen
        for var, value in ambient.items():
            if seen.get(var, _MISSING) is not value:
                break
        else:
            if len(ambient) == len(seen):
                return  # as nearly always
        run = self.context.run
        for var, value in ambient.items():
            if seen.get(var, _MISSING) is not value and self.context.get(var, _MISSING) is not value:
                was_missing = var not in self.context
                token = run(var.set, value)
                if was_missing:
                    self._mirrored = self._mirrored or {}
                    self._mirrored[var] = token
        for var in seen:
            if var not in ambient and self._mirrored and (mirrored := self._mirrored.pop(var, None)) is not None:
                run(var.reset, mirrored)
        self._seen = ambient

    def publish(self) -> Changes:
        """Copy to the ambient context what differs here; return what ``undo`` needs to take it back."""
        if not len(self.context):
            return []
        changes = copy_changes(self.context)
        if changes:
            self._seen = copy_context()
        return changes

    def adopt(self, context: Context) -> Changes:
        """Copy to this context what differs in another one."""
        if not len(context):
            return []
        return self.context.run(copy_changes, context)

    def undo(self, changes: Changes) -> None:
        """Take back what ``adopt`` did."""
        self.context.run(undo, changes)


def copy_changes(source: Context) -> Changes:
    """Copy to the current context what differs in ``source``."""
    current = copy_context()
    changes: Changes = []
    for var, value in source.items():
        if current.get(var, _MISSING) is not value:
            changes.append((var, var.set(value)))  # a comprehension is a call before Python 3.12
    return changes


def undo(changes: Changes) -> None:
    """Take back changes that were made to the current context, last one first."""
    while changes:
        var, token = changes.pop()
        try:
            var.reset(token)
        except ValueError:  # made in another context: pytest was not in its usual one
            pass
