from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from multidict import CIMultiDict

from pytest_interleave.net.calls import Call
from pytest_interleave.net.wanted import ABSENT, Wanted


def call(target: str = "/", *, headers: Any = (), body: bytes = b"") -> Call:
    parts = urlsplit(target)
    query = tuple(parse_qsl(parts.query, keep_blank_values=True))
    return Call("GET", f"http://api{target}", unquote(parts.path), query, CIMultiDict(headers), body, 0.0)


def wanted(path: str | re.Pattern[str] = "/", **what: Any) -> Wanted:
    return Wanted("GET", path, **{"query": None, "headers": None, "json": ABSENT, "body": None, **what})


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ({"id": ["1", "2"]}, "/?id=1&id=2"),
        ({"id": (2, 1)}, "/?id=1&id=2"),
        ([("id", 1), ("id", 2)], "/?id=2&id=1"),
        ("b=2&a=x+y&empty=", "/?a=x%20y&empty=&b=2"),
        ({"active": True}, "/?active=true"),
        ({}, "/"),
    ],
)
def test_a_query_may_be_said_in_many_ways(query: Any, target: str) -> None:
    assert wanted(query=query).mismatches(call(target)) == []


@pytest.mark.parametrize("target", ["/?id=1", "/?id=1&id=1", "/?id=1&id=2&page=3"])
def test_the_query_is_the_whole_one(target: str) -> None:
    assert len(wanted(query={"id": [1, 2]}).mismatches(call(target))) == 1


@pytest.mark.parametrize(
    ("headers", "sent"),
    [({"x-count": 5}, [("X-Count", "5")]), ({"X-Tag": "b"}, [("X-Tag", "a"), ("x-tag", "b")])],
)
def test_one_of_the_headers_of_that_name_will_do(headers: Any, sent: Any) -> None:
    assert wanted(headers=headers).mismatches(call(headers=sent)) == []


def test_all_headers_of_that_name_are_shown() -> None:
    came = call(headers=[("X-Tag", "a"), ("X-Tag", "b")])

    assert wanted(headers={"X-Tag": "c"}).mismatches(came) == ["header X-Tag: 'c' is wanted, 'a' and 'b' came"]


@pytest.mark.parametrize(
    ("path", "target", "parameters"),
    [
        ("/a%20b", "/a%20b", {}),
        ("/a b", "/a%20b", {}),
        ("/a%2fb", "/a%2Fb", {}),
        ("/{id}", "/a%2Fb", {"id": "a/b"}),
        ("/{id}/{page}", "/%C3%B8/2", {"id": "ø", "page": "2"}),
        ("/100%", "/100%25", {}),
        (re.compile(r"/users/(?P<id>\d+)"), "/users/7", {"id": "7"}),
    ],
)
def test_paths_are_compared_in_plain(path: Any, target: str, parameters: dict[str, str]) -> None:
    assert wanted(path).mismatches(call(target)) == []
    assert wanted(path).parameters(call(target)) == parameters


@pytest.mark.parametrize(
    ("path", "target"),
    [("/{id}", "/a/b"), ("/a/b", "/a%2Fb"), ("/a", "/a/"), (re.compile("/users"), "/users/7"), ("/a.b", "/axb")],
)
def test_other_paths_do_not_fit(path: Any, target: str) -> None:
    assert [line.partition(":")[0] for line in wanted(path).mismatches(call(target))] == ["path"]


def test_of_a_large_document_the_part_that_differs_is_shown() -> None:
    document = {"users": [{"name": f"user {number}", "tags": ["a"]} for number in range(50)], "page": 1}
    came = json.loads(json.dumps(document))
    came["users"][49]["name"] = "Ann"
    came["extra"] = None

    lines = wanted(json=document).mismatches(call(body=json.dumps(came).encode()))

    assert lines == [
        'JSON: {"users": {"[49]": {"name": "user 49"}}} is wanted, '
        '{"users": {"[49]": {"name": "Ann"}}, "extra": null} came'
    ]


def test_a_body_that_is_no_json_is_shown_as_it_is() -> None:
    assert wanted(json={"a": 1}).mismatches(call(body=b"a=1")) == ['JSON: {"a": 1} is wanted, a=1 came']
    assert wanted(json={"a": 1}).mismatches(call()) == ['JSON: {"a": 1} is wanted, nothing came']
