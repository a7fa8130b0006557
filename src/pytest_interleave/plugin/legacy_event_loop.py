"""The ``event_loop`` fixture of pytest-asyncio 0.21 and before.

A suite that defines it chose its loop that way. Unless it also uses the newer loop scopes, its async tests and fixtures
run in that loop, and the suite works as it stands; one line at the end of the run says what to write instead. It is no
warning, because a suite with ``filterwarnings = error`` must be able to make the step too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_interleave.plugin.marks import has_loop_scope
from pytest_interleave.plugin.overrides import find_overrides

if TYPE_CHECKING:
    import asyncio

NAME = "event_loop"
_USED = pytest.StashKey[dict[str, int]]()
_IS_CONFIGURED = pytest.StashKey[bool]()


def attach(config: pytest.Config, *, is_loop_scope_configured: bool) -> None:
    """Prepare the count of tests that use the fixture."""
    config.stash[_USED] = {}
    config.stash[_IS_CONFIGURED] = is_loop_scope_configured


def is_used_by(item: pytest.Function) -> bool:
    """Whether the item's async code runs in the loop of the suite's ``event_loop`` fixture."""
    if find_overrides(NAME, item) is None or item.config.stash[_IS_CONFIGURED]:
        return False
    return not has_loop_scope(item.get_closest_marker("asyncio"))


def get_loop(item: pytest.Function) -> tuple[pytest.FixtureDef[object], asyncio.AbstractEventLoop]:
    """Return the fixture's definition and its loop; set it up if need be."""
    import asyncio

    loop = item._request.getfixturevalue(NAME)
    definition = item._request._get_active_fixturedef(NAME)
    if not isinstance(loop, asyncio.AbstractEventLoop):
        pytest.fail(f"The fixture 'event_loop' must give an event loop, but gave {loop!r}.", pytrace=False)
    if loop.is_closed():
        pytest.fail(
            "The fixture 'event_loop' gave a closed loop: let it close the loop after its yield.", pytrace=False
        )
    code = definition.func.__code__
    place = f"{code.co_filename}:{code.co_firstlineno}"
    used = item.config.stash[_USED]
    used[place] = used.get(place, 0) + 1
    return definition, loop


def describe_use(config: pytest.Config) -> str | None:
    """Return the one line for the end of the run, if the fixture was used."""
    used = config.stash.get(_USED, {})
    if not used:
        return None
    return (
        f"asyncio: async tests and fixtures ran in the loop of the fixture 'event_loop' ({', '.join(used)}). "
        "Overriding it is deprecated: delete it, and set asyncio_loop_scope to its scope."
    )
