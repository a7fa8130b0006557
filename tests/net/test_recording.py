"""Record from a real server on the loopback interface, then replay when it is gone."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from sessions import run_fresh

from pytest_interleave import Hosts
from pytest_interleave.net import har


class RealHost:
    """A server in a thread of its own, as far from the tests as a real host can be here."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[str] = []
        self.port = 0
        self.is_up = False
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._runner: Any = None
        self._do(self._start())

    def stop(self) -> None:
        if self.is_up:
            self.is_up = False
            self._do(self._runner.cleanup())

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _start(self) -> None:
        application = web.Application()
        application.router.add_get("/users/{id}", self._user)
        application.router.add_get("/count", self._count)
        application.router.add_get("/stream", self._stream)
        application.router.add_get("/host", self._host)
        application.router.add_get("/packed", self._packed)
        application.router.add_get("/bytes", self._bytes)
        application.router.add_get("/slow", self._slow)
        application.router.add_post("/login", self._login)
        application.router.add_get("/old", self._old)
        application.router.add_post("/echo", self._echo)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.is_up = True

    def _note(self, request: web.Request) -> None:
        self.asked.append(f"{request.method} {request.raw_path}")

    async def _user(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.json_response({"id": request.match_info["id"]})

    async def _count(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.Response(text=str(len(self.asked)))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(int(request.query["events"])):
            await response.write(b"data: %d\n\n" % number)
            await asyncio.sleep(0.1)
        if "break" in request.query:
            assert request.transport is not None
            request.transport.close()
        return response

    async def _host(self, request: web.Request) -> web.Response:
        return web.Response(text=request.host)

    async def _packed(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.Response(
            body=gzip.compress(b"plain " * 100), headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"}
        )

    async def _bytes(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.Response(body=bytes(range(256)))

    async def _slow(self, request: web.Request) -> web.Response:
        self._note(request)
        await asyncio.sleep(0.3)
        return web.Response(text="late")

    async def _login(self, request: web.Request) -> web.Response:
        self._note(request)
        answer = web.json_response({"access_token": "tok-of-server-1", "hello": (await request.json())["user"]})
        answer.set_cookie("sid", "cookie-of-server", httponly=True)
        return answer

    async def _old(self, request: web.Request) -> web.Response:
        self._note(request)
        raise web.HTTPFound("/users/1?token=in-a-link-1")

    async def _echo(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.Response(body=await request.read(), content_type=request.content_type)


@pytest.fixture
def real_host() -> Iterator[RealHost]:
    host = RealHost()
    yield host
    host.close()


def write_test(
    pytester: pytest.Pytester,
    real_host: RealHost,
    body: str,
    *,
    options: str = "",
    head: str = "",
    scheme: str = "http",
) -> None:
    lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    pytester.makepyfile(
        test_api=f"""
import asyncio
import aiohttp
import httpx
import pytest

URL = "{scheme}://localhost:{real_host.port}"

async def text_of(session, path, **options):
    async with session.get(URL + path, **options) as response:
        return await response.text()

{head}
@pytest.mark.asyncio
async def test_api(hosts, mock_session):
    api = hosts.recording(URL, "har/api.har"{options})
{lines}
"""
    )


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-W", "error", "--interleave-strict", *arguments)


def entries(pytester: pytest.Pytester) -> list[Any]:
    text = (pytester.path / "har" / "api.har").read_text()
    entries: list[Any] = json.loads(text)["log"]["entries"]
    return entries


RECORD = "--interleave-record=missing"
USERS = """
async def load(number):
    return await text_of(mock_session, f"/users/{number}")
texts = await asyncio.gather(*map(load, range(5)))
assert texts == ['{"id": "%d"}' % number for number in range(5)]
"""
EXPLORED = ["--interleave", "--interleave-runs=6", "--interleave-time=60"]


@pytest.mark.parametrize("options", [[], EXPLORED], ids=["plain", "explored"])
def test_what_was_recorded_under_gather_is_replayed_without_the_real_host(
    pytester: pytest.Pytester, real_host: RealHost, options: list[str]
) -> None:
    write_test(pytester, real_host, USERS)
    result = run(pytester, RECORD)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["interleave: recorded 5 exchanges in har/api.har*"])
    assert len(real_host.asked) == 5
    real_host.stop()

    run(pytester, *options).assert_outcomes(passed=1)


def test_httpx_records_and_replays(pytester: pytest.Pytester, real_host: RealHost) -> None:
    write_test(
        pytester,
        real_host,
        """
async with httpx.AsyncClient() as client:
    answers = await asyncio.gather(*(client.get(f"{URL}/users/{number}?b=2&a=1") for number in range(3)))
assert [answer.json()["id"] for answer in answers] == ["0", "1", "2"]
""",
    )
    run(pytester, RECORD).assert_outcomes(passed=1)
    real_host.stop()

    run(pytester).assert_outcomes(passed=1)


EVERYTHING = """
assert await text_of(mock_session, "/packed") == "plain " * 100
async with mock_session.get(URL + "/bytes") as response:
    assert await response.read() == bytes(range(256))
async with mock_session.get(URL + "/old") as response:
    assert (str(response.url), len(response.history)) == (f"{URL}/users/1?token=in-a-link-1", 1) or (
        response.url.query["token"] == "FILTERED"
    )
async with mock_session.head(URL + "/users/7") as response:
    assert response.headers["Content-Length"] == "11"
async with mock_session.get(URL + "/nowhere") as response:
    assert (response.status, response.reason) == (404, "Not Found")
for body in ({"json": {"b": 1, "a": [2]}}, {"data": {"b": "1", "a": "2"}}, {"data": b"\\xff\\x00"}):
    async with mock_session.post(URL + "/echo", **body) as response:
        assert response.status == 200
form = aiohttp.FormData()
form.add_field("name", "Ann")
form.add_field("file", b"\\x00\\xff", filename="a.bin")
async with mock_session.post(URL + "/echo", data=form) as response:
    assert b"Ann" in await response.read()
"""


@pytest.mark.parametrize("options", [[], EXPLORED], ids=["plain", "explored"])
def test_bodies_redirects_heads_and_errors_are_replayed(
    pytester: pytest.Pytester, real_host: RealHost, options: list[str]
) -> None:
    write_test(pytester, real_host, EVERYTHING)
    run(pytester, RECORD).assert_outcomes(passed=1)
    real_host.stop()

    run(pytester, *options).assert_outcomes(passed=1)


COUNTS = """
counts = [await text_of(mock_session, "/count") for _ in range(3)]
assert counts == ["1", "2", "3"]
"""


def test_equal_requests_get_their_answers_in_the_order_of_recording(
    pytester: pytest.Pytester, real_host: RealHost
) -> None:
    write_test(pytester, real_host, COUNTS)
    run(pytester, RECORD).assert_outcomes(passed=1)
    real_host.stop()

    run(pytester).assert_outcomes(passed=1)


def test_the_command_that_records_is_for_the_folder_where_pytest_was_started(
    pytester: pytest.Pytester, real_host: RealHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_test(pytester, real_host, 'await text_of(mock_session, "/count")')
    pytester.makeini("[pytest]")
    folder = pytester.mkdir("tests")
    (pytester.path / "test_api.py").rename(folder / "test_api.py")
    monkeypatch.chdir(folder)

    result = run(pytester)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["  Record it: pytest --interleave-record=missing test_api.py::test_api"])


def test_one_request_more_than_was_recorded_fails_the_test(pytester: pytest.Pytester, real_host: RealHost) -> None:
    write_test(pytester, real_host, 'await text_of(mock_session, "/count")')
    run(pytester, RECORD).assert_outcomes(passed=1)
    write_test(pytester, real_host, 'for _ in range(2): await text_of(mock_session, "/count")')

    result = run(pytester)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "unmatched-request: GET http://localhost:*/count cannot be answered from the recording api.har  (test_*)",
            "*GET /count was recorded once, and this is one more; hosts.recording(…, repeat=True) gives *",
            "  Record it: pytest --interleave-record=missing test_api.py::test_api",
        ]
    )


def test_the_last_answer_is_repeated_if_the_test_says_so(pytester: pytest.Pytester, real_host: RealHost) -> None:
    write_test(pytester, real_host, COUNTS)
    run(pytester, RECORD).assert_outcomes(passed=1)
    write_test(
        pytester,
        real_host,
        """
counts = [await text_of(mock_session, "/count") for _ in range(5)]
assert counts == ["1", "2", "3", "3", "3"]
""",
        options=", repeat=True",
    )

    run(pytester).assert_outcomes(passed=1)


def test_only_what_is_missing_is_asked_for(pytester: pytest.Pytester, real_host: RealHost) -> None:
    write_test(pytester, real_host, COUNTS)
    run(pytester, RECORD).assert_outcomes(passed=1)
    write_test(
        pytester,
        real_host,
        f"""
{COUNTS}
assert await text_of(mock_session, "/users/9") == '{{"id": "9"}}'
assert await text_of(mock_session, "/count") == "5"
""",
    )

    result = run(pytester, RECORD)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["interleave: recorded 2 exchanges in har/api.har*"])
    assert len(real_host.asked) == 5
    real_host.stop()
    run(pytester).assert_outcomes(passed=1)


def test_all_takes_the_place_of_what_there_was(pytester: pytest.Pytester, real_host: RealHost) -> None:
    write_test(pytester, real_host, 'await text_of(mock_session, "/count")')
    run(pytester, RECORD).assert_outcomes(passed=1)
    before = entries(pytester)

    run(pytester, "--interleave-record=all").assert_outcomes(passed=1)

    after = entries(pytester)
    assert [one["response"]["content"]["text"] for one in (*before, *after)] == ["1", "2"]


def test_without_the_flag_nobody_is_asked(pytester: pytest.Pytester, real_host: RealHost) -> None:
    write_test(pytester, real_host, 'await text_of(mock_session, "/users/1")')

    result = run(pytester)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "unmatched-request: GET http://localhost:*/users/1 is not in the recording api.har  (test_api.py:*)",
            "    there is no file */har/api.har",
            "  Record it: pytest --interleave-record=missing test_api.py::test_api",
        ]
    )
    assert real_host.asked == []
    assert not (pytester.path / "har").exists()


def test_an_unmatched_request_is_shown_beside_the_nearest(pytester: pytest.Pytester, real_host: RealHost) -> None:
    write_test(
        pytester,
        real_host,
        """
async with mock_session.post(URL + "/echo?page=1", json={"name": "Ann", "age": 7}): pass
await text_of(mock_session, "/users/1")
""",
    )
    run(pytester, RECORD).assert_outcomes(passed=1)
    write_test(
        pytester,
        real_host,
        """
async with mock_session.post(URL + "/echo?page=2", json={"name": "Bob", "age": 7}): pass
""",
    )

    result = run(pytester)

    result.stdout.fnmatch_lines(
        [
            "    the nearest that was recorded is POST /echo?page=1:",
            "      query: page=1 was recorded, page=2 came",
            '      body: {"name": "Ann"} was recorded, {"name": "Bob"} came',
            "    others: GET /users/1",
        ]
    )


def test_what_is_matched_can_be_chosen(pytester: pytest.Pytester, real_host: RealHost) -> None:
    options = ', match=("method", "path")'
    post = """
async with mock_session.post(URL + "/echo?at=%d", data=b"%d") as response:
    assert await response.read() == b"1"
"""
    write_test(pytester, real_host, post % (1, 1), options=options)
    run(pytester, RECORD).assert_outcomes(passed=1)
    write_test(pytester, real_host, post % (2, 2), options=options)

    run(pytester).assert_outcomes(passed=1)


def test_a_header_can_be_matched(pytester: pytest.Pytester, real_host: RealHost) -> None:
    options = ', match=("path", "header:Accept-Language")'
    ask = """
async def ask(language):
    return await text_of(mock_session, "/count", headers={"Accept-Language": language})
"""
    write_test(pytester, real_host, f'{ask}assert [await ask("nb"), await ask("en")] == ["1", "2"]', options=options)
    run(pytester, RECORD).assert_outcomes(passed=1)
    write_test(pytester, real_host, f'{ask}assert [await ask("en"), await ask("nb")] == ["2", "1"]', options=options)
    run(pytester).assert_outcomes(passed=1)
    write_test(pytester, real_host, f'{ask}await ask("de")', options=options)

    result = run(pytester)

    result.stdout.fnmatch_lines(
        ["*the nearest that was recorded is GET /count:", "      header:accept-language: nb was recorded, de came"]
    )


LOGIN = """
secret = "{secret}"
headers = {{"Authorization": "Bearer " + secret, "X-Api-Key": secret, "X-Custom": secret, "Cookie": "a=" + secret}}
data = {{"user": "Ann", "password": secret}}
async with mock_session.post(URL + "/login?api_key=" + secret + "&page=1", json=data, headers=headers) as response:
    answer = await response.json()
    assert answer["hello"] == "Ann"
    assert response.cookies["sid"]["httponly"]
async with mock_session.post(URL + "/echo", data=secret, headers=headers) as response:
    print("echo", await response.text())
async with mock_session.get(URL + "/users/" + answer["access_token"]) as response:
    assert response.status == 200
    print("token", answer["access_token"])
"""


def test_secrets_are_neither_written_nor_compared(pytester: pytest.Pytester, real_host: RealHost) -> None:
    options = ', secrets=("x-custom",)'
    write_test(pytester, real_host, LOGIN.format(secret="of-the-first-user"), options=options)
    result = run(pytester, "-s", RECORD)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*echo of-the-first-user", "*token tok-of-server-1"])
    text = (pytester.path / "har" / "api.har").read_text()
    for secret in ("of-the-first-user", "tok-of-server-1", "cookie-of-server"):
        assert secret not in text
    real_host.stop()
    write_test(pytester, real_host, LOGIN.format(secret="of-some-other-user"), options=options)

    result = run(pytester, "-s")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*echo FILTERED", "*token FILTERED"])


def test_a_secret_of_a_recorded_answer_is_not_sent_to_the_real_host(
    pytester: pytest.Pytester, real_host: RealHost
) -> None:
    write_test(
        pytester,
        real_host,
        'async with mock_session.post(URL + "/login", json={"user": "Ann"}) as response: await response.json()',
    )
    run(pytester, RECORD).assert_outcomes(passed=1)
    write_test(
        pytester,
        real_host,
        """
async with mock_session.post(URL + "/login", json={"user": "Ann"}) as response:
    token = (await response.json())["access_token"]
assert "record the whole test anew" in await text_of(
    mock_session, "/users/1", headers={"Authorization": "Bearer " + token}
)
""",
    )

    result = run(pytester, RECORD)

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["GET */users/1 sends a secret that it has from a recorded answer*interleave-record=all"]
    )


def test_an_answer_takes_as_long_as_the_real_one_where_time_is_virtual(
    pytester: pytest.Pytester, real_host: RealHost
) -> None:
    body = """
loop = asyncio.get_running_loop()
began = loop.time()
assert await text_of(mock_session, "/slow") == "late"
print("took", loop.time() - began > 0.25)
"""
    write_test(pytester, real_host, body, head="@pytest.mark.virtual_time")
    run(pytester, RECORD).assert_outcomes(passed=1)  # in real time, or it would not wait for the real host
    real_host.stop()

    result = run(pytester, "-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*took True"])

    write_test(pytester, real_host, body, head="@pytest.mark.virtual_time", options=", timings=False")
    run(pytester, "-s").stdout.fnmatch_lines(["*took False"])

    write_test(pytester, real_host, body, options=", timings=True")
    run(pytester, "-s").stdout.fnmatch_lines(["*took True"])


BROWSER = {
    "log": {
        "version": "1.2",
        "creator": {"name": "WebInspector", "version": "537.36"},
        "pages": [],
        "entries": [
            {
                "_initiator": {"type": "script"},
                "cache": {},
                "connection": "443",
                "startedDateTime": "2026-01-01T00:00:00.000Z",
                "time": 45.5,
                "timings": {"blocked": 1.5, "dns": -1, "ssl": -1, "connect": -1, "send": 0.1, "wait": 42, "receive": 2},
                "request": {
                    "method": "POST",
                    "url": "https://api.example.com/items?b=2&a=1#top",
                    "httpVersion": "h2",
                    "headers": [{"name": ":authority", "value": "api.example.com"}],
                    "queryString": [],
                    "cookies": [],
                    "postData": {"mimeType": "application/json", "text": '{"x": 1}'},
                },
                "response": {
                    "status": 201,
                    "statusText": "",
                    "httpVersion": "h2",
                    "headers": [
                        {"name": "content-encoding", "value": "br"},
                        {"name": "content-length", "value": "9"},
                        {"name": "content-type", "value": "application/json"},
                        {"name": "set-cookie", "value": "a=1"},
                        {"name": "set-cookie", "value": "b=2\nc=3"},
                    ],
                    "cookies": [],
                    "content": {
                        "size": 12,
                        "mimeType": "application/json",
                        "text": "eyJvayI6IHRydWV9",
                        "encoding": "base64",
                    },
                },
            },
            {  # blocked by the browser
                "startedDateTime": "",
                "time": 0,
                "request": {"method": "GET", "url": "https://api.example.com/blocked", "headers": []},
                "response": {"status": 0, "headers": [], "content": {}},
            },
            {  # too large for the browser to keep
                "startedDateTime": "",
                "time": 1,
                "request": {"method": "GET", "url": "https://api.example.com/large", "headers": []},
                "response": {"status": 200, "headers": [], "content": {"size": 10_000_000}},
            },
            {
                "startedDateTime": "",
                "time": 1,
                "request": {"method": "GET", "url": "https://elsewhere.example.com/", "headers": []},
                "response": {"status": 200, "headers": [], "content": {"text": "other"}},
            },
        ],
    }
}


@pytest.mark.parametrize("options", [[], EXPLORED], ids=["plain", "explored"])
def test_what_a_browser_saved_is_replayed_over_tls(pytester: pytest.Pytester, options: list[str]) -> None:
    (pytester.path / "saved.har").write_text("\ufeff" + json.dumps(BROWSER), encoding="utf-8")
    pytester.makepyfile(
        """
        import aiohttp
        import pytest

        @pytest.mark.asyncio
        async def test_api(hosts, mock_session):
            for name in ("api", "elsewhere"):
                hosts.recording(f"https://{name}.example.com", "saved.har")
            async with mock_session.post("https://api.example.com/items?a=1&b=2", json={"x": 1}) as response:
                assert response.status == 201
                assert await response.json() == {"ok": True}
                assert sorted(response.cookies) == ["a", "b", "c"]
            async with mock_session.get("https://elsewhere.example.com/") as response:
                assert await response.text() == "other"
        """
    )

    run(pytester, *options).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("https://api.example.com/large", "*the file has the answer without its body*"),
        ("https://api.example.com/blocked", "*the nearest that was recorded is GET /large*"),
        (
            "https://new.example.com/",
            "*nothing was recorded from new.example.com:443 in */saved.har, only from api.example.*",
        ),
    ],
)
def test_what_cannot_be_replayed_says_why(pytester: pytest.Pytester, url: str, line: str) -> None:
    (pytester.path / "saved.har").write_text(json.dumps(BROWSER))
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.asyncio
        async def test_api(hosts, mock_session):
            hosts.recording("https://api.example.com", "saved.har")
            hosts.recording("https://new.example.com", "saved.har")
            async with mock_session.get("{url}"): pass
        """
    )

    result = run(pytester)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([line])


CASSETTE = """
interactions:
- request:
    body: '{"name": "Ann"}'
    headers:
      Content-Type: [application/json]
    method: POST
    uri: http://api.example.com/users?page=1
  response:
    body: {string: '{"id": 1}'}
    headers:
      Content-Type: [application/json]
      Content-Encoding: [gzip]
      Set-Cookie: [a=1, b=2]
    status: {code: 201, message: Made}
- request:
    body: null
    headers: {}
    method: GET
    uri: http://api.example.com/packed
  response:
    body:
      string: !!binary |
        H4sIAAAAAAAC/ytJLS4BAAx+f9gEAAAA
    headers:
      Content-Encoding: gzip
    status: {code: 200, message: OK}
- request: {body: '', headers: {}, method: GET, uri: 'http://api.example.com/httpx'}
  response: {content: old, headers: {}, http_version: HTTP/1.1, status_code: 200}
- request: {body: {a: '1', b: x}, headers: {}, method: POST, uri: 'http://api.example.com/form'}
  response: {body: {string: form}, headers: {}, status: {code: 200, message: OK}}
- request: {body: {a: 1, b: [x]}, headers: {}, method: POST, uri: 'http://api.example.com/json'}
  response: {body: {string: json}, headers: {}, status: {code: 200, message: OK}}
version: 1
"""


@pytest.mark.parametrize("options", [[], EXPLORED, [RECORD]], ids=["plain", "explored", "recording"])
def test_cassettes_of_vcrpy_are_replayed(pytester: pytest.Pytester, options: list[str]) -> None:
    (pytester.path / "api.yaml").write_text(CASSETTE)
    pytester.makepyfile(
        """
        import pytest

        URL = "http://api.example.com"

        @pytest.mark.asyncio
        async def test_api(hosts, mock_session):
            hosts.recording(URL, "api.yaml")
            user = {"name": "Ann", "password": "left out when it was recorded"}
            async with mock_session.post(URL + "/users?api_key=left-out-too&page=1", json=user) as response:
                assert (response.status, response.reason) == (201, "Made")
                assert await response.json() == {"id": 1}
                assert sorted(response.cookies) == ["a", "b"]
            async with mock_session.get(URL + "/packed") as response:
                assert await response.text() == "test"
            async with mock_session.get(URL + "/httpx") as response:
                assert await response.text() == "old"
            async with mock_session.post(URL + "/form", data={"b": "x", "a": "1"}) as response:
                assert await response.text() == "form"
            async with mock_session.post(URL + "/json", json={"b": ["x"], "a": 1}) as response:
                assert await response.text() == "json"
        """
    )

    run(pytester, *options).assert_outcomes(passed=1)

    assert (pytester.path / "api.yaml").read_text() == CASSETTE


def test_nothing_is_added_to_a_cassette(pytester: pytest.Pytester) -> None:
    (pytester.path / "api.yaml").write_text(CASSETTE)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.asyncio
        async def test_api(hosts, mock_session):
            hosts.recording("http://api.example.com", "api.yaml")
            async with mock_session.get("http://api.example.com/new"): pass
        """
    )

    result = run(pytester, RECORD)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "unmatched-request: GET http://api.example.com/new is not in the recording api.yaml *",
            "*A cassette is only read. Record it in a HAR file: name one in hosts.recording().",
        ]
    )


def test_a_real_host_that_does_not_answer_is_one_clear_line(pytester: pytest.Pytester, real_host: RealHost) -> None:
    write_test(pytester, real_host, 'assert "could not be recorded" in await text_of(mock_session, "/users/1")')
    real_host.stop()

    result = run(pytester, RECORD)

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["GET http://localhost:*/users/1 could not be recorded: Cannot connect to host localhost:*"]
    )
    assert not (pytester.path / "har").exists()


def test_the_real_host_may_be_found_elsewhere(pytester: pytest.Pytester, real_host: RealHost) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.asyncio
        async def test_api(hosts, mock_session):
            hosts.recording("https://api.example.com", "api.har", upstream="http://127.0.0.1:{real_host.port}/users")
            async with mock_session.get("https://api.example.com/3") as response:
                assert await response.json() == {{"id": "3"}}
        """
    )
    run(pytester, RECORD).assert_outcomes(passed=1)
    real_host.stop()

    run(pytester, *EXPLORED).assert_outcomes(passed=1)


def test_the_real_host_is_reached_by_tls(pytester: pytest.Pytester) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(pytester.path / "authority.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    real_host = RealHost(tls)
    try:
        write_test(pytester, real_host, USERS, scheme="https")
        result = run(pytester, RECORD)
        result.assert_outcomes(failed=1, errors=1)  # nobody knows that authority
        result.stdout.fnmatch_lines(["*could not be recorded: *certificate*"])

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(pytester.path / "authority.pem"))
            # aiohttp reads it when it is imported
            run_fresh(pytester, RECORD).assert_outcomes(passed=1)
    finally:
        real_host.close()
    run(pytester).assert_outcomes(passed=1)


def test_uvloop_records_and_replays(pytester: pytest.Pytester, real_host: RealHost) -> None:
    if sys.version_info >= (3, 14):  # uvloop has no wheel everywhere; the dev extra names the versions
        return
    write_test(pytester, real_host, USERS)
    pytester.makeconftest(
        """
        import uvloop

        def pytest_asyncio_loop_factories():
            return {"uvloop": uvloop.new_event_loop}
        """
    )
    run(pytester, RECORD).assert_outcomes(passed=1)
    real_host.stop()

    run(pytester).assert_outcomes(passed=1)


def test_a_host_with_a_wildcard_keeps_its_hosts_apart(pytester: pytest.Pytester, real_host: RealHost) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.asyncio
        async def test_api(hosts, mock_session):
            hosts.recording("http://*.example.com", "api.har", upstream="http://127.0.0.1:{real_host.port}")
            for name, count in (("a", "1"), ("b", "2")):
                async with mock_session.get(f"http://{{name}}.example.com/count") as response:
                    assert await response.text() == count
        """
    )
    run(pytester, RECORD).assert_outcomes(passed=1)
    real_host.stop()

    run(pytester).assert_outcomes(passed=1)


def test_two_ports_of_one_name_are_two_hosts(pytester: pytest.Pytester, real_host: RealHost) -> None:
    other = RealHost()
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.asyncio
        async def test_api(hosts, mock_session):
            for port, count in (({real_host.port}, "1"), ({other.port}, "1"), ({other.port}, "2")):
                url = f"http://localhost:{{port}}"
                if count == "1":
                    hosts.recording(url, "api.har")
                async with mock_session.get(url + "/count") as response:
                    assert await response.text() == count
        """
    )
    try:
        run(pytester, RECORD).assert_outcomes(passed=1)
    finally:
        other.close()
    real_host.stop()

    run(pytester).assert_outcomes(passed=1)


def test_a_client_may_name_any_host_in_its_headers(pytester: pytest.Pytester, real_host: RealHost) -> None:
    write_test(
        pytester,
        real_host,
        """
headers = {"Host": "api.example.com"}
assert await text_of(mock_session, "/host", headers=headers) == "api.example.com"
""",
    )
    run(pytester, RECORD).assert_outcomes(passed=1)
    real_host.stop()

    run(pytester).assert_outcomes(passed=1)


READ_STREAM = """
loop = asyncio.get_running_loop()
began = loop.time()
pieces = []
async with mock_session.get(URL + "/stream?events={events}") as response:
    assert response.content_type == "text/event-stream"
    async for piece, _ in response.content.iter_chunks():
        pieces.append(piece)
        if len(pieces) == 3:
            break
assert pieces == [b"data: %d\\n\\n" % number for number in range(3)]
print("took", loop.time() - began > 0.15)
"""


@pytest.mark.parametrize("events", [3, 1_000_000], ids=["read to its end", "endless"])
def test_a_stream_is_replayed_in_its_pieces(pytester: pytest.Pytester, real_host: RealHost, events: int) -> None:
    write_test(pytester, real_host, READ_STREAM.format(events=events))
    result = run(pytester, "-s", RECORD)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*took True"])
    real_host.stop()

    run(pytester).assert_outcomes(passed=1)

    result = run(pytester, "-s", *EXPLORED)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*took True"])


def test_a_stream_that_breaks_off_is_not_recorded(pytester: pytest.Pytester, real_host: RealHost) -> None:
    write_test(
        pytester,
        real_host,
        """
with pytest.raises(aiohttp.ClientError):
    await text_of(mock_session, "/stream?events=2&break=1")
""",
    )

    result = run(pytester, RECORD)

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["GET http://localhost:*/stream?events=2&break=1 could not be recorded: *"])
    assert not (pytester.path / "har").exists()


def test_httpx_reads_a_stream(pytester: pytest.Pytester, real_host: RealHost) -> None:
    write_test(
        pytester,
        real_host,
        """
async with httpx.AsyncClient() as client, client.stream("GET", URL + "/stream?events=3") as response:
    assert [line async for line in response.aiter_lines() if line] == ["data: 0", "data: 1", "data: 2"]
""",
    )
    run(pytester, RECORD).assert_outcomes(passed=1)
    real_host.stop()

    run(pytester, *EXPLORED).assert_outcomes(passed=1)


def test_marked_tests_are_not_explored_while_they_are_recorded(pytester: pytest.Pytester, real_host: RealHost) -> None:
    write_test(pytester, real_host, USERS, head="@pytest.mark.interleave(runs=4)")
    result = run(pytester, RECORD)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*explored in*")
    assert len(real_host.asked) == 5
    real_host.stop()

    result = run(pytester)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*1 explored in 4 runs*"])


def test_what_is_missing_cannot_be_recorded_in_virtual_time(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import aiohttp
        import pytest
        import pytest_interleave

        @pytest.mark.virtual_time
        @pytest.mark.asyncio
        async def test_api():
            async with pytest_interleave.Hosts(record="missing") as hosts, aiohttp.ClientSession() as session:
                hosts.recording("http://api.example.com", "api.har")
                async with session.get("http://api.example.com/") as response:
                    assert "cannot be recorded in virtual time" in await response.text()
        """
    )

    run(pytester).assert_outcomes(passed=1)


def test_what_came_is_kept_though_the_test_fails(pytester: pytest.Pytester, real_host: RealHost) -> None:
    write_test(pytester, real_host, 'assert await text_of(mock_session, "/users/1") == "what I hoped for"')
    run(pytester, RECORD).assert_outcomes(failed=1)
    write_test(pytester, real_host, """assert await text_of(mock_session, "/users/1") == '{"id": "1"}'""")

    run(pytester).assert_outcomes(passed=1)

    assert len(real_host.asked) == 1


def test_two_tasks_record_for_themselves(tmp_path: Path, real_host: RealHost) -> None:
    url = f"http://localhost:{real_host.port}"

    async def ask(name: str, both: asyncio.Barrier) -> None:
        async with Hosts(record="missing") as hosts, aiohttp.ClientSession() as session:
            hosts.recording(url, tmp_path / f"{name}.har")
            await both.wait()
            async with session.get(f"{url}/users/{name}") as response:
                assert await response.json() == {"id": name}
            await both.wait()

    async def ask_twice() -> None:
        both = asyncio.Barrier(2)
        await asyncio.gather(ask("a", both), ask("b", both))

    asyncio.run(ask_twice())

    for name in ("a", "b"):
        exchanges = har.read(tmp_path / f"{name}.har")
        assert [exchange.request.url for exchange in exchanges] == [f"{url}/users/{name}"]


def test_two_workers_write_one_file(pytester: pytest.Pytester, real_host: RealHost) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        URL = "http://localhost:{real_host.port}"

        @pytest.mark.parametrize("number", range(6))
        @pytest.mark.asyncio
        async def test_api(hosts, mock_session, number):
            hosts.recording(URL, "har/api.har")
            for path in (f"/users/{{number}}", "/users/shared"):
                async with mock_session.get(URL + path) as response:
                    assert response.status == 200
        """
    )

    result = run_fresh(pytester, RECORD, "-n", "2")

    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["interleave: recorded 7 exchanges in har/api.har*"])
    urls = sorted(entry["request"]["url"].rpartition("/")[2] for entry in entries(pytester))
    assert urls == ["0", "1", "2", "3", "4", "5", "shared"]
    real_host.stop()
    run(pytester).assert_outcomes(passed=6)
    assert [path.name for path in (pytester.path / "har").iterdir()] == ["api.har"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--interleave-record=some"], "*'some' is not a valid --interleave-record. Valid values: none, missing, all."),
        ([RECORD, "--interleave"], "*--interleave-record asks real hosts, which exploring cannot*"),
    ],
)
def test_a_wrong_flag_is_one_line(pytester: pytest.Pytester, arguments: list[str], line: str) -> None:
    pytester.makepyfile("def test_nothing(): pass")

    result = run_fresh(pytester, *arguments)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([line])


@pytest.mark.parametrize(
    ("call", "line"),
    [
        ('"http://a", "x.har", match=("header",)', "*'header' is not a valid match. Valid values: method, path, *"),
        ('"http://a", "x.har", match=("header:",)', "*'header:' is not a valid match*"),
        ('"http://a", "x.har", match=()', "*() is not a valid match*"),
        ('"http://a", "x.har", upstream="b"', "*'b' is not a valid upstream*"),
        ('"http://a", "no.har"', "*no.har is no HAR file: Expecting value*"),
        ('"http://a", "list.har"', "*list.har is no HAR file: it has no log.entries*"),
        ('"http://a", "odd.yaml"', "*odd.yaml is no cassette: it has no interactions"),
        ('"http://a", "empty.yaml"', "*empty.yaml is no cassette: it has no interactions"),
        ('"http://a", "not.yaml"', "*not.yaml is no cassette: ParserError: *"),
        ('"http://a", "odd.har"', "*odd.har is no HAR file: KeyError in entry 1: 'request'*"),
        ('"http://a", "port.har"', "*port.har is no HAR file: ValueError in entry 1: 'http://a:99999/' is no URL: *"),
        ('"http://a", "base64.har"', "*base64.har is no HAR file: Error in entry 2: *"),
    ],
)
def test_what_is_wrong_with_a_recording_is_said_where_it_is_declared(
    pytester: pytest.Pytester, call: str, line: str
) -> None:
    (pytester.path / "no.har").write_text("no")
    (pytester.path / "odd.yaml").write_text("version: 1")
    (pytester.path / "not.yaml").write_text("[")
    (pytester.path / "empty.yaml").write_text("")
    good: dict[str, Any] = {"request": {"method": "GET", "url": "http://a/"}, "response": {"status": 200}}
    port = {**good, "request": {"method": "GET", "url": "http://a:99999/"}}
    broken = {**good, "response": {"status": 200, "content": {"text": "?", "encoding": "base64"}}}
    (pytester.path / "port.har").write_text(json.dumps({"log": {"entries": [port]}}))
    (pytester.path / "base64.har").write_text(json.dumps({"log": {"entries": [good, broken]}}))
    (pytester.path / "list.har").write_text("[]")
    (pytester.path / "odd.har").write_text('{"log": {"entries": [{"response": {"status": 200}}]}}')
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.asyncio
        async def test_api(hosts):
            hosts.recording({call})
        """
    )

    result = run(pytester)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E  {line}"])


def test_a_script_records_and_replays(tmp_path: Path, real_host: RealHost) -> None:
    url = f"http://localhost:{real_host.port}"

    async def ask(record: str | None) -> str:
        async with Hosts(record=record) as hosts, aiohttp.ClientSession() as session:
            hosts.recording(url, tmp_path / "api.har")
            async with session.get(f"{url}/users/5") as response:
                return await response.text()

    assert asyncio.run(ask("missing")) == '{"id": "5"}'
    real_host.stop()
    assert asyncio.run(ask(None)) == '{"id": "5"}'
    with pytest.raises(ValueError, match="'yes' is not a valid record"):
        asyncio.run(ask("yes"))
