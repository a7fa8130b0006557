import asyncio
import io
import re

import aiohttp
import pytest
from aiohttp import ClientConnectionError, ClientResponseError, ClientSession, web
from aiohttp.test_utils import TestServer
from yarl import URL

import pytest_interleave
from pytest_interleave.aioresponses import CallbackResult, aioresponses

pytestmark = pytest.mark.asyncio
API = "http://example.com/api?foo=bar#fragment"


@pytest_interleave.fixture
async def session():
    async with ClientSession() as session:
        yield session


@aioresponses()
async def test_status_and_class(session, m):
    m.get(API, status=204)
    response = await session.get(API)

    assert isinstance(response, aiohttp.ClientResponse)
    assert response.status == 204


@pytest.mark.parametrize("base", ["http://example.com", "http://example.com/"])
async def test_base_url(base):
    with aioresponses() as m:
        m.get(API)
        async with (
            ClientSession(base_url=base, headers={"Authorization": "me"}) as session,
            session.get("/api?foo=bar#fragment") as response,
        ):
            assert response.status == 200

        assert m.requests["GET", URL(API)][0].kwargs["headers"]["Authorization"] == "me"


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/x",
        "http://10.1.1.1:8080/x",
        "https://localhost/x",
        "https://127.0.0.1:8443/x",
        "https://matched_example.org/x",
        "http://[2001:db8::1]/x",
        "https://[::1]:8443/x",
        "http://bücher.example/x",
    ],
)
async def test_every_kind_of_host(session, url):
    with aioresponses() as m:
        m.get(url, payload={"a": 1})
        async with session.get(url) as response:
            assert await response.json() == {"a": 1}


async def test_bodies_may_be_large(session):
    body = b"x" * 3_000_000
    with aioresponses() as m:
        m.post(API, body=body)
        async with session.post(API, data=io.BytesIO(body)) as response:
            assert await response.read() == body


@aioresponses()
async def test_headers_cookies_and_reason(session, m):
    m.get(API, content_type="text/html", headers={"Set-Cookie": "a=b", "X-One": "1"}, reason="Fine", body="é")
    async with session.get(API) as response:
        assert (response.content_type, response.reason, response.headers["X-One"]) == ("text/html", "Fine", "1")
        assert response.cookies["a"].value == "b"
        assert await response.text(encoding="utf-8") == "é"


@aioresponses()
async def test_params_are_part_of_the_url(session, m):
    m.get("http://example.com/api?foo=bar&x=42#fragment")
    async with session.get(API, params={"x": 42}) as response:
        assert response.status == 200
    m.assert_called_once()


@aioresponses()
async def test_another_method_is_refused(session, m):
    m.get(API)
    with pytest.raises(ClientConnectionError, match=r"^Connection refused: POST http://example.com/api"):
        await session.post(API)


@aioresponses()
async def test_what_a_post_was_called_with(session, m):
    m.post(API, payload={"spam": "eggs"})
    async with session.post(API, json={"foo": "bar"}, headers={"X-A": "b"}) as response:
        assert await response.json() == {"spam": "eggs"}
    m.assert_called_once_with(API, method="POST", json={"foo": "bar"}, headers={"X-A": "b"})
    m.assert_called_with(API, "POST", ["headers"], headers={"X-A": "b"})
    m.assert_any_call(API, "POST")
    with pytest.raises(AssertionError, match="was called with"):
        m.assert_called_with(API, "POST", json={}, headers={"X-A": "b"})
    with pytest.raises(AssertionError, match="was expected"):
        m.assert_any_call("http://other.example.com")
    with pytest.raises(AssertionError, match="no request was expected"):
        m.assert_not_called()


@pytest.mark.parametrize("error", [ValueError("oops"), asyncio.TimeoutError, aiohttp.ServerDisconnectedError()])
async def test_errors_are_raised_as_they_are(session, error):
    with aioresponses() as m:
        m.get(API, exception=error)
        with pytest.raises(error if isinstance(error, type) else type(error)) as caught:
            await session.get(API)

        assert isinstance(error, type) or caught.value is error
        m.assert_called_once_with(API)


@aioresponses()
async def test_timeout_and_status(session, m):
    m.get(API, timeout=True)
    m.get(API, status=400)
    with pytest.raises(asyncio.TimeoutError):
        await session.get(API)
    with pytest.raises(ClientResponseError, match="Bad Request"):
        await session.get(API, raise_for_status=True)


@aioresponses()
async def test_repeat(session, m):
    m.get(API, repeat=2, body="twice")
    m.get(re.compile(r"^http://example\.com/api"), repeat=True, body="ever")
    bodies = []
    for _ in range(4):
        async with session.get(API) as response:
            bodies.append(await response.text())

    assert bodies == ["twice", "twice", "ever", "ever"]


@aioresponses()
async def test_callbacks(session, m):
    def at_once(url, **kwargs):
        return CallbackResult(status=418, payload=kwargs["json"])

    async def later(url, **kwargs):
        await asyncio.sleep(0.01)
        return CallbackResult(body=str(url))

    m.post(API, callback=at_once)
    m.get(API, callback=later)
    async with session.post(API, json=[1]) as response:
        assert (response.status, await response.json()) == (418, [1])
    async with session.get(API) as response:
        assert await response.text() == API


@aioresponses()
async def test_redirects_are_followed(session, m):
    m.get(API, status=307, headers={"Location": "https://other.example.com/x"})
    m.get("https://other.example.com/x", body="there")
    async with session.get(API) as response:
        assert await response.text() == "there"
        assert len(response.history) == 1


@aioresponses()
async def test_a_redirect_to_nowhere(session, m):
    m.get(API, status=307, headers={"Location": "https://other.example.com/x"})
    with pytest.raises(ClientConnectionError, match=r"^Connection refused: GET http://example.com/api"):
        await session.get(API)


async def test_a_pooled_connection_of_an_earlier_scope_is_not_used(session):
    for body in ("one", "two"):
        with aioresponses() as m:
            m.get(API, body=body)
            async with session.get(API) as response:
                assert await response.text() == body


@aioresponses(param="mocked")
async def test_by_name(mocked, session):
    mocked.get(API, body="e" * 1_000_000)
    response = await session.get(API)
    mocked.stop()
    mocked.start()

    assert len(await response.read()) == 1_000_000


@aioresponses()
async def test_gather(m):
    m.get(API, payload=1, repeat=True)
    async with ClientSession() as session:

        async def load():
            async with session.get(API) as response:
                return await response.json()

        assert await asyncio.gather(*(load() for _ in range(5))) == [1] * 5


@pytest.mark.parametrize("is_named", [True, False], ids=["passthrough", "passthrough_unmatched"])
async def test_what_passes_through_reaches_the_real_server(session, is_named):
    async def answer(request):
        return web.Response(text="real")

    application = web.Application()
    application.router.add_get("/", answer)
    async with TestServer(application) as server:
        real = str(server.make_url("/"))
        with aioresponses(passthrough=[real] if is_named else [], passthrough_unmatched=not is_named) as m:
            m.get("http://example.com/", body="mocked", repeat=True)
            for url, text in [(real, "real"), ("http://example.com/", "mocked")] * 2:
                async with session.get(url) as response:
                    assert await response.text() == text
