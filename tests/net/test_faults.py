from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import pytest
from aiohttp import web

from pytest_interleave.net.draw import CHOICES, Draw
from pytest_interleave.net.faults import Faults
from pytest_interleave.net.hosts import Hosts

#: Runs in a file of tests: an application with a body of 10 KB, a client, and a clock.
HELPERS = """
import asyncio, io, socket, time
import aiohttp, httpx, pytest
from aiohttp import web

pytestmark = pytest.mark.asyncio

def make_app():
    async def body(request):
        return web.Response(body=b"x" * 10_000)
    app = web.Application()
    app.router.add_get("/", body)
    return app

async def fetch(scheme="http", **options):
    async with aiohttp.ClientSession(**options) as session, session.get(f"{scheme}://api.example.com/") as response:
        return len(await response.read())

class Clock:
    def __enter__(self):
        self.start = asyncio.get_running_loop().time()
        return self
    def __exit__(self, *_):
        self.seconds = asyncio.get_running_loop().time() - self.start
"""

IN_VIRTUAL_TIME = """
from helpers import *

@pytest.mark.parametrize(
    ("scheme", "faults", "seconds"),
    [
        ("http", {"latency": 0.1}, 0.4),
        ("https", {"latency": 0.05}, 0.3),
        ("http", {"dns_latency": 0.5}, 0.5),
        ("http", {"connect_latency": 2}, 2),
        ("http", {"connect_latency": 2, "latency": 0.1}, 2.4),
        ("https", {"connect_latency": 2, "tls_latency": 1, "dns_latency": 0.5}, 3.5),
        ("https", {"tls_latency": 1, "latency": 0.05}, 1.3),
        ("http", {"tls_latency": 1}, 0),
        ("http", {"partition": True, "lasting": 3}, 3),
        ("http", {"partition": True, "after": 3}, 0),
        ("http", {"latency": 0.1, "after": 0.05}, 0),
    ],
    ids=str,
)
async def test_how_long_it_takes(hosts, scheme, faults, seconds):
    hosts.serve("api.example.com", make_app()).faults(**faults)
    with Clock() as clock:
        assert await fetch(scheme) == 10_000
    assert clock.seconds == pytest.approx(seconds, abs=1e-4)

async def test_only_the_first_request_of_a_connection_shakes_hands(hosts):
    hosts.serve("api.example.com", make_app()).faults(connect_latency=2, tls_latency=1)
    async with aiohttp.ClientSession() as session:
        for seconds in (3, 0):
            with Clock() as clock:
                async with session.get("https://api.example.com/") as response:
                    await response.read()
            assert clock.seconds == pytest.approx(seconds, abs=1e-4)

async def test_a_slow_handshake_runs_into_the_timeout_for_it(hosts):
    hosts.serve("api.example.com", make_app()).faults(tls_latency=70)
    with Clock() as clock, pytest.raises(OSError, match="SSL handshake is taking longer than 60"):
        await asyncio.open_connection("api.example.com", 443, ssl=True)
    assert clock.seconds == pytest.approx(60, abs=1e-4)

async def test_a_day_with_every_mood(hosts):
    host = hosts.serve("api.example.com", make_app())
    host.faults(refuse=True, after=10, lasting=10)
    host.faults(dns_failure=True, after=30, lasting=10)
    host.faults(tls_failure=True, after=50, lasting=10)
    host.faults(reset_at=5000, after=70, lasting=10)
    host.faults(latency=1, after=90, lasting=10)
    came, start = [], asyncio.get_running_loop().time()
    for second in range(5, 110, 10):
        await asyncio.sleep(start + second - asyncio.get_running_loop().time())
        try:
            came.append(await fetch("https"))
        except Exception as error:
            came.append(type(error).__name__)
    well = [10_000]
    assert came == [
        *well, "ClientConnectorError", *well, "ClientConnectorDNSError", *well, "ClientConnectorCertificateError",
        *well, "ClientOSError", *well, *well, *well,
    ]

async def test_bandwidth(hosts):
    hosts.serve("api.example.com", make_app()).faults(bandwidth=1000)
    with Clock() as clock:
        assert await fetch() == 10_000
    assert 10 < clock.seconds < 10.5

async def test_timeouts_of_clients_are_exact(hosts):
    hosts.serve("api.example.com", make_app()).faults(partition=True)
    with Clock() as clock, pytest.raises(aiohttp.ServerTimeoutError):
        await fetch(timeout=aiohttp.ClientTimeout(sock_connect=3))
    assert clock.seconds == pytest.approx(3, abs=1e-4)
    with Clock() as clock, pytest.raises(httpx.ConnectTimeout):
        async with httpx.AsyncClient() as client:
            await client.get("http://api.example.com/")
    assert clock.seconds == pytest.approx(5, abs=1e-4)

async def test_a_live_connection_is_parted_and_healed(hosts):
    async def count(reader, writer):
        for number in range(10):
            writer.write(b"%d" % number)
            await asyncio.sleep(1)
    host = hosts.serve("cache:1", count)
    host.faults(partition=True, after=2.5, lasting=5)
    reader, writer = await asyncio.open_connection("cache", 1)
    arrivals = []
    with Clock() as clock:
        while data := await reader.read(100):
            arrivals.append((round(asyncio.get_running_loop().time() - clock.start, 3), data))
    assert arrivals[:4] == [(0, b"0"), (1, b"1"), (2, b"2"), (7.5, b"34567")]
    writer.close()
"""

IN_ANY_TIME = """
from helpers import *

async def test_pieces(hosts):
    async def answer(reader, writer):
        await reader.readline()
        writer.write(b"hello")
    hosts.serve("cache:1", answer).faults(piece=1)
    reader, writer = await asyncio.open_connection("cache", 1)
    writer.write(b"\\n")
    pieces = []
    while data := await reader.read(100):
        pieces.append(data)
    assert b"".join(pieces) == b"hello"
    assert len(pieces) >= 3  # what comes in while nobody reads is read at once
    writer.close()

@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_reset(hosts, scheme):
    hosts.serve("api.example.com", make_app()).faults(reset_at=5000)
    with pytest.raises(aiohttp.ClientError, match="reset by peer"):
        await fetch(scheme)
    assert hosts.struck[0] == "a connection to api.example.com was reset after 5000 bytes of its answers"

async def test_close(hosts):
    hosts.serve("api.example.com", make_app()).faults(close_at=5000)
    with pytest.raises(aiohttp.ClientPayloadError, match="not completed"):
        await fetch()

async def test_half_a_connection_is_closed(hosts):
    heard = []
    async def answer(reader, writer):
        writer.write(b"hello")
        heard.append(await reader.read())
    hosts.serve("cache:1", answer).faults(close_at=2)
    reader, writer = await asyncio.open_connection("cache", 1)
    assert await reader.read() == b"he"
    writer.write(b"still here")
    writer.write_eof()
    while not heard:
        await asyncio.sleep(0.001)
    assert heard == [b"still here"]
    writer.close()

async def test_silence(hosts):
    hosts.serve("api.example.com", make_app()).faults(hang_at=5000)
    with pytest.raises(aiohttp.SocketTimeoutError):
        await fetch(timeout=aiohttp.ClientTimeout(sock_read=0.2))

async def test_refusal_and_healing(hosts):
    host = hosts.serve("api.example.com", make_app())
    host.faults(refuse=True)
    with pytest.raises(aiohttp.ClientConnectorError, match="refuses connections") as caught:
        await fetch()
    assert caught.value.errno == 111
    host.heal()
    assert await fetch() == 10_000

async def test_names_and_certificates(hosts):
    host = hosts.serve("api.example.com", make_app())
    host.faults(dns_failure=True)
    with pytest.raises(aiohttp.ClientConnectorDNSError, match="Temporary failure"):
        await fetch()
    host.heal()
    host.faults(tls_failure=True)
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await fetch("https")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        async with httpx.AsyncClient() as client:
            await client.get("https://api.example.com/")
    host.heal()
    assert await fetch("https") == 10_000

async def test_other_hosts_stay_healthy(hosts):
    hosts.serve("down.example.com", make_app()).faults(refuse=True)
    hosts.serve("api.example.com", make_app())
    assert await fetch() == 10_000

async def test_websocket_through_the_relay(hosts):
    async def talk(request):
        channel = web.WebSocketResponse()
        await channel.prepare(request)
        async for message in channel:
            await channel.send_str(message.data.upper())
        return channel
    app = web.Application()
    app.router.add_get("/", talk)
    hosts.serve("api.example.com", app).faults(piece=3)
    async with aiohttp.ClientSession() as session, session.ws_connect("wss://api.example.com/") as channel:
        for word in ("one", "two"):
            await channel.send_str(word)
            assert await channel.receive_str() == word.upper()

async def test_much_in_both_directions(hosts):
    async def echo(request):
        return web.Response(body=await request.read())
    app = web.Application(client_max_size=10**8)
    app.router.add_post("/", echo)
    hosts.serve("api.example.com", app).faults(latency=1e-4)
    async with aiohttp.ClientSession() as session:
        async with session.post("http://api.example.com/", data=io.BytesIO(b"y" * 3_000_000)) as response:
            assert await response.read() == b"y" * 3_000_000
"""


@pytest.mark.parametrize("options", [[], ["-o", "asyncio_loop_scope=session"]], ids=["own loop", "wide loop"])
def test_faults_in_virtual_time(pytester: pytest.Pytester, options: list[str]) -> None:
    pytester.makepyfile(helpers=HELPERS, test_it=IN_VIRTUAL_TIME)

    # One run, in asyncio's own order: in others, deadlines pass early, and figures differ.
    result = pytester.runpytest_inprocess(
        "-W", "error", "--interleave", "--interleave-runs=1", "--interleave-strict", *options
    )

    result.assert_outcomes(passed=17)


@pytest.mark.parametrize(
    "options", [[], ["--interleave", "--interleave-runs=1"]], ids=["plain", "explored in asyncio's own order"]
)
def test_what_clients_see(pytester: pytest.Pytester, options: list[str]) -> None:
    pytester.makepyfile(helpers=HELPERS, test_it=IN_ANY_TIME)

    result = pytester.runpytest_inprocess("-W", "error", "--interleave-strict", *options)

    result.assert_outcomes(passed=11)


PAYS_TWICE = """
from helpers import *

async def pay(euros):
    for _ in range(2):
        try:
            async with aiohttp.ClientSession() as session, session.post("http://bank.example.com/pay", json=euros):
                return
        except aiohttp.ClientError:
            continue

async def test_nobody_pays_twice(hosts):
    paid = []
    async def take(request):
        paid.append(await request.json())
        return web.Response()
    app = web.Application()
    app.router.add_post("/pay", take)
    hosts.serve("bank.example.com", app)
    hosts.may_fail("refused", "reset")

    await pay(5)

    assert paid in ([], [5])
"""


def test_a_search_finds_the_fault_that_matters_and_repeats_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(helpers=HELPERS, test_it=PAYS_TWICE)

    assert pytester.runpytest_inprocess().ret == 0
    found = pytester.runpytest_inprocess("--interleave", "--interleave-runs=200", "--interleave-seed=1")

    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(
        [
            "*assert [[]5, 5] in ([[]], [[]5])*",
            "*Captured network faults call*",
            "a connection to bank.example.com was reset after * bytes of its answers",
            "*Reproduced 5 of 5.",
        ]
    )
    token = next(line.split("--interleave-replay=")[1] for line in found.outlines if "--interleave-replay=" in line)
    again = pytester.runpytest_inprocess(f"--interleave-replay={token}")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*assert [[]5, 5] in ([[]], [[]5])*"])


RANDOM = """
from helpers import *
from collections import Counter

SEEN = Counter()

@pytest.mark.parametrize(
    "name", ["latency", "dns_latency", "connect_latency", "tls_latency", "bandwidth", "of a route"]
)
@pytest.mark.parametrize("kind", ["a range", "a distribution", "a chance"])
async def test_it(hosts, name, kind):
    routes = hosts.routes("https://api.example.com")
    route = routes.get("/").reply(body=b"x" * 3000)
    value = {"a range": (0, 9), "a distribution": lambda random: random.choice([0, 9]), "a chance": 9}[kind]
    if name == "bandwidth":
        value = 300
    chance = 0.5 if kind == "a chance" or name == "bandwidth" else 1
    if name == "of a route":
        route.faults(latency=value, chance=chance)
    else:
        hosts["api.example.com"].faults(**{name: value}, chance=chance if name != "dns_latency" else 1)
    with Clock() as clock:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout()) as session:
            await session.get("https://api.example.com/", ssl=True)
    SEEN[name, kind, round(clock.seconds) // 3] += 1

async def test_seen():
    seen = {}
    for name, kind, seconds in SEEN:
        seen.setdefault((name, kind), set()).add(seconds)
    assert len(seen) == 18
    for (name, kind), values in seen.items():
        if (name, kind) != ("dns_latency", "a chance"):
            assert len(values) > (2 if kind == "a range" and name != "bandwidth" else 1), (name, kind)
"""


STRUCK = """
from helpers import *

async def test_it(hosts):
    hosts.serve("https://api.example.com", make_app())
    hosts.may_fail({!r})
    try:
        await fetch("https", timeout=aiohttp.ClientTimeout(total=300))
    except Exception:
        pass
    assert not hosts.struck
"""


def test_whatever_is_random_is_a_choice_of_the_search(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(helpers=HELPERS, test_it=RANDOM)

    result = pytester.runpytest_inprocess(
        "--interleave", "--interleave-runs=25", "--interleave-limit=100000", "--interleave-seed=1"
    )

    result.assert_outcomes(passed=19)


@pytest.mark.parametrize(
    ("kind", "sentence", "section"),
    [
        ("refused", "is refused", "was refused"),
        ("tls", "is shown a certificate that nobody trusts", "was shown a certificate that nobody trusts"),
        ("handshake", "takes 1 s longer to be made", "had connect_latency=1.0"),
        ("silent", "falls silent * of its answer", "fell silent after * bytes of its answers"),
        ("closed", "is closed * of its answer", "was closed after * bytes of its answers"),
        ("reset", "is reset * of its answer", "was reset after * bytes of its answers"),
        ("slow", "has a latency of 1 s", "had latency=1.0"),
        ("short", "comes in short pieces", "had pieces=32"),
    ],
)
def test_a_report_says_what_struck(pytester: pytest.Pytester, kind: str, sentence: str, section: str) -> None:
    pytester.makepyfile(helpers=HELPERS, test_it=STRUCK.format(kind))

    result = pytester.runpytest_inprocess("--interleave", "--interleave-runs=60", "--interleave-seed=1")

    result.assert_outcomes(failed=1)
    who = "a connection to api.example.com"
    result.stdout.fnmatch_lines(["*Captured network faults call*", f"{who} {section}", f"Fails if {who} {sentence}."])
    result.stdout.re_match_lines([r".* Reproduced (\d) of \1\."])  # a busy machine has no time for five


def test_a_report_says_that_a_name_was_not_found(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(helpers=HELPERS, test_it=STRUCK.format("dns"))

    result = pytester.runpytest_inprocess("--interleave", "--interleave-runs=60", "--interleave-seed=1")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["api.example.com could not be looked up", "Fails if the look-up of api.example.com fails."]
    )


def test_a_search_tries_each_fault_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        helpers=HELPERS,
        test_it="""
        from helpers import *

        ALONE = set()

        async def test_it(hosts):
            hosts.serve("https://api.example.com", make_app())
            hosts.may_fail()
            try:
                await fetch("https")
            except (OSError, aiohttp.ClientError):
                pass
            if len(hosts.struck) == 1:  # aiohttp tries again what was reset before the answer
                ALONE.add(hosts.struck[0])

        async def test_tried():
            ways = ["refused", "certificate", "could not", "connect_latency", "tls_latency", " latency", "pieces"]
            ways += ["reset after", "closed after", "silent after"]
            assert {way for way in ways if any(way in struck for struck in ALONE)} == set(ways)
        """,
    )

    result = pytester.runpytest_inprocess("--interleave", "--interleave-runs=200", "--interleave-seed=1")

    result.assert_outcomes(passed=2)


def test_a_host_that_has_no_faults_yet_may_fail(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        helpers=HELPERS,
        test_it="""
        from helpers import *

        async def test_it(hosts):
            host = hosts.serve("api.example.com", make_app())
            host.faults()
            host.may_fail("refused")
            await fetch()
        """,
    )

    result = pytester.runpytest_inprocess("--interleave", "--interleave-runs=20", "--interleave-seed=1")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["Fails if a connection to api.example.com is refused."])


def test_a_way_that_may_have_faults_adds_no_choice_points(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        helpers=HELPERS,
        test_it="""
        from helpers import *

        @pytest.mark.parametrize("is_moody", [False, True])
        async def test_it(hosts, is_moody):
            host = hosts.serve("api.example.com", make_app())
            if is_moody:
                host.faults()
            await fetch("https")
            assert False
        """,
    )

    result = pytester.runpytest_inprocess("--interleave", "--interleave-runs=1")

    result.assert_outcomes(failed=2)
    healthy, moody = map(int, re.findall(r"(\d+) choice points", result.stdout.str()))
    assert 0 < moody <= healthy


def test_what_struck_is_told_in_one_section(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        helpers=HELPERS,
        test_it="""
        from helpers import *

        async def test_it(hosts):
            hosts.serve("api.example.com", make_app()).faults(refuse=True)
            for _ in range(2):
                with pytest.raises(aiohttp.ClientConnectorError):
                    await fetch()
            assert False
        """,
    )

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(failed=1)
    struck = "a connection to api.example.com was refused"
    result.stdout.fnmatch_lines(["*Captured network faults call*", struck, struck], consecutive=True)


def test_plain_runs_stay_healthy_where_a_search_may_choose(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        helpers=HELPERS,
        test_it="""
        from helpers import *

        @pytest.mark.parametrize("round", range(5))
        async def test_it(hosts, round):
            hosts.serve("api.example.com", make_app())
            hosts.may_fail()
            assert await fetch() == 10_000
            assert hosts.struck == []
        """,
    )

    pytester.runpytest_inprocess().assert_outcomes(passed=5)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"latency": -1}, "latency=-1: it must be seconds, a range"),
        ({"latency": (2, 1)}, r"latency=\(2, 1\): it must be seconds, a range"),
        ({"tls_latency": "long"}, "tls_latency='long': it must be seconds, a range"),
        ({"connect_latency": -1}, "connect_latency=-1: it must be seconds, a range"),
        ({"chance": 2}, "chance=2: it must be between 0 and 1"),
        ({"piece": 0}, "piece=0: it must be a number of bytes, at least 1"),
        ({"reset_at": "end"}, "reset_at='end': it must be a number of bytes"),
        ({"bandwidth": True}, "bandwidth=True: it must be bytes a second"),
    ],
)
def test_a_wrong_fault_gets_one_clear_line(faults: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Faults(**faults)


def test_a_wrong_kind_gets_one_clear_line() -> None:
    with pytest.raises(ValueError, match="'earthquake' is no fault that may be chosen; these are: refused, dns"):
        Hosts().may_fail("earthquake")


@pytest.mark.parametrize("faults", [{"tls_failure": True}, {"tls_latency": 1}])
def test_no_tls_no_failure_of_it(faults: dict[str, Any]) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...

    with pytest.raises(ValueError, match="cache has no TLS that could fail or be slow"):
        Hosts().serve("cache:1", handler).faults(**faults)


def test_draws_are_the_same_each_time() -> None:
    first, second = Draw(), Draw()
    draws = [draw.seconds((1.0, 2.0), "a connection") for draw in (first, second) for _ in range(3)]

    assert draws[:3] == draws[3:]
    assert len(set(draws)) == 3
    assert all(1 <= seconds <= 2 for seconds in draws)
    assert first.fault(CHOICES, "a connection", tls=True) == Faults()


def test_faults_are_shown_by_what_is_not_healthy() -> None:
    assert str(Faults(latency=0.1, refuse=True)) == "latency=0.1, refuse=True"
    assert str(Faults()) == "healthy"


@pytest.mark.asyncio
async def test_some_connections_are_struck(hosts: Hosts) -> None:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    host = hosts.serve("api.example.com", app)
    host.faults(chance=0.5, refuse=True)
    outcomes = []
    for _ in range(8):
        async with httpx.AsyncClient() as client:
            try:
                outcomes.append((await client.get("http://api.example.com")).text)
            except httpx.ConnectError:
                outcomes.append("refused")

    assert set(outcomes) == {"hello", "refused"}


ROUTES = """
from helpers import *

@pytest.fixture
def api(hosts):
    return hosts.routes("http://api.example.com")

async def get(path="/", **options):
    async with aiohttp.ClientSession(**options) as session, session.get("http://api.example.com" + path) as response:
        return await response.read()

async def test_latency_of_one_route(api):
    api.get("/far").reply(body=b"far").faults(latency=2)
    api.get("/near").reply(body=b"near")
    with Clock() as clock:
        assert await asyncio.gather(get("/far"), get("/near")) == [b"far", b"near"]
    assert clock.seconds == pytest.approx(4, abs=1e-3)
    with Clock() as clock:
        assert await get("/near") == b"near"
    assert clock.seconds == pytest.approx(0, abs=1e-3)

async def test_one_connection_for_several_answers(api, hosts):
    api.get("/far").reply(body=b"far").faults(latency=1, piece=7)
    api.get("/near").reply(body=b"near")
    async with aiohttp.ClientSession() as session:
        for path in ("/far", "/near", "/far"):
            async with session.get("http://api.example.com" + path) as response:
                assert await response.read() == path[1:].encode()
    assert hosts["api.example.com"].connections == 1

async def test_bandwidth(api):
    api.get("/").reply(body=b"x" * 10_000).faults(bandwidth=1000)
    with Clock() as clock:
        assert len(await get()) == 10_000
    assert 10 < clock.seconds < 10.5

async def test_a_time_of_day(api):
    route = api.get("/").reply(body=b"x").faults(partition=True, after=1, lasting=3)
    with Clock() as clock:
        await get()
        await asyncio.sleep(2)
        await get()
    assert clock.seconds == pytest.approx(4, abs=1e-3)
    route.faults(partition=True)
    asyncio.get_running_loop().call_later(5, route.heal)
    with Clock() as clock:
        await get()
    assert clock.seconds == pytest.approx(5, abs=1e-3)

@pytest.fixture
def file(tmp_path):
    (tmp_path / "file").write_bytes(b"z" * 5_000)
    return tmp_path / "file"

async def test_cuts(api, hosts, file):
    api.get("/reset").reply(body=b"x" * 5_000).faults(reset_at=1000)
    api.get("/closed").reply(stream=[b"x" * 5_000, b"y" * 5_000]).faults(close_at=6000)
    api.get("/silent").reply(body=b"x" * 5_000).faults(hang_at=1000)
    api.get("/file").reply(file=file).faults(close_at=3000)
    with pytest.raises(aiohttp.ClientError, match="reset by peer"):
        await get("/reset")
    with pytest.raises(aiohttp.ClientPayloadError):
        await get("/closed")
    with pytest.raises(aiohttp.SocketTimeoutError):
        await get("/silent", timeout=aiohttp.ClientTimeout(sock_read=3))
    with pytest.raises(aiohttp.ClientPayloadError):
        await get("/file")
    assert hosts.struck == [
        "the answer to GET /reset was reset after 1000 bytes",
        "the answer to GET /closed was closed after 6000 bytes",
        "the answer to GET /silent fell silent after 1000 bytes",
        "the answer to GET /file was closed after 3000 bytes",
    ]

async def test_over_tls(hosts):
    hosts.routes("https://api.example.com").get("/").reply(body=b"x" * 5_000).faults(piece=1000, latency=0.5)
    async with httpx.AsyncClient() as client:
        assert len((await client.get("https://api.example.com/")).content) == 5_000

@pytest.mark.parametrize(
    "name", ["refuse", "dns_failure", "dns_latency", "connect_latency", "tls_failure", "tls_latency"]
)
async def test_what_strikes_before_a_route_is_known(api, name):
    with pytest.raises(ValueError, match=f"{name} strikes before a route is known: say hosts"):
        api.get("/", optional=True).faults(**{name: 1})

async def test_bad_kinds(api):
    with pytest.raises(ValueError, match="'dns' strikes before a route is known"):
        api.get("/", optional=True).may_fail("dns")
    with pytest.raises(ValueError, match="'rest' is no fault .*; these are: reset, closed, silent, slow, short"):
        api.get("/", optional=True).may_fail("rest")
"""


def test_faults_of_routes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(helpers=HELPERS, test_it=ROUTES)

    result = pytester.runpytest_inprocess("-W", "error", "--interleave", "--interleave-runs=1", "--interleave-strict")

    result.assert_outcomes(passed=13)


def test_a_search_finds_the_answer_that_is_lost(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        helpers=HELPERS,
        test_it="""
        from helpers import *

        async def post(path):
            for _ in range(2):
                try:
                    async with aiohttp.ClientSession() as session, session.post("http://bank.example.com" + path):
                        return
                except aiohttp.ClientError:
                    continue

        async def test_nobody_pays_twice(hosts):
            bank = hosts.routes("http://bank.example.com")
            login = bank.post("/login")
            pay = bank.post("/pay").may_fail("reset", "slow")

            await post("/login")
            await post("/pay")

            assert len(login.calls) == 1
            assert len(pay.calls) == 1
        """,
    )
    assert pytester.runpytest_inprocess().ret == 0

    found = pytester.runpytest_inprocess("--interleave", "--interleave-runs=100", "--interleave-seed=1")

    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(
        [
            "E *assert 2 == 1",
            "*Captured network faults call*",
            "the answer to POST /pay was reset after * bytes",
            "*Reproduced 5 of 5.",
        ]
    )


@pytest.mark.parametrize("faults", ["'reset'", "('reset', 'refused')", "True"])
def test_the_mark_says_what_may_strike(pytester: pytest.Pytester, faults: str) -> None:
    mark = f"@pytest.mark.interleave(faults={faults}, runs=200, seed=1)\nasync def test_nobody"
    test = PAYS_TWICE.replace('    hosts.may_fail("refused", "reset")\n', "").replace("async def test_nobody", mark)
    pytester.makepyfile(helpers=HELPERS, test_it=test)

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["a connection to bank.example.com * after * bytes of its answers"])


@pytest.mark.parametrize(
    ("faults", "fixture", "message"),
    [
        ("'rest'", "hosts", "'rest' is not a valid mark.interleave's faults. Valid values: refused, dns, tls, *"),
        ("3", "hosts", "3 is not a valid mark.interleave's faults. Valid values: refused, *"),
        ("'reset'", "tmp_path", "mark.interleave's faults are those of named hosts, but the test does not ask for *"),
    ],
)
def test_a_wrong_mark_gives_one_line(pytester: pytest.Pytester, faults: str, fixture: str, message: str) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.asyncio
        @pytest.mark.interleave(faults={faults})
        async def test_it({fixture}):
            pass
        """
    )
    result = pytester.runpytest_inprocess()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*::test_it: {message}"])


LATE = """
    import pytest
    from aiohttp import web
    from pytest_interleave import load

    @pytest.mark.asyncio
    @pytest.mark.virtual_time
    async def test_load(hosts, mock_session):
        host = hosts.serve("api.example.com", web.Application())
        {first}

        async def visit():
            async with mock_session.get("http://api.example.com/") as response:
                await response.read()

        result = await load(visit, rate=10, duration=30, at={{10: lambda: host.faults(partition=True), 15: host.heal}})
        assert result.between(0, 10).slowest == 0
        assert 4 < result.between(10, 15).slowest < 5
        assert result.between(15, 30).slowest == 0
"""


def test_faults_come_and_go_on_the_schedule_of_a_load(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(LATE.format(first="host.faults()"))

    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def test_faults_that_would_spare_a_connection_are_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(LATE.format(first=""))

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *RuntimeError: api.example.com was connected to before its first faults(), which would spare that*",
            "E *at 10 s of the load: *",
        ]
    )


@pytest.mark.parametrize(
    ("name", "line"),
    [("latncy", "no fault 'latncy': did you mean latency"), ("xyz", "no fault 'xyz': there are latency,")],
)
def test_a_misspelt_fault_is_told_what_was_meant(name: str, line: str) -> None:
    hosts = Hosts()

    for declared in (
        hosts.serve("http://a.example.com", web.Application()),
        hosts.routes("http://b.example.com").get("/"),
    ):
        with pytest.raises(TypeError, match=line):
            declared.faults(**{name: 2})
