"""pytest-interleave in the place of pytest-aiohttp, so that suites which import its types run unchanged.

See ``pytest_asyncio`` beside this folder. PYTEST_DONT_REWRITE
"""

__version__ = "1.1.1"
