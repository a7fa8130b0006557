"""Stands for the module that it becomes when it is imported. PYTEST_DONT_REWRITE."""

from __future__ import annotations

import sys

from pytest_interleave.plugin.http import aiohttp_fixtures

sys.modules[__name__] = aiohttp_fixtures
