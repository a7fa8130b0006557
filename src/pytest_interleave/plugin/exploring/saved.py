"""Schedules that failed before, kept in pytest's cache and tried first."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_interleave.exploration.outcomes import Failure
from pytest_interleave.exploration.token import Token, TokenError, test_number
from pytest_interleave.schedule import Decider
from pytest_interleave.strategies.guided import repeat

_KEY = "interleave/failures"
_MOST_TOKENS = 5


def token_for(item: pytest.Item, failure: Failure, mode: str) -> str:
    """Return the token that replays the failure."""
    return Token(
        mode=mode,
        test=test_number(item.nodeid),
        constraints=failure.constraints,
        vector=failure.vector,
        holds_steps=failure.holds_steps,
    ).encode()


def deciders(item: pytest.Item) -> Iterator[Decider]:
    """Yield the schedules under which the test failed before."""
    for text in _load(item.config).get(item.nodeid, []):
        try:
            token = Token.decode(text)
        except TokenError:
            continue
        yield repeat(token)


def keep(config: pytest.Config, found: dict[str, str]) -> None:
    """Remember the tokens of failures, by test."""
    cache = getattr(config, "cache", None)
    if cache is None or not found:
        return
    known = _load(config)
    for nodeid, token in found.items():
        known[nodeid] = list(dict.fromkeys([token, *known.get(nodeid, [])]))[:_MOST_TOKENS]
    with warnings.catch_warnings():  # a folder that cannot be written: pytest warns of its own files, in its summary
        warnings.simplefilter("ignore", pytest.PytestCacheWarning)
        cache.set(_KEY, known)


def _load(config: pytest.Config) -> dict[str, Any]:
    cache = getattr(config, "cache", None)
    known = cache.get(_KEY, {}) if cache is not None else {}
    return known if isinstance(known, dict) else {}
