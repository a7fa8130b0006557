"""What aioresponses' own tests import of it: ours."""

from pytest_interleave.aioresponses import CallbackResult, aioresponses

__all__ = ["CallbackResult", "aioresponses"]
