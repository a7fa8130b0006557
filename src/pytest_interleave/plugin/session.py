"""What belongs to a session, by its config.

The runner proper, and asyncio with it, is imported when the first async test is collected or the first async fixture
set up: to import asyncio costs 30 ms, and a suite without async tests should not pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_interleave.plugin.detecting.hooks import hooks_of
from pytest_interleave.plugin.options import Settings

if TYPE_CHECKING:
    from pytest_interleave.plugin.hosting import Hosting

_SETTINGS = pytest.StashKey[Settings]()
_HOSTING = pytest.StashKey["Hosting"]()


def attach(config: pytest.Config, settings: Settings) -> None:
    """Make these the session's settings."""
    config.stash[_SETTINGS] = settings


def settings_of(config: pytest.Config) -> Settings:
    """Return the session's settings."""
    return config.stash[_SETTINGS]


def hosting_of(config: pytest.Config) -> Hosting:
    """Return the session's hosts; make them if need be."""
    try:
        return config.stash[_HOSTING]
    except KeyError:
        from pytest_interleave.plugin.hosting import Hosting

        config.stash[_HOSTING] = hosting = Hosting(settings_of(config))
        hooks = hooks_of(config)
        if hooks is not None:
            from pytest_interleave.plugin.detecting.loops import LoopFindings

            hosting.loop_findings = LoopFindings(hooks)
        return hosting


def existing_hosting_of(config: pytest.Config) -> Hosting | None:
    """Return the session's hosts, if there are any."""
    return config.stash.get(_HOSTING, None)
