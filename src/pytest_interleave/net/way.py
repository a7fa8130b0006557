"""The way to a named host: what goes wrong there when a name is looked up and a connection is made."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pytest_interleave.net import interception
from pytest_interleave.net.faults import HEALTHY, Faults, Schedule

if TYPE_CHECKING:
    from pytest_interleave.net.hosts import Hosts


class Way:
    """The way to one host."""

    def __init__(self, name: str, hosts: Hosts) -> None:
        self.hosts = hosts
        self.schedule = Schedule(hosts.now)
        #: Kinds of faults that a search may choose here; none: those that it may choose anywhere.
        self.own_kinds: tuple[str, ...] = ()
        #: Of whom a report speaks.
        self.subject = f"a connection to {name}"
        self._is_healed = False

    @property
    def is_moody(self) -> bool:
        """Whether connections must go where faults can reach them."""
        return bool(self.schedule or self._is_healed or self._kinds)

    @property
    def _kinds(self) -> tuple[str, ...]:
        return self.own_kinds or self.hosts.kinds

    def heal(self) -> None:
        """End all faults, those to come included."""
        self._is_healed = True
        self.schedule.clear()

    def note_fault(self, what: str) -> None:
        """Note what has struck a connection."""
        self.hosts.note_fault(f"{self.subject} {what}")

    def draw(self, *, tls: bool) -> Fate:
        """Return what a new connection has for itself: nothing if it only shares what all have."""
        return Fate(self, self.hosts.draw_own(self.schedule.faults_now(), self._kinds, self.subject, tls=tls))

    def check_look_up(self, name: str) -> None:
        """Raise if the name cannot be looked up."""
        if self.schedule.faults_now().dns_failure:
            self._fail_look_up(name)

    def _fail_look_up(self, name: str) -> None:
        self.hosts.note_fault(f"{name} could not be looked up")
        raise interception.no_answer()

    async def look_up(self, name: str) -> None:
        """Take as long as a look-up of the name does; raise if a search has it fail."""
        if not self.is_moody:
            return
        draw, subject = self.hosts.draw, f"the look-up of {name}"
        seconds = draw.seconds(self.schedule.faults_now().dns_latency, subject, "takes {}")
        if seconds:
            await asyncio.sleep(seconds)
        outcomes = "is healthy", "fails"
        if "dns" in self._kinds and draw.choose(2, subject, outcomes.__getitem__, is_fault=True):
            self._fail_look_up(name)

    async def set_out(self, *, tls: bool) -> Fate | None:
        """Take as long as it takes to reach the host; return the fate of the connection."""
        if not self.is_moody:
            return None
        fate = self.draw(tls=tls)
        connect = self.hosts.draw.seconds(fate.faults.connect_latency, self.subject, "takes {} longer to be made")
        seconds = 2 * fate.latency + connect
        if seconds:
            await asyncio.sleep(seconds)
        while self.schedule.faults_now().partition:
            await self.schedule.wait_for_change()
        return fate


class Fate:
    """What a connection has for itself, and what was drawn for it of what all have."""

    def __init__(self, way: Way, own: Faults) -> None:
        self.way = way
        self._own = own
        self._drawn_for = HEALTHY
        self._latency = 0.0

    @property
    def faults(self) -> Faults:
        """What holds now: its own faults, or else those that all have."""
        if self._own is not HEALTHY:
            return self._own
        return self.way.schedule.faults_now().shared

    @property
    def latency(self) -> float:
        """How long a byte is under way now."""
        faults = self.faults
        if faults is not self._drawn_for:
            self._drawn_for = faults
            self._latency = self.way.hosts.draw.seconds(faults.latency, self.way.subject)
        return self._latency
