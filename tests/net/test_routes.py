from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pytest_interleave import Hosts

WIRE = Path(__file__).with_name("wire.py").read_text()


@pytest.mark.parametrize(
    "options",
    [[], ["--interleave", "--interleave-runs=4", "--interleave-time=60"]],
    ids=["plain", "explored"],
)
def test_real_clients_see_a_real_server(pytester: pytest.Pytester, options: list[str]) -> None:
    pytester.makepyfile(test_wire=WIRE)

    result = pytester.runpytest_inprocess("-W", "error", "--interleave-strict", *options)

    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"passed"}
    assert outcomes["passed"] >= WIRE.count("\nasync def test_")


def test_requests_under_gather_are_the_same_run_each_time(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio
        import aiohttp
        import pytest

        @pytest.mark.asyncio
        async def test_users(hosts):
            api = hosts.routes("http://api.example.com")
            api.get("/users/{id}").reply(json={"name": "Ann"})
            async with aiohttp.ClientSession() as session:
                async def load(number):
                    async with session.get(f"http://api.example.com/users/{number}") as response:
                        return await response.json()
                assert await asyncio.gather(*map(load, range(5))) == [{"name": "Ann"}] * 5
        """
    )

    result = pytester.runpytest_inprocess("--interleave", "--interleave-runs=8", "--interleave-time=60")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_users: 8 runs, * sampled"])


UNMATCHED = """
    import pytest

    @pytest.mark.asyncio
    async def test_asks(hosts, mock_session):
        api = hosts.routes("http://api.example.com")
        api.post("/users", json={"name": "Ann"})
        api.get("/users/{id}", query={"page": 2}, headers={"X-Token": "t"})
        async with mock_session.get("http://api.example.com/users/1?page=1") as response:
            assert response.status == 501
            assert "page=2 is wanted" in await response.text()
"""


@pytest.mark.parametrize("options", [[], ["--interleave"]], ids=["plain", "explored"])
def test_a_request_that_fits_no_route_fails_the_test(pytester: pytest.Pytester, options: list[str]) -> None:
    pytester.makepyfile(UNMATCHED)

    result = pytester.runpytest_inprocess(*options)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*GET http://api.example.com/users/1?page=1 fits no route*"])


def test_a_request_that_fits_no_route_is_told_beside_the_failure_that_it_leads_to(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.asyncio
        async def test_asks(hosts, mock_session):
            hosts.routes("http://api.example.com").get("/user")
            async with mock_session.get("http://api.example.com/users") as response:
                response.raise_for_status()
        """
    )

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*501, message=*", "unmatched-request: GET */users fits no route*"])


def test_what_the_nearest_route_wants_is_shown(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(UNMATCHED)

    result = pytester.runpytest_inprocess()

    result.stdout.fnmatch_lines(
        [
            "unmatched-request: GET http://api.example.com/users/1?page=1 fits no route  (*test_*.py:7)",
            "    the nearest, declared there, is GET /users/{id}?page=2:",
            "      query: page=2 is wanted, page=1 came",
            "      header X-Token: 't' is wanted, none came",
            "    others: POST /users",
        ],
        consecutive=True,
    )
    result.stdout.no_fnmatch_line("*unused-route*")


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ({"id": 1}, "write json=, text= or body="),
        (web.Response(), "write status=, json= …, or a function that makes it"),
        (web.HTTPNotFound, "write status=, json= …, or a function that makes it"),
        (TimeoutError, ".reset() breaks the connection, delay=60 runs into a timeout"),
        (OSError("gone"), ".reset() breaks the connection, delay=60 runs into a timeout"),
    ],
    ids=repr,
)
def test_an_answer_that_is_no_function_is_refused_where_it_is_given(given: Any, advice: str) -> None:
    route = Hosts().routes("http://api.example.com").get("/")

    with pytest.raises(TypeError, match=rf"reply\({re.escape(repr(given))}\): .*{re.escape(advice)}"):
        route.reply(given)


@pytest.mark.parametrize(
    ("reply", "requests", "line"),
    [
        ("file='gone.txt'", 1, "E *FileNotFoundError: reply(file='gone.txt'): there is no such file in */*"),
        ("stream=iter([b'one'])", 2, "E *RuntimeError: reply(stream=…) was given an iterator, and the first request *"),
    ],
)
def test_an_answer_that_cannot_be_given_fails_the_test(
    pytester: pytest.Pytester, reply: str, requests: int, line: str
) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.asyncio
        async def test_asks(hosts, mock_session):
            hosts.routes("http://api").get("/").reply({reply})
            for _ in range({requests}):
                async with mock_session.get("http://api/") as response:
                    await response.read()
        """
    )

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([line])


BROKEN = """
import pytest

def broken(request):
    raise ZeroDivisionError("in the handler")

@pytest.mark.asyncio
async def test_asks(hosts, mock_session):
    hosts.routes("http://api").get("/").reply(broken)
    async with mock_session.get("http://api/") as response:
        {}
"""


def test_what_a_handler_raised_is_told_once_where_the_test_fails_by_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(BROKEN.format("response.raise_for_status()"))

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *500, message=*", "E *GET /: the server's handler raised ZeroDivisionError: *"])


UNUSED = """
    import pytest

    @pytest.mark.asyncio
    async def test_passes(hosts):
        hosts.routes("api.example.com").get("/a")

    @pytest.mark.asyncio
    async def test_fails(hosts):
        hosts.routes("api.example.com").get("/b")
        assert False

    @pytest.mark.asyncio
    async def test_skips(hosts):
        hosts.routes("api.example.com").get("/c")
        pytest.skip("not now")

    @pytest.mark.asyncio
    async def test_may(hosts):
        hosts.routes("api.example.com").get("/d", optional=True)
"""


def test_an_unused_route_fails_a_test_that_passed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(UNUSED)

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(passed=2, failed=1, skipped=1, errors=1)
    result.stdout.fnmatch_lines(["unused-route: no request came to GET /a of api.example.com  (*.py:5)"])
    result.stdout.no_fnmatch_line("*unused-route: no request came to GET /[bcd]*")


def test_unused_routes_may_be_let_pass(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(UNUSED)

    result = pytester.runpytest_inprocess("--interleave-detect=unused-route=off")

    result.assert_outcomes(passed=2, failed=1, skipped=1)


def test_an_exception_of_a_handler_is_that_of_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(BROKEN.format("assert response.status == 500"))

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["E *ZeroDivisionError: in the handler"])


def test_wrong_declarations_are_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.asyncio
        async def test_declares(hosts):
            api = hosts.routes("http://api")
            with pytest.raises(ValueError, match="begins with no slash"):
                api.get("http://api/users")
            with pytest.raises(ValueError, match="has a query already"):
                api.get("/?a=1", query={"b": "2"})
            with pytest.raises(ValueError, match="a placeholder is a name"):
                api.get("/users/{id:[0-9]+}")
            with pytest.raises(TypeError, match="takes one of"):
                api.get("/", optional=True).reply(json=1, text="1")
        """
    )

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(passed=1)
