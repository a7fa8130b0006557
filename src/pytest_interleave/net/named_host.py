"""A host that a test declared: what answers there, at which ports, and the way to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pytest_interleave.net import interception
from pytest_interleave.net.draw import check_kinds
from pytest_interleave.net.faults import read_faults
from pytest_interleave.net.served import Served
from pytest_interleave.net.way import Way

if TYPE_CHECKING:
    from pytest_interleave.net.endpoint import Endpoint
    from pytest_interleave.net.hosts import Hosts


class NamedHost:
    """A host that a test declared."""

    def __init__(self, hosts: Hosts, name: str, served: Served) -> None:
        self.hosts = hosts
        self.name = name
        self.served = served
        self.endpoints: dict[int, Endpoint] = {}
        self.starting = asyncio.Lock()
        #: How many connections were made to it so far.
        self.connections = 0
        self.way = Way(name, hosts)

    # -- faults --------------------------------------------------------------------------------------------------

    def faults(self, *, after: float = 0.0, lasting: float = float("inf"), **faults: Any) -> None:
        """Let the way to the host have these faults (``Faults`` names them), from ``after`` seconds on, so long.

        What is declared last holds where several would. The first call must come before the first connection; without
        faults it leaves the host healthy, and lets later calls reach the connections that are made then.
        """
        chosen = read_faults(faults)
        if chosen.is_of_tls and not any(endpoint.tls for endpoint in self.endpoints.values()):
            raise ValueError(f"{self.name} has no TLS that could fail or be slow")
        if self.connections and not self.way.is_moody and chosen.is_of_connections:
            raise RuntimeError(
                f"{self.name} was connected to before its first faults(), which would spare that connection: call "
                "faults() once before, without arguments if all is to be well at first"
            )
        self.way.schedule.add(chosen, after, lasting)
        self._tell_relays()

    def may_fail(self, *kinds: str) -> None:
        """Let a search choose, for each connection, whether one of these strikes: see ``Hosts.may_fail``."""
        self.way.own_kinds = check_kinds(kinds)

    def heal(self) -> None:
        """End all faults, those to come included."""
        self.way.heal()
        self._tell_relays()

    def _tell_relays(self) -> None:
        for endpoint in self.endpoints.values():
            if endpoint.relay is not None and interception.running_loop() is endpoint.loop:
                endpoint.relay.changed()

    # -- being served --------------------------------------------------------------------------------------------

    @property
    def is_started(self) -> bool:
        """Whether any client has connected."""
        return any(endpoint.loop is not None for endpoint in self.endpoints.values())

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that it is served in, once it is."""
        return next((endpoint.loop for endpoint in self.endpoints.values() if endpoint.loop is not None), None)

    def __repr__(self) -> str:
        ports = ", ".join(f"{port} (TLS)" if e.tls else str(port) for port, e in self.endpoints.items())
        return f"<host {self.name}, {'port' if len(self.endpoints) == 1 else 'ports'} {ports}>"

    def has_tls(self, port: int) -> bool:
        """Whether that port is under TLS."""
        endpoint = self.endpoints.get(port)
        return endpoint is not None and endpoint.tls

    async def close(self) -> None:
        """End its server."""
        if not self.is_started:
            return
        for endpoint in self.endpoints.values():
            await endpoint.close()
        await self.served.close()
        for endpoint in self.endpoints.values():
            endpoint.drop()
