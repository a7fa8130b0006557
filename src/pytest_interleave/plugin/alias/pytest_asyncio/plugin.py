"""Stands for the module that it becomes when it is imported. PYTEST_DONT_REWRITE."""

from __future__ import annotations

import sys

from pytest_interleave.plugin import surface

sys.modules[__name__] = surface
