"""The pytest plugin: registers the parts, each of which has a module to itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_interleave.plugin import garbage, legacy_event_loop, loop_mismatch, recording, session, takeover
from pytest_interleave.plugin.answers import QuickFunction
from pytest_interleave.plugin.builtin_fixtures import (
    _asyncio_loop_factory,
    _class_scoped_runner,
    _function_scoped_runner,
    _module_scoped_runner,
    _package_scoped_runner,
    _session_scoped_runner,
    event_loop,
)
from pytest_interleave.plugin.clock_options import add_options as add_clock_options
from pytest_interleave.plugin.clock_options import read_clocks
from pytest_interleave.plugin.collection import CollectionHooks
from pytest_interleave.plugin.detecting.hooks import NAME as DETECTING
from pytest_interleave.plugin.detecting.hooks import DetectingHooks, SentFindings, are_reports_sent
from pytest_interleave.plugin.detecting.on_signal import NAME as ON_SIGNAL
from pytest_interleave.plugin.detecting.on_signal import OnSignal
from pytest_interleave.plugin.detecting.options import ALLOW_MARK, DETECT_MARK
from pytest_interleave.plugin.detecting.options import MARK_LINES as DETECT_MARK_LINES
from pytest_interleave.plugin.detecting.options import add_options as add_detect_options
from pytest_interleave.plugin.detecting.options import read_settings as read_detect_settings
from pytest_interleave.plugin.exploring.options import MARK as EXPLORE_MARK
from pytest_interleave.plugin.exploring.options import MARK_LINE as EXPLORE_MARK_LINE
from pytest_interleave.plugin.exploring.options import TIMEOUT_MARK_LINE, ExploreSettings, read_time_limit
from pytest_interleave.plugin.exploring.options import add_options as add_explore_options
from pytest_interleave.plugin.exploring.options import read_settings as read_explore_settings
from pytest_interleave.plugin.fixtures import FixtureHooks
from pytest_interleave.plugin.http import aiohttp_fixtures
from pytest_interleave.plugin.http.mock_session import mock_session
from pytest_interleave.plugin.marks import MARK_LINE
from pytest_interleave.plugin.misuse import Explanations, refuse_wrong_marks
from pytest_interleave.plugin.named_hosts import hosts
from pytest_interleave.plugin.options import read_settings
from pytest_interleave.plugin.policy import event_loop_policy
from pytest_interleave.plugin.surface import (
    unused_tcp_port,
    unused_tcp_port_factory,
    unused_udp_port,
    unused_udp_port_factory,
)
from pytest_interleave.plugin.virtual_options import MARK as VIRTUAL_MARK
from pytest_interleave.plugin.virtual_options import MARK_LINE as VIRTUAL_MARK_LINE
from pytest_interleave.plugin.virtual_options import add_options as add_virtual_options
from pytest_interleave.plugin.virtual_options import is_for_all as is_virtual_for_all

if TYPE_CHECKING:
    from pytest_interleave.plugin.exploring.reports import Reporter

# pytest finds fixtures in the namespace of a plugin.
__all__ = [
    "_asyncio_loop_factory",
    "_class_scoped_runner",
    "_function_scoped_runner",
    "_module_scoped_runner",
    "_package_scoped_runner",
    "_session_scoped_runner",
    "event_loop",
    "event_loop_policy",
    "hosts",
    "mock_session",
    "unused_tcp_port",
    "unused_tcp_port_factory",
    "unused_udp_port",
    "unused_udp_port_factory",
]


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Take the place of pytest-asyncio."""
    if takeover.is_turned_off(pluginmanager):
        return
    takeover.take_over(parser, pluginmanager)
    add_explore_options(parser)
    add_detect_options(parser)
    add_virtual_options(parser)
    add_clock_options(parser)
    recording.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options and register the parts."""
    if takeover.find_stand_in(config) is None:
        return
    config.addinivalue_line("markers", MARK_LINE)
    settings = read_settings(config)
    session.attach(config, settings)
    if config.pluginmanager.has_plugin("pytester"):
        # It forgets what a session in the session imports, but for C's half of asyncio: what is then imported once more
        # does not fit what stayed.
        import pytest_interleave.plugin.fixture_jobs
        import pytest_interleave.plugin.hosting  # noqa: F401
    legacy_event_loop.attach(config, is_loop_scope_configured=settings.is_loop_scope_configured)
    register = config.pluginmanager.register
    register(garbage.CollectorRest(), garbage.NAME)
    register(CollectionHooks(settings), "interleave-collection")
    register(FixtureHooks(settings), "interleave-fixtures")
    config.addinivalue_line("markers", EXPLORE_MARK_LINE)
    for line in (*DETECT_MARK_LINES, VIRTUAL_MARK_LINE):
        config.addinivalue_line("markers", line)
    # pytest-aiohttp itself, or the older plugin in aiohttp, which runs the tests that ask for its loop.
    if not any(map(config.pluginmanager.has_plugin, ("aiohttp", "aiohttp.pytest_plugin"))):
        register(aiohttp_fixtures, "interleave-aiohttp")
    detecting = DetectingHooks(config, read_detect_settings(config), Explanations(settings))
    register(detecting, DETECTING)
    if are_reports_sent(config):
        register(SentFindings(detecting), f"{DETECTING}-sent")
    register(OnSignal(), ON_SIGNAL)
    is_virtual_for_all(config)  # these three complain before any test runs
    read_clocks(config)
    read_time_limit(config)
    if not config.pluginmanager.has_plugin("timeout"):  # pytest-timeout itself
        config.addinivalue_line("markers", TIMEOUT_MARK_LINE)
    explore_settings = read_explore_settings(config)
    if recording.is_recording(config):
        if explore_settings.enabled:
            raise pytest.UsageError(
                "--interleave-record asks real hosts, which exploring cannot: record without --interleave "
                "(-o interleave=false, if it is configured), then explore what was recorded."
            )
        register(recording.RecordingSession(config), "interleave-recording")
    if explore_settings.enabled:
        _explore(config, explore_settings)
    elif config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        _report(config, explore_settings)  # the workers may come upon marks


def pytest_collection_finish(session: pytest.Session) -> None:
    """Explore the tests that are marked for it, also without the flag; let others run in virtual time."""
    config = session.config
    if takeover.find_stand_in(config) is None:
        return
    _note_kinds(config)
    if config.pluginmanager.has_plugin("looptime_plugin"):
        from pytest_interleave.plugin.looptime_loops import LooptimeLoops

        config.pluginmanager.register(LooptimeLoops(config), "interleave-looptime")
    marks = _marks_of(session.items)
    if DETECT_MARK in marks or ALLOW_MARK in marks:
        refuse_wrong_marks(session.items)
    is_for_all = is_virtual_for_all(config)
    if is_for_all or VIRTUAL_MARK in marks:
        from pytest_interleave.plugin.virtual_time import VirtualTime

        config.pluginmanager.register(VirtualTime(session, is_for_all=is_for_all), "interleave-virtual-time")
    seconds = read_time_limit(config)
    if seconds or EXPLORE_MARK in marks or "timeout" in marks:
        from pytest_interleave.plugin.detecting.time_limits import NAME, TimeLimits

        config.pluginmanager.register(TimeLimits(config, seconds), NAME)
    is_explorer_missing = not config.pluginmanager.has_plugin("interleave-explorer")
    if EXPLORE_MARK in marks and is_explorer_missing and not recording.is_recording(config):
        _explore(config, read_explore_settings(config))


def _note_kinds(config: pytest.Config) -> None:
    """Note what is opened of the classes that test modules have imported."""
    hosting = session.existing_hosting_of(config)
    if hosting is not None and hosting.loop_findings is not None:
        hosting.loop_findings.note_kinds()


def _marks_of(items: list[pytest.Item]) -> set[str]:
    """Return the names of all marks of the tests."""
    marks = {mark.name for item in items for mark in item.own_markers}
    parent = None
    for item in items:
        if item.parent is not parent:  # far fewer than tests, and nearly all asked once
            parent = item.parent
            assert parent is not None
            marks.update(mark.name for mark in parent.iter_markers())
    return marks


def _explore(config: pytest.Config, settings: ExploreSettings) -> None:
    from pytest_interleave.plugin.exploring.protocol import Explorer

    config.pluginmanager.register(Explorer(config, settings, _report(config, settings)), "interleave-explorer")


def _report(config: pytest.Config, settings: ExploreSettings) -> Reporter:
    from pytest_interleave.plugin.exploring.reports import Reporter

    reporter = Reporter(config, settings)
    config.pluginmanager.register(reporter, "interleave-reports")
    return reporter


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind in the process."""
    hosting = session.existing_hosting_of(config)
    if hosting is not None:
        hosting.close()
    QuickFunction.hooks_of = None, None


@pytest.hookimpl(tryfirst=True)
def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is configured, in the format of pytest-asyncio."""
    stand_in = takeover.find_stand_in(config)
    if stand_in is None:
        return []
    settings = session.settings_of(config)
    lines = [
        f"asyncio: mode={settings.mode}, debug={settings.debug}, "
        f"asyncio_default_fixture_loop_scope={settings.configured_fixture_loop_scope}, "
        f"asyncio_default_test_loop_scope={settings.test_loop_scope}"
    ]
    if stand_in.replaced:
        lines.append("asyncio: run by pytest-interleave in place of pytest-asyncio (-p no:interleave gives it back)")
    mismatch = loop_mismatch.describe_configuration(settings)
    if mismatch is not None:
        lines.append(mismatch)
    return lines


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say once what should be changed in the suite."""
    line = legacy_event_loop.describe_use(config)
    if line is not None:
        terminalreporter.write_line(line)
