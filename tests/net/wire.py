"""What a real client does with mock routes. ``test_routes.py`` runs this file, in plain runs and explored."""

import asyncio
import errno
import gzip

import aiohttp
import httpx
import pytest
from aiohttp import web

from pytest_interleave import Hosts

pytestmark = pytest.mark.asyncio
URL = "http://api.example.com"


@pytest.fixture
def api(hosts):
    return hosts.routes(URL)


async def test_the_total_timeout_fires(api, mock_session):
    # On a busy machine the time may be up before the request has come.
    api.get("/slow", optional=True).reply(text="late", delay=60)

    with pytest.raises(asyncio.TimeoutError):
        await mock_session.get(f"{URL}/slow", timeout=aiohttp.ClientTimeout(total=0.05))


async def test_the_limit_of_a_connector_holds(api):
    pair = asyncio.Barrier(2)

    async def answer(request):
        await pair.wait()
        return "ok"

    api.get("/").reply(answer)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2)) as session:
        await asyncio.gather(*(read(session, f"{URL}/") for _ in range(8)))

    assert api.max_in_flight == 2
    assert len(api.calls) == 8


async def test_trace_hooks_fire(api):
    api.get("/").reply(text="ok")
    seen = []
    trace = aiohttp.TraceConfig()

    async def note(session, context, parameters):
        seen.append(type(parameters).__name__)

    trace.on_request_start.append(note)
    trace.on_connection_create_end.append(note)
    trace.on_request_end.append(note)
    async with aiohttp.ClientSession(trace_configs=[trace]) as session:
        await read(session, f"{URL}/")

    assert seen == ["TraceRequestStartParams", "TraceConnectionCreateEndParams", "TraceRequestEndParams"]


async def test_middlewares_run(api):
    route = api.get("/").reply(text="ok")

    async def sign(request, handler):
        request.headers["X-Signed"] = "yes"
        return await handler(request)

    async with aiohttp.ClientSession(middlewares=[sign]) as session:
        await read(session, f"{URL}/")

    assert route.calls[0].headers["X-Signed"] == "yes"


async def test_a_cookie_reaches_the_jar_and_comes_back(api, mock_session):
    api.get("/login").reply(headers={"Set-Cookie": "session=abc; Path=/"})
    home = api.get("/home")

    await read(mock_session, f"{URL}/login")
    await read(mock_session, f"{URL}/home")

    assert home.calls[0].headers["Cookie"] == "session=abc"


async def test_gzip_is_decoded(api, mock_session):
    api.get("/").reply(body=gzip.compress(b"small"), headers={"Content-Encoding": "gzip"})

    assert await read(mock_session, f"{URL}/") == b"small"


async def test_default_headers_are_sent(api, mock_session):
    route = api.get("/")

    await read(mock_session, f"{URL}/")

    assert route.calls[0].headers["Host"] == "api.example.com"
    assert "aiohttp" in route.calls[0].headers["User-Agent"]


async def test_multipart_is_sent(api, mock_session):
    route = api.post("/upload")
    form = aiohttp.FormData()
    form.add_field("file", b"content", filename="a.txt")

    async with mock_session.post(f"{URL}/upload", data=form):
        pass

    assert b'filename="a.txt"' in route.calls[0].body
    assert b"content" in route.calls[0].body


async def test_redirects_have_a_limit(api, mock_session):
    route = api.get("/loop").reply(status=302, headers={"Location": "/loop"})

    with pytest.raises(aiohttp.TooManyRedirects):
        await mock_session.get(f"{URL}/loop", max_redirects=3)
    assert len(route.calls) == 3


async def test_a_body_that_is_cut_is_an_error(api, mock_session):
    api.get("/").reply(text="0123456789", cut_after=4)

    with pytest.raises(aiohttp.ClientPayloadError):
        await read(mock_session, f"{URL}/")


async def test_chunks_arrive_one_by_one(api, mock_session):
    api.get("/").reply(stream=[b"one", 0.01, b"two", 0.01, "three"])

    async with mock_session.get(f"{URL}/") as response:
        chunks = [chunk async for chunk, _ in response.content.iter_chunks()]

    assert [chunk for chunk in chunks if chunk] == [b"one", b"two", b"three"]


async def test_a_websocket_talks(api, mock_session):
    async def echo(request):
        channel = web.WebSocketResponse()
        await channel.prepare(request)
        async for message in channel:
            await channel.send_str(message.data.upper())
        return channel

    api.get("/talk").reply(echo)
    async with mock_session.ws_connect(f"{URL}/talk") as channel:
        await channel.send_str("hello")

        assert await channel.receive_str() == "HELLO"


async def test_another_port_is_refused(hosts, mock_session):
    hosts.routes(URL)

    with pytest.raises(aiohttp.ClientConnectorError) as caught:
        await mock_session.get("http://api.example.com:81/")
    assert caught.value.os_error.errno == errno.ECONNREFUSED


async def test_a_session_is_awaited_and_entered_and_raises(api, mock_session):
    api.get("/users/{id}").reply(json={"name": "Ann"})
    api.get("/broken").reply(status=500)

    response = await mock_session.get(f"{URL}/users/1")
    assert await response.json() == {"name": "Ann"}
    async with mock_session.get(f"{URL}/broken") as response:
        with pytest.raises(aiohttp.ClientResponseError, match="500"):
            response.raise_for_status()


async def test_gather_overlaps_and_a_loop_does_not(hosts, mock_session):
    one, other = hosts.routes("http://one"), hosts.routes("http://other")
    all_are_there = asyncio.Barrier(10)

    async def answer(request):
        await all_are_there.wait()
        return "ok"

    one.get("/").reply(answer)
    other.get("/").reply(delay=0.001)

    await asyncio.gather(*(read(mock_session, "http://one/") for _ in range(10)))
    for _ in range(3):
        await read(mock_session, "http://other/")

    assert one.max_in_flight == 10
    assert other.max_in_flight == 1


async def test_answers_come_in_order_and_the_last_again(api, mock_session):
    api.add("*", "/").reset().reply(status=503).reply(json=None)

    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await mock_session.post(f"{URL}/")
    statuses = [(await mock_session.get(f"{URL}/")).status for _ in range(3)]

    assert statuses == [503, 200, 200]


async def test_a_request_finds_the_route_for_its_query_headers_and_body(api, mock_session):
    api.get("/?page=1").reply(text="first")
    api.get("/", query={"page": 2}).reply(text="second")
    api.get("/", headers={"X-Token": "t"}).reply(text="token")
    api.post("/", json={"a": [1, 2]}).reply(text="json")
    api.post("/", body="raw").reply(text="raw")

    assert await read(mock_session, f"{URL}/?page=1") == b"first"
    assert await read(mock_session, f"{URL}/?page=2") == b"second"
    async with mock_session.get(f"{URL}/", headers={"X-Token": "t"}) as response:
        assert await response.text() == "token"
    async with mock_session.post(f"{URL}/", json={"a": [1, 2]}) as response:
        assert await response.text() == "json"
    async with mock_session.post(f"{URL}/", data=b"raw") as response:
        assert await response.text() == "raw"


@pytest.fixture
def page(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<p>")
    return page


async def test_functions_answer(api, mock_session, page):
    async def find(request):
        await asyncio.sleep(0)
        return {"id": request.match_info["id"]}

    api.get("/users/{id}").reply(find)
    api.get("/text").reply(lambda request: "plain")
    api.get("/file").reply(file=page)

    assert await read(mock_session, f"{URL}/users/7") == b'{"id": "7"}'
    assert await read(mock_session, f"{URL}/text") == b"plain"
    assert await read(mock_session, f"{URL}/file") == b"<p>"


async def test_the_route_of_the_test_goes_before_that_of_the_fixture(api, mock_session):
    api.get("/", optional=True).reply(text="usual")
    api.get("/").reply(text="special")

    assert await read(mock_session, f"{URL}/") == b"special"


async def test_httpx_finds_the_same_routes(api):
    api.get("/").reply(json=[1])
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{URL}/")).json() == [1]


async def test_a_path_is_the_same_however_it_is_encoded(api):
    api.get("/a%20b").reply(text="declared encoded")
    api.get("/c d").reply(text="declared in plain")
    api.get("/files/{name}").reply(lambda request: request.match_info["name"])
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{URL}/a b")).text == "declared encoded"
        assert (await client.get(f"{URL}/c%20d")).text == "declared in plain"
        assert (await client.get(f"{URL}/files/a%2Fb")).text == "a/b"


async def test_an_answer_to_head_has_no_body(api, mock_session):
    api.add("HEAD", "/{}").reply(stream=[b"one", b"two"]).reply(text="text", cut_after=2).reply(json=[1, 2])

    for _ in range(3):
        async with mock_session.head(f"{URL}/{{}}") as response:
            assert (response.status, await response.read()) == (200, b"")
    assert response.headers["Content-Length"] == "6"


async def test_a_stream_that_a_function_makes_comes_each_time(api, mock_session):
    async def events():
        yield b"one"
        yield 0.001
        yield "two"

    api.get("/").reply(stream=events)

    assert [await read(mock_session, f"{URL}/") for _ in range(2)] == [b"onetwo"] * 2


async def test_fixtures_may_each_declare_routes_of_one_host(hosts, mock_session):
    users, orders = hosts.routes(URL), hosts.routes(URL)
    users.get("/users").reply(text="users")
    orders.get("/orders").reply(text="orders")

    assert await read(mock_session, f"{URL}/users") == b"users"
    assert await read(mock_session, f"{URL}/orders") == b"orders"


async def test_a_host_that_is_served_by_something_else_gets_new_routes(hosts, mock_session):
    hosts.routes(URL).get("/", optional=True).reply(text="old")
    hosts.serve(URL, web.Application())
    hosts.routes(URL).get("/").reply(text="new")

    assert await read(mock_session, f"{URL}/") == b"new"


@pytest.mark.parametrize(
    ("declared", "asked"),
    [
        ("http://bücher.example", "http://bücher.example/"),
        ("http://xn--bcher-kva.example", "http://BÜCHER.example/"),
        ("http://*.straße.example", "http://www.straße.example/"),
        ("http://API.example.com.", "http://api.EXAMPLE.com/"),
        ("http://api.example.com", "http://api.example.com./"),
        ("http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080/"),
        ("http://10.1.2.3:8080", "http://10.1.2.3:8080/"),
    ],
)
async def test_a_name_is_the_same_however_it_is_spelt(hosts, mock_session, declared, asked):
    hosts.routes(declared).get("/").reply(text="ok")

    assert await read(mock_session, asked) == b"ok"
    async with httpx.AsyncClient() as client:
        assert (await client.get(asked)).text == "ok"


async def test_two_tasks_have_their_own_routes():
    both = asyncio.Barrier(2)

    async def fetch(name):
        async with Hosts() as hosts:
            hosts.routes(URL).get("/").reply(text=name)
            await both.wait()
            async with aiohttp.ClientSession() as session:
                text = await read(session, f"{URL}/")
            await both.wait()
        return text

    assert await asyncio.gather(fetch("a"), fetch("b")) == [b"a", b"b"]


async def read(session, url):
    async with session.get(url) as response:
        return await response.read()
