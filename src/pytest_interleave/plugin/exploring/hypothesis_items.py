"""Tests under ``@hypothesis.given``: the same few examples in each run, or no two runs could be compared."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

#: One run is all examples of the test, and there are hundreds of runs.
_MOST_EXAMPLES = 5
_SEED = "_hypothesis_internal_use_seed"
_SETTINGS = "_hypothesis_internal_use_settings"


def is_hypothesis_item(item: pytest.Function) -> bool:
    """Whether Hypothesis gives the test its arguments."""
    return getattr(item.function, "is_hypothesis_test", False) is True


@contextmanager
def fixed_examples(item: pytest.Function) -> Iterator[None]:
    """Let the test see the same few examples each time, without shrinking and without Hypothesis' database."""
    if not is_hypothesis_item(item):
        yield
        return
    from hypothesis import HealthCheck, Phase, settings

    function: Any = item.function
    own = getattr(function, _SETTINGS, None) or settings.default
    assert own is not None
    fixed = settings(
        own,
        max_examples=min(own.max_examples, _MOST_EXAMPLES),
        database=None,
        deadline=None,
        phases=[phase for phase in own.phases if phase in (Phase.explicit, Phase.generate)],
        suppress_health_check=list(HealthCheck),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(function, _SETTINGS, fixed, raising=False)
        if getattr(function, _SEED, None) is None:
            patch.setattr(function, _SEED, 0, raising=False)
        yield


def original_error(error: BaseException) -> BaseException:
    """Return what the test raised, where Hypothesis says that it did not raise it again: each call is another order."""
    errors = sys.modules.get("hypothesis.errors")
    flaky = getattr(errors, "FlakyFailure", None)
    if flaky is not None and isinstance(error, flaky) and error.exceptions:
        first: BaseException = error.exceptions[0]
        return first
    return error
