from __future__ import annotations

import ast
import gc

from pytest_interleave.loop.parsing import parse

_SOURCE = "\n".join(f"x{number} = [{number}, (a + b) * c]" for number in range(200))


class _Parses:
    """Garbage of which something is parsed when it is collected, as where a lost exception is logged."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        ast.parse("1 + 1")


def test_what_is_collected_meanwhile_may_parse_too() -> None:
    gc.collect()
    _Parses()
    before = gc.get_threshold()
    gc.set_threshold(500, 1, 1)
    try:
        tree = parse(_SOURCE)
    finally:
        gc.set_threshold(*before)

    assert len(tree.body) == 200
