"""Take the asyncio tests over from pytest-asyncio, whichever of the two was loaded first.

A second plugin with the same options and hook specification stops pytest at start-up, so one of the two must give way:

- ours first: the name "asyncio" is taken by a stand-in, and pytest does not load the entry point of that name;
- theirs first: it is unregistered, and the options and the hook specification that it leaves behind are used;
- ``-p asyncio`` without it registers the module asyncio of the standard library: that is replaced as well;
- ``-p pytest_asyncio.plugin`` without it, and without our entry point, registers ``surface``, which loads us;
- ``-p no:asyncio``: nobody runs asyncio tests, neither do we.

The stand-in keeps ``has_plugin("asyncio")`` true for those who ask (anyio, pytest-asyncio-cooperative).
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from pytest_interleave.plugin import surface
from pytest_interleave.plugin.options import add_options

NAME = "asyncio"
#: Our entry point, and the module that it loads.
_OWN_NAMES = ("interleave", "pytest_interleave.plugin")
_PACKAGE = "pytest_asyncio"
_ALIAS = Path(__file__).with_name("alias") / _PACKAGE / "__init__.py"
_HOOK = "pytest_asyncio_loop_factories"


class StandIn:
    """Holds the plugin name "asyncio"."""

    #: Other plugins take what has this name for a module, and compare where fixtures are from (looptime).
    __name__ = f"{_PACKAGE}.plugin"

    def __init__(self, *, replaced: bool) -> None:
        #: Whether pytest-asyncio itself is installed and had to give way.
        self.replaced = replaced


class OwnName:
    """Holds the other of our two names, for pytest ends in an error where it loads a plugin by both."""


class HookSpecs:
    """The hook of pytest-asyncio that we call."""

    @pytest.hookspec(firstresult=True)
    def pytest_asyncio_loop_factories(
        self, config: pytest.Config, item: pytest.Item
    ) -> Mapping[str, Callable[[], Any]] | None:
        """Return the event loop factories, by name, that an async test is to be run with."""


def is_turned_off(manager: pytest.PytestPluginManager) -> bool:
    """Whether the user does not want us, though something loads us: the name of pytest-asyncio in a conftest.py."""
    return manager.is_blocked(_OWN_NAMES[0])


def take_over(parser: pytest.Parser, manager: pytest.PytestPluginManager) -> None:
    """Become the plugin "asyncio", unless it is blocked."""
    for name in _OWN_NAMES:
        if not manager.has_plugin(name):
            manager.register(OwnName(), name)
    if manager.is_blocked(NAME):
        return
    is_installed = _is_real_package_installed()
    for name, plugin in manager.list_name_plugin():
        if name == NAME or getattr(plugin, "__name__", None) == f"{_PACKAGE}.plugin":
            manager.unregister(plugin)
    if not hasattr(manager.hook, _HOOK) or getattr(manager.hook, _HOOK).spec is None:
        manager.add_hookspecs(HookSpecs)
    add_options(parser)
    manager.register(StandIn(replaced=is_installed), NAME)
    _install_alias()


def find_stand_in(config: pytest.Config) -> StandIn | None:
    """Return the stand-in, if we are the ones who run asyncio tests."""
    plugin = config.pluginmanager.get_plugin(NAME)
    return plugin if isinstance(plugin, StandIn) else None


def _is_real_package_installed() -> bool:
    """Whether pytest-asyncio itself is there; our alias answers to its name too."""
    module = sys.modules.get(_PACKAGE)
    if module is not None and not _is_alias(module.__spec__):
        return True
    spec = importlib.machinery.PathFinder.find_spec(_PACKAGE)
    return spec is not None and not _is_alias(spec)


def _is_alias(spec: ModuleSpec | None) -> bool:
    return spec is not None and spec.origin == str(_ALIAS)


def _install_alias() -> None:
    module = sys.modules.get(_PACKAGE)
    if module is None or not _is_alias(module.__spec__):
        spec = importlib.util.spec_from_file_location(_PACKAGE, _ALIAS, submodule_search_locations=[str(_ALIAS.parent)])
        assert spec is not None
        assert spec.loader is not None
        sys.modules[_PACKAGE] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    sys.modules[f"{_PACKAGE}.plugin"] = surface
