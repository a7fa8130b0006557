"""The fixture ``hosts``: named hosts for one test, served in its loop and gone after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_interleave.detectors.findings import Finding
from pytest_interleave.plugin.detecting.hooks import is_failure, report_finding
from pytest_interleave.plugin.items import get_loop_scope_of
from pytest_interleave.plugin.session import hosting_of

if TYPE_CHECKING:
    from pytest_interleave.net.hosts import Hosts, Refusal


@pytest.fixture
def hosts(request: pytest.FixtureRequest) -> Iterator[Hosts]:
    """Named hosts: ``hosts.serve("https://api.example.com", app)``. Whatever is not declared cannot be reached."""
    from pytest_interleave.net.hosts import Hosts

    item: pytest.Function = request.node
    config = request.config
    scope = get_loop_scope_of(item)
    # Opened before this fixture is set up, the loop is closed after this fixture is torn down.
    loop = None if scope is None else hosting_of(config).host_for(item, scope, may_be_legacy=True).host.loop
    explorer = config.pluginmanager.get_plugin("interleave-explorer")
    is_searched = explorer is not None and explorer.is_silent

    def report(refusal: Refusal) -> None:
        if not is_searched:
            report_finding(config, item, _finding_of(refusal))

    declared = Hosts(loop=loop, on_refusal=report).open()
    try:
        yield declared
        _close_served(declared, item)
    finally:
        declared.close()
    if declared.errors:
        raise declared.errors[0]
    if is_searched and any(is_failure(config, item, _finding_of(refusal)) for refusal in declared.refusals):
        pytest.fail(_finding_of(declared.refusals[0]).summary, pytrace=False)


def _close_served(declared: Hosts, item: pytest.Function) -> None:
    """End the servers, each in its own loop; a loop that is closed has closed its sockets."""
    for loop in declared.loops():
        if loop.is_closed() or loop.is_running():
            continue
        for open_host in hosting_of(item.config).hosts_around(item):
            if open_host.host.loop is loop:
                open_host.host.run(declared.close_served())
                break
        else:
            loop.run_until_complete(declared.close_served())  # a loop of another plugin's (anyio)


def _finding_of(refusal: Refusal) -> Finding:
    from pytest_interleave.net.hosts import describe_refusal

    return Finding(
        "undeclared-host",
        describe_refusal(refusal.target, list(refusal.declared)),
        refusal.place or None,
        advice=_advise(refusal),
    )


def _advise(refusal: Refusal) -> str:
    name = refusal.target.rpartition(":")[0] or refusal.target
    return f'Declare it, hosts.serve("{name}", …), or let it be reached for real, hosts.allow("{name}").'
