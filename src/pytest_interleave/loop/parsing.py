"""Python's parser, for what is read from a user's code."""

from __future__ import annotations

import ast


def parse(source: str) -> ast.Module:
    """Parse the source of a module; raise SyntaxError or ValueError if it is none.

    Python 3.11 raises SystemError where garbage is collected meanwhile, and what ends by it is logged with a traceback,
    whose carets are found by parsing (gh-106905). The garbage is gone then.
    """
    try:
        return ast.parse(source)
    except SystemError:
        return ast.parse(source)
