"""Servers, connections, pipes and subprocesses that are open when their loop ends."""

from __future__ import annotations

import asyncio
import inspect
import shlex
import sys
from types import CodeType
from typing import Any

from pytest_interleave.detectors.findings import Finding
from pytest_interleave.loop import _plain
from pytest_interleave.origins import is_of_python

_NAME = "left-open"
#: How deep a handler lies in the closures of those who take it: start_server's factory holds it itself.
_DEPTH = 4


def open_end(end: Any, made_by: Any) -> Finding | None:
    """Return the finding for an open server, with its protocol factory, or an open transport, with its protocol.

    Connections that a server took are left out: they end with their client, which is told if it is one of ours.
    """
    if isinstance(end, asyncio.AbstractServer):
        addresses = [each.getsockname() for each in getattr(end, "sockets", ()) if each.fileno() != -1]
        interception = sys.modules.get("pytest_interleave.net.interception")
        if not addresses:
            return None  # its sockets are closed
        if interception is not None and all(map(interception.is_ours, addresses)):
            return None  # that of a named host which was declared outside of the loop
        code = _find_code(made_by, _DEPTH)
        where = None if code is None else f"{code.co_filename}:{code.co_firstlineno}"
        of = "" if code is None else f" of {code.co_qualname!r}"
        names = " and ".join(map(_address, addresses))
        advice = "Close it: 'async with server:', or server.close() and await server.wait_closed()."
        return Finding(_NAME, f"the server{of} on {names} was not closed", where, advice=advice)
    process = _plain.subprocess_of(made_by)
    if process is not None:
        command = getattr(process.get_extra_info("subprocess"), "args", "")
        text = command if isinstance(command, str) else shlex.join(map(str, command))
        advice = "Wait for it, or kill it and wait for it: process.kill(), await process.wait()."
        return Finding(_NAME, f"the subprocess {text!r} still ran", advice=advice)
    if _plain.is_accepted(end):
        return None
    peer = end.get_extra_info("peername") or end.get_extra_info("sockname")
    if peer is not None:
        what = (
            f"the connection to {_address(peer)}" if end.get_extra_info("peername") else f"the socket {_address(peer)}"
        )
        advice = "Close it: writer.close() and await writer.wait_closed(), or transport.close()."
    elif end.get_extra_info("pipe") is not None:
        what = "a pipe"
        advice = "Close its transport."
    else:
        return None
    code = _find_code(type(made_by), 0)
    where = None if code is None else f"{code.co_filename}:{code.co_firstlineno}"
    return Finding(_NAME, f"{what} ({type(made_by).__qualname__}) was not closed", where, advice=advice)


def _address(name: Any) -> str:
    if isinstance(name, tuple):
        return f"{name[0]}:{name[1]}"
    return str(name) if name else "an unnamed socket"


def _find_code(of: Any, depth: int) -> CodeType | None:
    """Return the user's function in a factory: itself, or one that it holds in its closure or is bound to."""
    if isinstance(of, type):
        own = next((value for value in vars(of).values() if inspect.isfunction(value)), None)
        return None if own is None else _own(own.__code__)
    function = getattr(of, "func", None) or getattr(of, "__func__", of)  # a partial, a method
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    if _own(code) is not None:
        return code  # type: ignore[no-any-return]
    if depth:
        for cell in getattr(function, "__closure__", None) or ():
            try:
                found = _find_code(cell.cell_contents, depth - 1)
            except ValueError:  # empty
                continue
            if found is not None:
                return found
    return None


def _own(code: CodeType) -> CodeType | None:
    return None if is_of_python(code.co_filename) else code
