from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sessions import run_fresh

from pytest_interleave.errors import UndeclaredHost
from pytest_interleave.net import interception
from pytest_interleave.net.hosts import Hosts

PROBES = Path(__file__).with_name("probes.py").read_text()


def counted(text: str) -> int:
    return text.count("\nasync def test_") + text.count("@both_schemes\nasync") + text.count('["ws", "wss"]')


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-o", "asyncio_loop_scope=session"],
        ["--interleave", "--interleave-runs=4", "--interleave-time=60"],
        ["--interleave", "--interleave-runs=4", "--interleave-time=60", "-o", "asyncio_loop_scope=session"],
    ],
    ids=["plain", "wide loop", "explored", "explored in a wide loop"],
)
def test_unmodified_clients_find_what_is_declared(pytester: pytest.Pytester, options: list[str]) -> None:
    pytester.makepyfile(test_probes=PROBES)

    result = pytester.runpytest_inprocess("-W", "error", "--interleave-strict", *options)

    result.assert_outcomes(passed=counted(PROBES))
    assert "does not repeat" not in result.stdout.str()


SWALLOWED = """
    import asyncio
    import pytest

    @pytest.mark.asyncio
    async def test_swallows(hosts):
        hosts.serve("api.example.com:80", answer)
        try:
            await asyncio.open_connection("api.exmaple.com", 80)
        except OSError:
            pass

    async def answer(reader, writer):
        pass
"""


@pytest.mark.parametrize("options", [[], ["--interleave"]], ids=["plain", "explored"])
def test_a_refusal_that_the_program_swallows_fails_the_test(pytester: pytest.Pytester, options: list[str]) -> None:
    pytester.makepyfile(SWALLOWED)

    result = pytester.runpytest_inprocess(*options)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*undeclared-host: api.exmaple.com:80 is no host of this test; declared are api.example.com. "
            "Did you mean api.example.com?*test_a_refusal*.py:8)",
            '  Declare it, hosts.serve("api.exmaple.com", …)*',
        ]
    )


def test_the_level_of_refusals_is_a_setting(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SWALLOWED)

    result = pytester.runpytest_inprocess("--interleave-detect=undeclared-host=report")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*undeclared-host: api.exmaple.com:80 is no host*"])


def test_an_application_that_does_not_start_shows_why(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import aiohttp, pytest
        from aiohttp import web

        async def fail(app):
            raise LookupError("no database")

        @pytest.mark.asyncio
        async def test_it(hosts):
            app = web.Application()
            app.on_startup.append(fail)
            hosts.serve("api.example.com", app)
            async with aiohttp.ClientSession() as session:
                with pytest.raises(aiohttp.ClientError):
                    await session.get("http://api.example.com")
    """)

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["E  *LookupError: no database"])


def test_later_clients_of_a_server_that_did_not_start_learn_why() -> None:
    class Broken:
        async def listen(self, listener: socket.socket, tls: object) -> None:
            raise LookupError("no database")

        async def close(self) -> None: ...

    async def connect() -> None:
        async with Hosts() as hosts:
            hosts.serve("api.example.com:80", Broken())
            with pytest.raises(ConnectionError):  # it is thrown out: while it connects, or when it reads
                reader, _ = await asyncio.open_connection("api.example.com", 80)
                await reader.readexactly(1)
            with pytest.raises(
                ConnectionRefusedError, match=r"could not start \(LookupError: no database\)"
            ) as refused:
                await asyncio.open_connection("api.example.com", 80)
            assert isinstance(refused.value.__cause__, LookupError)

    with pytest.raises(LookupError):
        asyncio.run(connect())


def test_nothing_is_left_behind_and_nothing_imported_for_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import asyncio, socket, ssl, sys
        import pytest

        def places():
            loop = asyncio.SelectorEventLoop
            return socket.getaddrinfo, socket.socket.connect, ssl.SSLContext.wrap_bio, loop.getaddrinfo

        before = places()

        @pytest.mark.asyncio
        async def test_without():
            assert "pytest_interleave.net.hosts" not in sys.modules

        @pytest.mark.asyncio
        async def test_unused(hosts):
            hosts.serve("api.example.com", answer, port=80)
            assert socket.getaddrinfo is not before[0]
            assert not {"aiohttp", "trustme", "uvicorn"} & sys.modules.keys()

        async def answer(reader, writer):
            pass

        def test_after():
            assert places() == before
            assert "connect" not in vars(socket.socket)
    """)

    result = run_fresh(pytester, "-p", "no:anyio")

    result.assert_outcomes(passed=3)


def test_anyio_finds_named_hosts_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import anyio, pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        async def test_it(hosts):
            async def answer(reader, writer):
                writer.write(b"hello")
            hosts.serve("cache:1", answer)
            async with await anyio.connect_tcp("cache", 1) as stream:
                assert await stream.receive() == b"hello"
    """)

    for options in ([], ["--interleave", "--interleave-runs=3"]):
        result = pytester.runpytest_inprocess("-W", "error", *options)

        result.assert_outcomes(passed=1)


def test_a_fixture_may_be_sync_and_declare_for_all(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import asyncio, pytest

        async def answer(reader, writer):
            writer.write(b"hello")

        @pytest.fixture(autouse=True)
        def world(hosts):
            hosts.serve("cache:1", answer)

        @pytest.mark.asyncio
        async def test_it():
            reader, writer = await asyncio.open_connection("cache", 1)
            assert await reader.read() == b"hello"
            writer.close()

        def test_with_a_loop_of_its_own():
            asyncio.run(test_it())
    """)

    result = pytester.runpytest_inprocess("-W", "error")

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cache", {}, "at which port is cache"),
        ("http://example.com/path", {}, "is more or less than a host"),
        ("what://example.com", {}, "the port of what:// is not known"),
        ("a/b", {}, "is no name of a host"),
        ("", {}, "is no name of a host"),
        ("cache:99999", {}, "is no name of a host"),
        ("http://[::1", {}, r"'http://\[::1' is no URL of a host: Invalid IPv6 URL"),
        ("http://cache:99999", {}, "is no URL of a host: Port out of range"),
    ],
)
def test_a_wrong_name_gets_one_clear_line(name: str, options: dict[str, int], message: str) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...

    with pytest.raises(ValueError, match=message):
        Hosts().serve(name, handler, **options)


@pytest.mark.parametrize("thing", [3, print, lambda a, b: None])
def test_what_cannot_be_served_gets_one_clear_line(thing: object) -> None:
    with pytest.raises(TypeError, match=r"cannot serve .* nor a stream handler"):
        Hosts().serve("example.com", thing)


def test_a_client_that_trusts_nobody_but_its_own_is_not_made_to_trust_other_names() -> None:
    context = ssl.create_default_context()
    before = context.cert_store_stats()
    with socket.socket() as sock:
        hosts = Hosts().open()
        try:
            context.wrap_socket(sock, server_hostname="example.org", do_handshake_on_connect=False).close()
        finally:
            hosts.close()

    assert context.cert_store_stats() == before


def test_uvloop_finds_named_hosts_too(pytester: pytest.Pytester) -> None:
    if sys.version_info >= (3, 14):  # uvloop has no wheel everywhere; the dev extra names the versions
        return
    pytester.makeconftest(
        textwrap.dedent("""
        import uvloop
        def pytest_asyncio_loop_factories(config, item):
            return {"uvloop": uvloop.new_event_loop}
    """)
    )
    pytester.makepyfile(test_probes=PROBES)

    result = pytester.runpytest_inprocess("-W", "error", "--deselect=test_probes.py::test_hosts_of_a_block")

    result.assert_outcomes(passed=counted(PROBES) - 1, deselected=1)


def test_a_websocket_that_says_goodbye_when_the_test_ends_is_left_to_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        import websockets

        async def echo(scope, receive, send):
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.accept"})
                while (message := await receive())["type"] != "websocket.disconnect":
                    await send({"type": "websocket.send", "text": message["text"].upper()})

        @pytest.mark.asyncio
        async def test_echo(hosts):
            hosts.serve("wss://echo", echo)
            async with websockets.connect("wss://echo/") as channel:
                await channel.send("hello")
                assert await channel.recv() == "HELLO"
        """
    )

    pytester.runpytest_inprocess(
        "--interleave", "--interleave-runs=40", "--interleave-time=60", "--interleave-seed=1"
    ).assert_outcomes(passed=1)


def test_a_host_may_be_declared_by_its_address() -> None:
    async def connect() -> bytes:
        async with Hosts() as hosts:
            hosts.serve("10.0.0.5:5432", _say_hello)
            reader, writer = await asyncio.wait_for(asyncio.open_connection("10.0.0.5", 5432), 10)
            said = await reader.read()
            writer.close()
            return said

    assert asyncio.run(connect()) == b"hello"


def test_a_loop_of_the_users_own_may_connect_in_a_way_of_its_own() -> None:
    class Loop(asyncio.SelectorEventLoop):
        connected = 0

        async def sock_connect(self, sock: socket.socket, address: object) -> None:
            self.connected += 1
            await super().sock_connect(sock, address)  # type: ignore[arg-type]

    async def connect() -> bytes:
        async with Hosts() as hosts:
            hosts.serve("database:1", _say_hello)
            reader, writer = await asyncio.open_connection("database", 1)
            said = await reader.read()
            writer.close()
            return said

    loop = Loop()
    try:
        assert loop.run_until_complete(connect()) == b"hello"
    finally:
        loop.close()
    assert loop.connected == 1


def test_a_name_that_must_be_a_number_is_no_attempt_to_reach_a_host() -> None:
    hosts = Hosts().open()
    try:
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo("nobody", 80, flags=socket.AI_NUMERICHOST)
    finally:
        hosts.close()

    assert hosts.refusals == []


def test_an_address_of_ip_version_6_may_be_allowed() -> None:
    hosts = Hosts()

    hosts.allow("fd00::1")

    assert hosts.is_allowed("fd00::1")


def test_addresses_of_an_allowed_name_are_kept_by_those_who_allow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.5", 80))]
    monkeypatch.setattr(interception, "_getaddrinfo", lambda *arguments: answers)
    outer, inner = Hosts().open(), Hosts().open()
    try:
        outer.allow("real.example.com")
        assert socket.getaddrinfo("real.example.com", 80) == answers
        inner.close()

        assert interception.redirect(("10.0.0.5", 80)) == ("10.0.0.5", 80)
        assert not inner.is_allowed("10.0.0.5")
    finally:
        inner.close()
        outer.close()


@pytest.mark.parametrize("address", ["127.1", "0x7f.1", "2130706433", "0:0:0:0:0:0:0:1", "::ffff:7f00:1", "0"])
def test_this_machine_may_be_spelled_in_any_way(address: str) -> None:
    hosts = Hosts().open()
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as sock, contextlib.suppress(ConnectionRefusedError):
            sock.connect((address, 1))
        socket.getaddrinfo(address, 1)
    finally:
        hosts.close()

    assert hosts.refusals == []


@pytest.mark.parametrize("address", ["10.1", "0x0a.0.0.1", "999.1", "fd00::1"])
def test_other_addresses_are_refused_in_any_spelling(address: str) -> None:
    hosts = Hosts().open()
    try:
        with (
            socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock,
            pytest.raises(UndeclaredHost),
        ):
            sock.connect((address, 1))
    finally:
        hosts.close()

    assert [refusal.target for refusal in hosts.refusals] == [f"{address}:1"]


@pytest.mark.parametrize(
    "send",
    [
        lambda sock, address: sock.sendto(b"?", address),
        lambda sock, address: sock.sendto(b"?", 0, address),
        lambda sock, address: sock.sendmsg([b"?"], [], 0, address),
        lambda sock, address: sock.connect(address),
    ],
    ids=["sendto", "sendto with flags", "sendmsg", "connect"],
)
def test_datagrams_go_to_nobody_who_is_not_declared(send: Callable[[socket.socket, tuple[str, int]], object]) -> None:
    hosts = Hosts().open()
    hosts.serve("api.example.com:53", _say_hello)
    try:
        with socket.socket(type=socket.SOCK_DGRAM) as sock, socket.socket(type=socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            with pytest.raises(UndeclaredHost):
                send(sock, ("8.8.8.8", 53))
            with pytest.raises(UndeclaredHost):
                send(sock, ("dns.example.com", 53))
            with pytest.raises(ConnectionRefusedError, match="has no UDP ports"):
                send(sock, ("api.example.com", 53))
            send(sock, other.getsockname())
    finally:
        hosts.close()

    assert [refusal.target for refusal in hosts.refusals] == ["8.8.8.8:53", "dns.example.com:53"]


def test_sockets_still_say_what_is_wrong_with_a_call() -> None:
    hosts = Hosts().open()
    try:
        with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(TypeError):
            sock.sendto(b"?")
    finally:
        hosts.close()


def test_clients_in_threads_may_connect_first_at_once() -> None:
    count = 8
    barrier = threading.Barrier(count)

    def ask() -> bytes:
        barrier.wait()
        with socket.create_connection(("cache", 1)) as sock:
            return sock.recv(5)

    class SlowHosts(Hosts):
        def find_loop(self) -> asyncio.AbstractEventLoop:
            loop = super().find_loop()
            time.sleep(0.05)  # as if another thread came in between
            return loop

    async def ask_together() -> tuple[list[bytes], int, int]:
        async with SlowHosts(loop=asyncio.get_running_loop()) as hosts:
            host = hosts.serve("cache:1", _say_hello)
            with ThreadPoolExecutor(count) as pool:
                loop = asyncio.get_running_loop()
                said = await asyncio.gather(*(loop.run_in_executor(pool, ask) for _ in range(count)))
            return said, host.connections, len(host.endpoints[1]._listeners)

    assert asyncio.run(ask_together()) == ([b"hello"] * count, count, 1)


async def _say_hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    writer.close()


def test_who_lacks_certificates_hears_of_it_where_the_host_is_declared(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import sys; sys.modules['trustme'] = None")
    pytester.makepyfile(
        """
        import pytest

        async def answer(reader, writer):
            pass

        @pytest.mark.parametrize("where", [{"name": "https://api"}, {"name": "api", "port": 443}])
        def test_tls(hosts, where):
            hosts.serve(thing=answer, **where)

        def test_plain(hosts):
            hosts.serve("api:80", answer)
        """
    )

    result = run_fresh(pytester)

    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(["E *for hosts with TLS: pip install 'pytest-interleave[[]tls[]]'"])
