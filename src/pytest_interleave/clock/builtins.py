"""Builtin functions with no argument or one, replaced where they stand.

``from time import monotonic`` and ``def __init__(self, timer=time.monotonic)`` hold the builtin function itself, so it
is no use to put another into its module. time-machine replaces ``time.time`` and ``datetime.now`` in place, in C; from
its release 3.0 on it leaves the monotonic clocks alone, since asyncio's own loop stops when they stop.

A builtin function is a C structure: a header, the definition of its method, and ``self``, which for a function of a
module is the module. C calls ``definition.method(self, argument or NULL)``. With ``PyObject_CallNoArgs`` as the method
and a Python function as ``self``, that calls the Python function, and an exception in it (a Ctrl-C) goes the usual way,
as it does not from a callback of ctypes. Both words are side by side, and are written at once while the interpreter's
lock is held. What the module shares with its copies, the definition, is not written to.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pytest_interleave.errors import ClocksUnavailable

#: What calls a Python function as C calls the method of a builtin, by kinds of methods: METH_NOARGS and METH_O.
_CALLS = {4: "PyObject_CallNoArgs", 8: "PyObject_CallOneArg"}


class _Definition(ctypes.Structure):
    """``PyMethodDef`` of CPython's ``methodobject.h``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("method", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_void_p),
    )


#: Replaced ones look like what they replace, but for ``self``.
_ours: set[int] = set()


@contextmanager
def replaced(name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Let ``time.<name>`` call that function, whoever holds it and by whatever name."""
    words = _words_of(name)
    saved = tuple(words)
    old = _Definition.from_address(words[0] or 0)
    method = ctypes.cast(getattr(ctypes.pythonapi, _CALLS[old.flags]), ctypes.c_void_p)
    new = _Definition(old.name, method, old.flags, old.doc)
    held = ctypes.py_object(function)
    ctypes.pythonapi.Py_IncRef(held)  # for ``self``, which the garbage collector counts
    _ours.add(id(function))
    words[:] = (ctypes.addressof(new), id(function))
    try:
        yield
    finally:
        words[:] = saved
        _ours.discard(id(function))
        ctypes.pythonapi.Py_DecRef(held)


def _words_of(name: str) -> Any:
    """Return the definition and ``self`` of the builtin, as numbers that can be written."""
    builtin = getattr(time, name)
    if sys.implementation.name == "cpython" and type(builtin) is type(len):
        words = (ctypes.c_void_p * 2).from_address(id(builtin) + object.__basicsize__)
        if words[1] == id(time) or words[1] in _ours:
            definition = _Definition.from_address(words[0] or 0)
            if definition.name == name.encode() and definition.flags in _CALLS:
                return words
    raise ClocksUnavailable(
        f"time.{name} cannot be made virtual: on {sys.implementation.name} {sys.version.split()[0]} it is not the "
        "builtin function of CPython, or something else has replaced it before"
    )
