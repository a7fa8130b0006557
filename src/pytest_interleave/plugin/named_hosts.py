"""The fixture ``hosts``: named hosts for one test, served in its loop and gone after it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_interleave.detectors.findings import Finding
from pytest_interleave.errors import RecordingError
from pytest_interleave.plugin.detecting.hooks import has_passed, is_failure, report_finding
from pytest_interleave.plugin.exploring.options import settings_for
from pytest_interleave.plugin.failures import argument_of
from pytest_interleave.plugin.items import get_loop_scope_of
from pytest_interleave.plugin.session import hosting_of

if TYPE_CHECKING:
    from pytest_interleave.net.calls import Unmatched
    from pytest_interleave.net.hosts import Hosts
    from pytest_interleave.net.refusal import Refusal
    from pytest_interleave.net.routes import Route

_SECTION = ("call", "network faults")


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

    def tell(text: str) -> None:
        if not is_searched:
            _add_to_section(item, text)

    def report_unmatched(unmatched: Unmatched) -> None:
        if not is_searched:
            report_finding(config, item, _finding_of_unmatched(item, unmatched))

    declared = Hosts(loop=loop, on_refusal=report, on_fault=tell, on_unmatched=report_unmatched).open()
    if explorer is not None:
        declared.kinds = settings_for(item, explorer.settings).faults
    try:
        yield declared
        _close_served(declared, item)
    finally:
        declared.close()
    if declared.errors:
        if isinstance(declared.errors[0], RecordingError):
            pytest.fail(str(declared.errors[0]), pytrace=False)
        raise declared.errors[0]
    # A test that failed has been told: `handler_failures` has added it to what came of it there.
    if is_searched or has_passed(config):
        for routes in declared.mocked:
            if routes.errors:
                raise routes.errors[0]
    if is_searched:
        _fail_run(config, item, declared)
    else:
        _report_unused(config, item, declared)


def _add_to_section(item: pytest.Item, text: str) -> None:
    """Add a line to what the test's report says of the network."""
    sections = item._report_sections
    for index, (when, name, lines) in enumerate(sections):
        if (when, name) == _SECTION:
            sections[index] = (when, name, f"{lines}\n{text}")
            return
    item.add_report_section(*_SECTION, text)


def _fail_run(config: pytest.Config, item: pytest.Function, declared: Hosts) -> None:
    """End a run of the search by what would fail the test; a route may stay unused in some of them."""
    found = [_finding_of(refusal) for refusal in declared.refusals]
    found += [_finding_of_unmatched(item, one) for routes in declared.mocked for one in routes.unmatched]
    for finding in found:
        if is_failure(config, item, finding):
            pytest.fail(finding.summary, pytrace=False)


def _report_unused(config: pytest.Config, item: pytest.Function, declared: Hosts) -> None:
    for routes in declared.mocked:
        # A test that did not get to its end has not used what it declared, nor has a request that went astray.
        if has_passed(config) and not routes.unmatched:
            for route in routes.unused():
                report_finding(config, item, _finding_of_unused(routes.name, route))


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
    return Finding("undeclared-host", refusal.summary, refusal.place or None, advice=refusal.advice)


def _finding_of_unmatched(item: pytest.Item, unmatched: Unmatched) -> Finding:
    return Finding(
        "unmatched-request",
        unmatched.summary(),
        unmatched.place,
        details=unmatched.differences(),
        advice=unmatched.advice.replace("{test}", shlex.quote(argument_of(item))),
    )


def _finding_of_unused(name: str, route: Route) -> Finding:
    return Finding(
        "unused-route",
        f"no request came to {route} of {name}",
        route.place,
        advice="Leave it out, or declare it with optional=True.",
    )
