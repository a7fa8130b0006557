"""Attempts to reach what nobody here answers for, as values, and what is said of them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass


@dataclass(frozen=True)
class Past:
    """A library whose connections are made in C, past Python's sockets."""

    #: As its user knows it.
    library: str
    #: What does the same by Python's sockets.
    instead: str


@dataclass(frozen=True)
class Refusal:
    """An attempt to reach what no host declares, or what cannot be led to one."""

    target: str
    #: ``file:line`` of the innermost line on the stack that is neither Python's nor a library's, if there is one.
    place: str
    declared: tuple[str, ...]
    past: Past | None = None

    @property
    def name(self) -> str:
        """The host, without the port."""
        return self.target.rpartition(":")[0] or self.target

    @property
    def summary(self) -> str:
        """One line for whoever looks at a failing test."""
        if self.past is not None:
            return (
                f"{self.past.library} works in C, past Python's sockets: on its way to {self.target} it cannot be led "
                "to a host of this test"
            )
        close = difflib.get_close_matches(self.name, self.declared, 1)
        hint = f" Did you mean {close[0]}?" if close and close[0] != self.name else ""
        names = f"declared are {', '.join(self.declared)}" if self.declared else "none is declared"
        return f"{self.target} is no host of this test; {names}.{hint}"

    @property
    def advice(self) -> str:
        """What to do about it."""
        if self.past is not None:
            return (
                f'Let it reach what is really there, hosts.allow("{self.name}"), or use what works by Python\'s '
                f"sockets: {self.past.instead}."
            )
        return f'Declare it, hosts.serve("{self.name}", …), or let it be reached for real, hosts.allow("{self.name}").'

    @property
    def text(self) -> str:
        """What the client's error says."""
        return self.summary if self.past is None else f"{self.summary}. {self.advice}"
