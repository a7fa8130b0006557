"""Which shared names a line of source reads and writes, judged by its text.

This only picks the line that a report names; nothing is decided by it. Real accesses are not seen: two lines "meet" if
both name the same attribute, the same constant key, or the same variable of an outer scope, and one of them writes.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable

from pytest_interleave.loop.parsing import parse

_CONTAINER_MUTATORS = (
    "add",
    "append",
    "appendleft",
    "clear",
    "discard",
    "extend",
    "insert",
    "pop",
    "popitem",
    "popleft",
)
_MUTATORS = frozenset((*_CONTAINER_MUTATORS, "put_nowait", "remove", "set", "set_result", "setdefault", "update"))


def accesses(text: str, is_local: Callable[[str], bool]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the shared names that a statement reads, and those that it writes. ``is_local``: nobody else sees it."""
    tree = _parse(text)
    if tree is None:
        return frozenset(), frozenset()
    visitor = _Accesses(is_local)
    visitor.visit(tree)
    return frozenset(visitor.reads), frozenset(visitor.writes)


#: What stands around a line that is only part of a statement.
_AROUND = (("", ""), ("", " pass"), ("if 1: pass\n", " pass"), ("try: pass\n", " pass"), ("", ")"))


def _parse(text: str) -> ast.AST | None:
    text = textwrap.dedent(text).strip()
    if not text or text.startswith(("def ", "async def ", "class ", "@")):
        return None
    for head, tail in _AROUND:
        try:
            # In an async function: `async with` and `await` are no statements of a module.
            return parse("async def _():\n" + textwrap.indent(head + text + tail, " "))
        except SyntaxError:
            continue
    return None


class _Accesses(ast.NodeVisitor):
    def __init__(self, is_local: Callable[[str], bool]) -> None:
        self.is_local = is_local
        self.reads: set[str] = set()
        self.writes: set[str] = set()

    def _note(self, node: ast.AST, *, writes: bool) -> None:
        """Note what ``node`` refers to: ``.attribute``, ``[key]``, or a name of an outer scope."""
        found = self.writes if writes else self.reads
        if isinstance(node, ast.Attribute):
            found.add(f".{node.attr}")
        elif isinstance(node, ast.Subscript):
            if isinstance(node.slice, ast.Constant):
                found.add(f"[{node.slice.value!r}]")
            else:
                self._note(node.value, writes=writes)
        elif isinstance(node, ast.Name) and not self.is_local(node.id):
            found.add(node.id)

    def visit_Name(self, node: ast.Name) -> None:
        self._note(node, writes=not isinstance(node.ctx, ast.Load))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._note(node, writes=not isinstance(node.ctx, ast.Load))
        self._visit_base(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self._note(node, writes=not isinstance(node.ctx, ast.Load))
        self._visit_base(node.value)
        self.visit(node.slice)

    def _visit_base(self, node: ast.AST) -> None:
        # `self` in `self.total` is no access to a name that matters, but `a.b` in `a.b.c` is.
        if not isinstance(node, ast.Name):
            self.visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._note(node.target, writes=False)
        self.generic_visit(node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        for item in node.items:
            self._note(item.context_expr, writes=True)  # taking a lock changes it
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            thing = node.func.value
            if node.func.attr in _MUTATORS:
                self._note(thing, writes=True)
                self._visit_base(getattr(thing, "value", thing))
            else:
                self._note(thing, writes=False)
                self._visit_base(thing)
        elif not isinstance(node.func, ast.Name):
            self.visit(node.func)
        for argument in node.args:
            self.visit(argument)
        for keyword in node.keywords:
            self.visit(keyword.value)
