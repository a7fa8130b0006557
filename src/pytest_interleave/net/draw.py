"""The draw of what goes wrong: a choice of the search in an explored run, elsewhere by a generator with a fixed seed.

So a plain run is the same every time. In a search, 0 is the healthy case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from pytest_interleave.net.faults import HEALTHY, Faults, Seconds

#: What ``may_fail`` can be asked for.
CHOICES = ("refused", "dns", "tls", "handshake", "reset", "closed", "silent", "slow", "short")
#: Kinds that a route can fail with: the others strike before one is known.
CHOICES_OF_ROUTES = tuple(kind for kind in CHOICES if kind not in ("refused", "dns", "tls", "handshake"))
#: Where in the answers a connection is cut, in parts of them as they come.
_CUTS = {
    0.0: "before its answer",
    0.5: "in the middle of the first part of its answer",
    1.0: "after the first part of its answer",
    1.5: "in the middle of the second part of its answer",
}
_SLOW_SECONDS = 1.0
_SHORT_PIECES = 32
#: In how many values a search cuts a range of seconds.
_GRID = 4

#: Each with what it is called in a sentence that begins with "a connection to api.example.com".
_ALTERNATIVES: dict[str, list[tuple[Faults, str]]] = {
    "refused": [(Faults(refuse=True), "is refused")],
    "dns": [],  # asked when the name is looked up
    "tls": [(Faults(tls_failure=True), "is shown a certificate that nobody trusts")],
    "handshake": [
        (Faults(connect_latency=_SLOW_SECONDS), "takes 1 s longer to be made"),
        (Faults(tls_latency=_SLOW_SECONDS), "takes 1 s longer to agree upon TLS"),
    ],
    "reset": [(Faults(reset_part=part), f"is reset {where}") for part, where in _CUTS.items()],
    "closed": [(Faults(close_part=part), f"is closed {where}") for part, where in _CUTS.items()],
    "silent": [(Faults(hang_part=part), f"falls silent {where}") for part, where in _CUTS.items()],
    "slow": [(Faults(latency=_SLOW_SECONDS), "has a latency of 1 s")],
    "short": [(Faults(pieces=_SHORT_PIECES), "comes in short pieces")],
}


def check_kinds(kinds: tuple[str, ...], valid: tuple[str, ...] = CHOICES) -> tuple[str, ...]:
    """Return the kinds that a search may choose from, all if none is named; raise ValueError if one is none."""
    wrong = [kind for kind in kinds if kind not in valid]
    if not wrong:
        return kinds or valid
    if wrong[0] in CHOICES:
        raise ValueError(f"{wrong[0]!r} strikes before a route is known: say hosts[…].may_fail({wrong[0]!r})")
    raise ValueError(f"{wrong[0]!r} is no fault that may be chosen; these are: {', '.join(valid)}")


@dataclass(slots=True)
class Draw:
    """Makes the draws of one ``Hosts``. A ``subject`` is what a report says of whom: "a connection to cache"."""

    random: Random = field(default_factory=lambda: Random(0))

    def choose(
        self, alternatives: int, subject: str, describe: Callable[[int], str], *, is_fault: bool = False
    ) -> int | None:
        """Ask the search; None if no search is on. ``describe`` says what an answer means."""
        try:
            loop: Any = asyncio.get_running_loop()
        except RuntimeError:
            return None
        decider = getattr(loop, "decider", None)
        if decider is None:
            return None
        answer = int(decider.data(alternatives, is_fault=is_fault))
        if loop.observer is not None:
            loop.observer.drew_of_network(subject, describe(answer))
        return answer

    def seconds(self, value: Seconds, subject: str, what: str = "has a latency of {}") -> float:
        """Return the seconds of one connection; ``what`` says what takes them."""
        if isinstance(value, tuple):
            low, high = value

            def at(share: float) -> float:
                return low + (high - low) * share

            def at_step(step: int) -> str:
                return what.format(f"{at(step / (_GRID - 1)):.3g} s")

            step = self.choose(_GRID, subject, at_step) if high > low else 0
            return at(self.random.random() if step is None else step / (_GRID - 1))
        if callable(value):
            seed = self.choose(_GRID, subject, lambda seed: what.format(f"{value(Random(seed)):.3g} s"))
            return max(0.0, value(self.random if seed is None else Random(seed)))
        return value

    def is_struck(self, faults: Faults, subject: str) -> bool:
        """Whether a connection is struck by faults that only some have."""
        chance = faults.chance
        if chance in (0, 1):
            return chance == 1
        answer = self.choose(2, subject, lambda answer: f"has {faults}" if answer else "is healthy")
        return self.random.random() < chance if answer is None else answer == 1

    def fault(self, kinds: tuple[str, ...], subject: str, *, tls: bool = False) -> Faults:
        """Return one of those that a connection may fail with, or none; none outside a search."""
        options = [(HEALTHY, "is healthy")]
        for kind in kinds:
            options += [option for option in _ALTERNATIVES[kind] if tls or not option[0].is_of_tls]
        if len(options) == 1:
            return HEALTHY
        answer = self.choose(len(options), subject, lambda answer: options[answer][1], is_fault=True)
        return HEALTHY if answer is None else options[answer][0]
