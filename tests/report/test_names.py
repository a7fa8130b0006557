"""The user's own name of a lock."""

from __future__ import annotations

from typing import Any

from pytest_interleave.loop.names import Scope, name_objects


class Lock:
    pass


class Account:
    def __init__(self) -> None:
        self.lock = Lock()


class Slotted:
    __slots__ = ("lock",)

    def __init__(self) -> None:
        self.lock = Lock()


def name(target: Any, *scopes: Scope) -> str:
    return name_objects([target], scopes)[id(target)]


def test_a_variable_of_the_test_is_the_best_name() -> None:
    lock = Lock()

    assert name(lock, Scope({"guard": lock, "pair": [lock]}, 0), Scope({"first": lock}, 1)) == "guard"


def test_a_local_variable_that_means_two_locks_names_neither() -> None:
    a, b = Account(), Account()
    scopes = [
        Scope({"alice": a, "bob": b}, 0),
        Scope({"first": a.lock, "second": b.lock}, 1),
        Scope({"first": b.lock, "second": a.lock}, 1),
    ]

    assert name_objects([a.lock, b.lock], scopes) == {id(a.lock): "alice.lock", id(b.lock): "bob.lock"}


def test_a_key_of_a_dict_is_better_than_a_callees_variable() -> None:
    locks = {"a": Lock()}

    assert name(locks["a"], Scope({"locks": locks, "lock": locks["a"]}, 1)) == "locks['a']"


def test_self_is_named_by_its_class() -> None:
    account = Account()

    assert name(account.lock, Scope({"self": account}, 1)) == "Account.lock"


def test_two_locks_with_one_name_are_numbered() -> None:
    a, b = Account(), Account()

    assert name_objects([a.lock, b.lock], [Scope({"self": a}, 1), Scope({"self": b}, 1)]) == {
        id(a.lock): "Account.lock #1",
        id(b.lock): "Account.lock #2",
    }


def test_slots_are_looked_into() -> None:
    thing = Slotted()

    assert name(thing.lock, Scope({"thing": thing}, 0)) == "thing.lock"


def test_what_nobody_names_has_no_name() -> None:
    assert name_objects([Lock()], [Scope({"x": 1}, 0)]) == {}


def test_a_circle_of_references_ends() -> None:
    a = Account()
    a.me = a  # type: ignore[attr-defined]

    assert name(a.lock, Scope({"a": a}, 0)) == "a.lock"
