"""pytest-aiohttp's fixtures, from us; what a failure tells of the server's side."""

from textwrap import dedent

import pytest
from sessions import run_forked

HEAD = """\
import asyncio
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

async def hello(request):
    return web.Response(text="hello")

async def create(request):
    return web.json_response({}["id"])

def make_app():
    app = web.Application()
    app.router.add_get("/", hello)
    app.router.add_post("/items", create)
    return app
"""


def run(pytester: pytest.Pytester, body: str, *arguments: str) -> pytest.RunResult:
    pytester.makeini("[pytest]\nasyncio_mode = auto\ninterleave_strict = true\n")
    pytester.makepyfile(test_it=HEAD + "\n" + dedent(body))
    return run_forked(pytester, *arguments)


CALLS = """
class LoggedIn(TestClient):
    pass

@pytest.fixture
async def client(aiohttp_client):
    return await aiohttp_client(make_app())

@pytest.fixture
async def raw(aiohttp_raw_server):
    return await aiohttp_raw_server(hello)

async def test_application(client):
    assert await (await client.get("/")).text() == "hello"

async def test_raw_server(aiohttp_client, raw):
    client = await aiohttp_client(raw)
    assert await (await client.get("/anything")).text() == "hello"

async def test_own_server(aiohttp_client):
    client = await aiohttp_client(TestServer(make_app()))
    assert (await client.get("/")).status == 200

async def test_ports(aiohttp_client, aiohttp_server, unused_tcp_port_factory):
    first, second = unused_tcp_port_factory(), unused_tcp_port_factory()
    server = await aiohttp_server(make_app(), port=first)
    client = await aiohttp_client(make_app(), server_kwargs={"port": second})
    assert (server.port, client.port) == (first, second)

async def test_wrong_argument(aiohttp_client):
    with pytest.raises(ValueError, match="Unknown argument type"):
        await aiohttp_client(hello)

class TestOfUsers:
    @pytest.fixture
    def aiohttp_client_cls(self):
        return LoggedIn

    async def test_class(self, aiohttp_client):
        assert isinstance(await aiohttp_client(make_app()), LoggedIn)

@pytest.mark.asyncio(loop_scope="session")
async def test_in_a_wider_loop(aiohttp_client):
    client = await aiohttp_client(make_app())
    assert (await client.get("/")).status == 200
"""


@pytest.mark.parametrize("arguments", [(), ("--interleave", "--interleave-runs=5")], ids=["plain", "exploring"])
def test_they_work_as_in_pytest_aiohttp(pytester: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    run(pytester, CALLS, *arguments).assert_outcomes(passed=7)


def test_its_types_can_be_imported(pytester: pytest.Pytester) -> None:
    body = """
    from pytest_aiohttp.plugin import AiohttpClient, AiohttpRawServer, AiohttpServer

    async def test_it(aiohttp_client: AiohttpClient) -> None:
        assert (await (await aiohttp_client(make_app())).get("/")).ok
    """
    run(pytester, body).assert_outcomes(passed=1)


def test_a_bare_500_tells_what_the_handler_raised(pytester: pytest.Pytester) -> None:
    body = """
    async def test_status(aiohttp_client):
        client = await aiohttp_client(make_app())
        assert (await client.post("/items")).status == 200

    async def test_it_wants_a_500(aiohttp_client):
        client = await aiohttp_client(make_app())
        assert (await client.post("/items")).status == 500

    async def test_of_somebody_elses_failure(aiohttp_client):
        client = await aiohttp_client(make_app())
        assert (await client.get("/")).status == 404
    """
    result = run(pytester, body, "--show-capture=no")

    result.assert_outcomes(failed=2, passed=1)
    text = result.stdout.str().partition("short test summary")[0]
    assert text.count("POST /items: the server's handler raised KeyError: 'id'  (test_it.py:10 in create)") == 1


def test_no_file_is_looked_at_while_a_loop_runs(pytester: pytest.Pytester) -> None:
    body = """
    import os, sys
    import pytest

    @pytest.fixture(autouse=True)
    def no_blocking_calls(monkeypatch):  # as blockbuster does it
        stat = os.stat

        def checked(*args, **kwargs):
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                return stat(*args, **kwargs)
            raise BlockingIOError("os.stat")

        monkeypatch.setattr(os, "stat", checked)
        monkeypatch.syspath_prepend(os.path.dirname(__file__))

    async def test_status(aiohttp_client):
        client = await aiohttp_client(make_app())
        assert (await client.post("/items")).status == 200
    """
    result = run(pytester, body, "--show-capture=no")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert 500 == 200", "E * the server's handler raised KeyError: 'id'  (test_it.py:*"])


def test_uvicorn_tells_too(pytester: pytest.Pytester) -> None:
    body = """
    import httpx, uvicorn

    async def failing(scope, receive, send):
        if scope["type"] == "http":
            raise LookupError("no such event")

    async def test_it(unused_tcp_port):
        server = uvicorn.Server(uvicorn.Config(failing, port=unused_tcp_port, lifespan="off"))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            async with httpx.AsyncClient() as client:
                response = await client.get(f"http://127.0.0.1:{unused_tcp_port}/events")
                assert response.status_code == 200
        finally:
            server.should_exit = True
            await serving
    """
    result = run(pytester, body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E * the server's handler raised LookupError: no such event  (test_it.py:* in failing)"]
    )


@pytest.mark.parametrize(
    ("server_kwargs", "ending", "is_told"), [("{}", "whole", True), ("{'handler_cancellation': True}", "cut", False)]
)
def test_a_handler_is_cancelled_only_if_asked_for(
    pytester: pytest.Pytester, server_kwargs: str, ending: str, is_told: bool
) -> None:
    body = f"""
    async def test_it(aiohttp_client):
        began, ended = asyncio.Event(), asyncio.Queue()

        async def slow(request):
            began.set()
            try:
                await asyncio.sleep(0.1)
                ended.put_nowait("whole")
            except asyncio.CancelledError:
                ended.put_nowait("cut")
                raise
            return web.Response()

        app = web.Application()
        app.router.add_get("/", slow)
        client = await aiohttp_client(app, server_kwargs={server_kwargs})
        asking = asyncio.create_task(client.get("/"))
        await began.wait()
        asking.cancel()
        assert await ended.get() == "{ending}"
        assert 1 == 2
    """
    result = run(pytester, body)
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "assert 1 == 2" in text
    assert ("GET /: the client went away, and the handler went on" in text) is is_told


def test_what_a_handler_did_in_another_run_of_an_exploration_is_not_told(pytester: pytest.Pytester) -> None:
    body = """
    from pytest_interleave import choose

    async def test_it(aiohttp_client):
        async def flaky(request):
            if choose(["fails", "answers"]) == "fails":
                raise LookupError("no such event")
            return web.Response()

        app = web.Application()
        app.router.add_get("/", flaky)
        client = await aiohttp_client(app)
        assert (await client.get("/")).status == 500
    """
    result = run(pytester, body, "--interleave")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['*Fails if `choose([[]"fails", "answers"[]])` (test_it.py:*) gives `\'answers\'`*'])
    result.stdout.no_fnmatch_line("*the server's handler raised*")


def test_without_aiohttp_it_says_what_to_install(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makeconftest("import sys\nsys.modules['aiohttp'] = None\nsys.modules['aiohttp.test_utils'] = None\n")
    pytester.makepyfile("async def test_it(aiohttp_client):\n    pass\n")
    result = run_forked(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*this fixture needs aiohttp: pip install 'pytest-interleave?aiohttp?'*"])


THEIRS = """
import pytest

class Fixtures:
    @pytest.fixture
    def aiohttp_client(self):
        return "theirs"

def pytest_addoption(parser, pluginmanager):
    pluginmanager.register(Fixtures(), "aiohttp")
"""


def test_pytest_aiohttp_keeps_its_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(theirs=THEIRS, test_it="def test_it(aiohttp_client):\n    assert aiohttp_client == 'theirs'\n")
    run_forked(pytester, "-p", "theirs").assert_outcomes(passed=1)


def test_the_legacy_mode_of_old_suites_is_auto(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("async def test_it():\n    pass\n")
    result = run_forked(pytester, "--asyncio-mode=legacy")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*The 'asyncio_mode' is 'legacy', switching to 'auto'*"])
