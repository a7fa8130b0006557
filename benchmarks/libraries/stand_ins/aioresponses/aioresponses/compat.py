"""What aioresponses' own tests import of it: ours."""

from aiohttp import __version__
from packaging.version import Version
from yarl import URL

from pytest_interleave.net.aioresponses import merge_params, normalize_url

AIOHTTP_VERSION = Version(__version__)

__all__ = ["AIOHTTP_VERSION", "URL", "merge_params", "normalize_url"]
