"""pytest-interleave in the place of pytest-asyncio, so that suites which import it run unchanged.

The folder above is the last entry of ``sys.path`` (by a ``.pth`` file): where pytest-asyncio is installed, Python finds
that one first. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from pytest_interleave.plugin import surface as plugin
from pytest_interleave.plugin.surface import fixture, is_async_test

__version__ = "1.5.0"
__all__ = ["fixture", "is_async_test", "plugin"]
