"""What libraries do whose connections are made in C: they are led, or refused by name."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import aiohttp
import grpc
import grpc.aio
import httpx
import psycopg
import psycopg2
import pycares
import pycurl
import pytest
from aiohttp import web
from sessions import run_fresh

from pytest_interleave.errors import UndeclaredHost
from pytest_interleave.net import libraries
from pytest_interleave.net.hosts import Hosts


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    hosts = Hosts().open()
    hosts.serve("db.example.com:5432", _say_hello)
    yield hosts
    hosts.close()


async def _say_hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")


def by_psycopg(host: str, port: int) -> None:
    psycopg.connect(f"postgresql://u:p@{host}:{port}/d", connect_timeout=2)


def by_async_psycopg(host: str, port: int) -> None:
    async def connect() -> None:
        await psycopg.AsyncConnection.connect(host=host, port=port, connect_timeout=2)

    asyncio.run(connect())


def by_psycopg2(host: str, port: int) -> None:
    psycopg2.connect(f"host={host} port={port} connect_timeout=2")


def by_grpc(host: str, port: int) -> None:
    grpc.insecure_channel(f"{host}:{port}").close()


def by_async_grpc(host: str, port: int) -> None:
    async def open_channel() -> None:
        await grpc.aio.insecure_channel(f"dns:///{host}:{port}").close()

    asyncio.run(open_channel())


def by_pycurl(host: str, port: int) -> None:
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, f"http://{host}:{port}/path")
    curl.close()


def by_pycares(host: str, port: int) -> None:
    channel = pycares.Channel()
    channel.query(host, pycares.QUERY_TYPE_A, callback=lambda *answer: None)
    channel.close()


Connect = Callable[[str, int], None]
OF_LIBPQ = (by_psycopg, by_async_psycopg, by_psycopg2)
LAZY = (by_grpc, by_async_grpc, by_pycurl, by_pycares)  # these reach nobody yet


@pytest.mark.parametrize("connect", [*OF_LIBPQ, *LAZY[:-1]])
@pytest.mark.parametrize("host", ["db.example.com", "nobody.example.com", "10.1.2.3"])
def test_what_cannot_be_led_is_refused_by_name(hosts: Hosts, connect: Connect, host: str) -> None:
    with pytest.raises(UndeclaredHost, match=rf"works in C, .* to {host}:5432 it cannot be led to a host of this test"):
        connect(host, 5432)

    (refusal,) = hosts.refusals
    assert refusal.place.startswith(f"{__file__}:")
    assert f'hosts.allow("{host}")' in refusal.advice


def test_look_ups_of_c_ares_are_refused(hosts: Hosts) -> None:
    with pytest.raises(UndeclaredHost, match=r"c-ares \(aiodns, pycares\) works in C, .* loop.getaddrinfo"):
        by_pycares("db.example.com", 0)


@pytest.mark.parametrize("connect", LAZY)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "real.example.com"])
def test_what_may_be_reached_for_real_is(hosts: Hosts, connect: Connect, host: str) -> None:
    hosts.allow("real.example.com")

    connect(host, 1)

    assert hosts.refusals == []


@pytest.mark.parametrize("connect", [by_psycopg, by_async_psycopg])
def test_libpq_finds_what_is_really_on_this_machine(hosts: Hosts, connect: Connect) -> None:
    with pytest.raises(psycopg.OperationalError, match="refused"):
        connect("127.0.0.1", 1)
    assert hosts.refusals == []


def test_libpq_is_refused_where_the_environment_names_the_host(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "/tmp,db.example.com")
    monkeypatch.setenv("PGPORT", "1,7777")

    with pytest.raises(UndeclaredHost, match=r"to db\.example\.com:7777 it"):
        psycopg.connect()


@pytest.mark.parametrize(
    ("target", "addresses"),
    [
        ("api", [("api", None)]),
        ("api:50051", [("api", "50051")]),
        ("dns:api:443", [("api", "443")]),
        ("dns://8.8.8.8/api:https", [("api", "https")]),
        ("ipv4:10.0.0.1:1,10.0.0.2:2", [("10.0.0.1", "1"), ("10.0.0.2", "2")]),
        ("ipv6:[2607::1]:80", [("2607::1", "80")]),
        ("[::1]:80", [("::1", "80")]),
        ("dns:443", [("dns", "443")]),
        ("unix:/tmp/socket", []),
    ],
)
def test_targets_of_grpc_are_read(target: str, addresses: list[tuple[str, str | None]]) -> None:
    assert list(libraries._addresses_of_grpc(target)) == addresses


def test_everything_is_as_it_was_afterwards() -> None:
    def places() -> list[object]:
        return [
            *(vars(psycopg.Connection)["connect"], vars(psycopg.AsyncConnection)["connect"], psycopg2._connect),
            *(pycares.Channel.query, pycurl.Curl, grpc._channel.Channel.__init__, grpc.aio._channel.Channel.__init__),
            *sys.meta_path,
        ]

    before = places()
    hosts = Hosts().open()
    during = places()
    hosts.close()

    assert places() == before
    assert not set(map(id, before[:7])) & set(map(id, during[:7]))


def test_what_is_imported_later_is_looked_at_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys
        import pytest

        @pytest.mark.asyncio
        async def test_late(hosts):
            hosts.serve("http://api.example.com", answer)
            assert not {"pycares", "pycurl", "uvloop", "grpc"} & sys.modules.keys()
            import grpc.aio, pycares, pycurl, uvloop

            channel = pycares.Channel()
            with pytest.raises(OSError, match="c-ares"):
                channel.query("api.example.com", pycares.QUERY_TYPE_A, callback=print)
            with pytest.raises(OSError, match="libcurl"):
                pycurl.Curl().setopt(pycurl.URL, "http://api.example.com")
            with pytest.raises(OSError, match="gRPC"):
                grpc.aio.insecure_channel("api.example.com:443")
            assert uvloop.Loop.create_connection.__module__ == "pytest_interleave.net.libraries"
            assert pycares.__spec__.loader.get_source("pycares").count("class Channel")

        async def answer(reader, writer):
            pass

        def test_after():
            import pycurl, uvloop

            pycurl.Curl().setopt(pycurl.URL, "http://api.example.com")
            assert uvloop.Loop.create_connection.__module__ != "pytest_interleave.net.libraries"
    """)

    result = run_fresh(pytester, "--interleave-detect=undeclared-host=off")

    result.assert_outcomes(passed=2)


def test_a_swallowed_refusal_says_what_to_do(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import psycopg, pytest

        async def answer(reader, writer):
            pass

        @pytest.mark.asyncio
        async def test_it(hosts):
            hosts.serve("postgresql://db", answer)
            try:
                await psycopg.AsyncConnection.connect("host=db")
            except OSError:
                pass
    """)

    result = run_fresh(pytester)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "undeclared-host: libpq (psycopg) works in C, past Python's sockets: on its way to db:5432 it cannot be "
            "led to a host of this test  (test_a_swallowed_refusal_says_what_to_do.py:10)",
            '  Let it reach what is really there, hosts.allow("db"), or use what works by Python\'s sockets: asyncpg '
            "or pg8000.",
        ]
    )


def test_uvloop_takes_ports_as_text() -> None:
    uvloop = import_module("uvloop")

    async def connect(port: str) -> bytes:
        async with Hosts() as hosts:
            hosts.serve("cache:80", _say_hello)
            reader, writer = await asyncio.open_connection("cache", port)
            said = await reader.read()
            writer.close()
            return said

    for port in ("80", "http"):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            assert runner.run(connect(port)) == b"hello"


@pytest.mark.parametrize(
    "faults", [{"dns_latency": 1e6}, {"connect_latency": 1e6}, {"latency": 1e5}, {"partition": True}]
)
def test_on_uvloop_too_a_way_may_be_long(faults: dict[str, Any]) -> None:
    uvloop = import_module("uvloop")

    async def ask() -> list[object]:
        async with Hosts() as hosts:
            hosts.serve("http://api.example.com", web.Application()).faults(**faults)
            hosts.serve("http://near.example.com", web.Application())
            timeout = aiohttp.ClientTimeout(total=0.3)
            async with aiohttp.ClientSession(timeout=timeout) as session, httpx.AsyncClient(timeout=0.3) as client:
                await session.get("http://near.example.com", timeout=None)  # what is slow the first time is over then
                by_aiohttp, by_httpx = session.get("http://api.example.com"), client.get("http://api.example.com")
                return await asyncio.gather(by_aiohttp, by_httpx, return_exceptions=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        errors = runner.run(ask())

    assert [type(error) for error in errors] == [TimeoutError, httpx.ConnectTimeout]


def test_uvloop_sends_no_datagrams_away() -> None:
    uvloop = import_module("uvloop")

    async def connect() -> list[str]:
        async with Hosts() as hosts:
            with pytest.raises(UndeclaredHost):
                await asyncio.get_running_loop().create_datagram_endpoint(
                    asyncio.DatagramProtocol, remote_addr=("10.1.2.3", 53)
                )
            return [refusal.target for refusal in hosts.refusals]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(connect()) == ["10.1.2.3:53"]
