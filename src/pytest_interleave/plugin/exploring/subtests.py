"""Sub-tests in runs that nobody is to hear: the first that fails is the failure of the run, and none is reported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAME = "subtests"


class SilentSubtests:
    """Stands for the fixture ``subtests``, pytest's own or pytest-subtests'."""

    def __init__(self) -> None:
        self.failure: BaseException | None = None

    @contextmanager
    def test(self, msg: str | None = None, **kwargs: Any) -> Iterator[None]:
        """Run the block; keep its failure."""
        try:
            yield
        except (pytest.skip.Exception, pytest.xfail.Exception):
            pass
        except (Exception, pytest.fail.Exception) as error:
            self.failure = self.failure or error
