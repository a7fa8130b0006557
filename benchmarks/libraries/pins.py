"""Which libraries, at which versions, and what was found out about the tests that fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# The same plugins everywhere but for what a suite needs: pytest-asyncio is ours to replace, so it is never among them.
COMMON = ("pytest==9.2.0",)


_OF_AIORESPONSES = "tests.test_aioresponses.AIOResponses"
_OF_REDIRECTS = "tests.test_aioresponses.AIOResponseRedirectTest"


@dataclass(frozen=True)
class Library:
    """The source distribution of a library on PyPI, and how its own tests are run."""

    name: str
    version: str
    tests: tuple[str, ...] = ("tests",)
    needs: tuple[str, ...] = ()
    """What its tests import, pinned."""
    options: tuple[str, ...] = ()
    judged: Mapping[str, str] = field(default_factory=dict)
    """What each test is that fails only when explored, by the node's id or its beginning: ``kind: why``."""
    told: Mapping[str, str] = field(default_factory=dict)
    """What detectors find in plain runs, by ``detector in nodeid`` or its beginning: ``kind: why``."""
    package: str = ""
    """Its own package, if ours takes its place: ``stand_ins/NAME`` is put over the source, and it is not installed."""
    fails: Mapping[str, str] = field(default_factory=dict)
    """Why tests of a library fail with ours in its place, by the node's id."""

    @property
    def folder(self) -> str:
        """The name of its folder, which a new pin changes."""
        return f"{self.name}-{self.version}"


LIBRARIES = (
    Library(
        "aiocache",
        "0.12.3",
        tests=("tests/ut",),
        needs=("pytest-mock==3.15.1", "msgpack", "ujson", "marshmallow<4", "redis", "aiomcache"),
        options=("--asyncio-mode=auto", "-W", "ignore::DeprecationWarning"),
    ),
    Library(
        "aiofiles",
        "25.1.0",
        judged={
            "tests.threadpool.test_open.test_filetask_async_context_aexit": (
                "timing: hopes that a thread opens a file within 0.1 s"
            )
        },
    ),
    Library(
        "aiojobs",
        "1.4.0",
        needs=("pytest-aiohttp", "aiohttp"),
        options=("--asyncio-mode=auto",),
        judged={
            "tests.test_scheduler.test_wait_and_close_timeout": (
                "timing: a job that sleeps 0.1 s must end within the timeout of 0.2 s"
            )
        },
    ),
    Library("aiolimiter", "1.3.0", needs=("dunamai", "typing-extensions")),
    Library(
        "aiosmtplib",
        "5.1.3",
        needs=("aiosmtpd", "hypothesis", "trustme", "pytest-mock"),
        judged={
            "tests.test_connect.test_context_manager_exception_quits": (
                "timing: QUIT must be answered within the client's timeout of 1 s, which the library passes over"
            ),
            "tests.test_connect.test_server_unexpected_disconnect_with_delay": (
                "timing: hopes that the server's close arrives within 0.2 s"
            ),
        },
        told={
            "left-open in tests/test_connect.py::test_connect_via_socket": (
                "real: the test closes the socket below the client's connection, and not the connection"
            ),
            "left-open in tests/": "real: the test ends with its client's connection open",
            "leaked-task in tests/test_timeouts.py::": "real: a handler of the test's server sleeps when the test ends",
            "leaked-task in tests/": "real: a handler of the test's server waits for a client that is never closed",
        },
    ),
    Library(
        "aioresponses",
        "0.7.9",
        needs=("aiohttp==3.14.5", "ddt==1.7.2", "packaging==26.3", "trustme==1.2.1"),
        # pytest's own tracebacks of these tests meet a bug of CPython's: "AST constructor recursion depth mismatch".
        options=("--tb=native",),
        package="aioresponses",
        fails={
            f"{_OF_AIORESPONSES}TestCase.test_callback_coroutine": (
                "expects an answer within one turn of the loop; ours comes over a connection"
            ),
            f"{_OF_AIORESPONSES}TestCase.test_request_with_non_deepcopyable_parameter": (
                "gives a generator as data, which aiohttp 3.14 refuses"
            ),
            f"{_OF_AIORESPONSES}TestCase.test_returned_response_raw_headers": (
                "expects the declared headers and no others; a server sends Content-Length, Date and Server too"
            ),
            f"{_OF_REDIRECTS}.test_post_redirect_followed": (
                "expects that a POST becomes a GET behind a 307, which HTTP forbids"
            ),
            f"{_OF_REDIRECTS}.test_request_info": (
                "expects that a request has no headers; aiohttp sends Host, Accept, Accept-Encoding and User-Agent"
            ),
            f"{_OF_REDIRECTS}.test_request_info_with_original_request_headers": (
                "expects that a request has the caller's headers and no others"
            ),
        },
    ),
    Library("aiostream", "0.8.1"),
    Library(
        "anyio",
        "4.16.0",
        needs=("blockbuster", "hypothesis", "psutil", "pytest-mock", "pytest-timeout", "trustme", "truststore"),
        # What it does on trio and uvloop is not ours, and one file builds wheels.
        options=("-k", "not trio and not uvloop", "--ignore=tests/test_lazyimport.py"),
        judged={
            "tests.test_from_thread.TestBlockingPortal.test_aexit_without_exception": (
                "timing: hopes that two threads begin and call within 0.1 s"
            ),
            "tests.test_functools.TestAsyncLRUCache.test_ttl_sequential": (
                "timing: a sleep of 0.1 s must end within the timeout of 1 s"
            ),
            "tests.test_sockets.TestTCPListener.test_send_after_eof": (
                "bug, of CPython: sock_accept() sets the result of a future that was cancelled in the same turn"
            ),
        },
    ),
    Library(
        "async-lru",
        "2.4.0",
        needs=("pytest-timeout",),
        options=("--asyncio-mode=auto",),
        judged={
            "tests.test_ttl.": "timing: hopes to ask again before 0.1 s or 0.05 s are over, and the entry with them"
        },
        told={
            "lost-exception in tests/test_internals.py::test_done_callback_exception": (
                "real: the test sets a future's exception, looks whether its cache entry goes, and drops it"
            )
        },
    ),
    Library("async-timeout", "5.0.1"),
    Library("pytest-aiohttp", "1.1.1", needs=("aiohttp==3.14.5",), package="pytest_aiohttp"),
    Library(
        "httpcore",
        "1.0.9",
        needs=("anyio==4.16.0", "h2==4.4.1", "pytest-httpbin==2.1.0", "socksio==1.0.0", "trio==0.35.0"),
        options=("-k", "not trio", "-W", "ignore::pytest.PytestUnknownMarkWarning"),
    ),
    Library(
        "httpx",
        "0.28.1",
        needs=(
            *("brotli==1.2.1", "chardet==7.7.0", "click==8.5.1", "cryptography==50.0.2", "h2==4.4.1", "rich==15.0.0"),
            *("socksio==1.0.0", "trio==0.35.0", "trustme==1.2.1", "uvicorn==0.54.0", "zstandard==0.25.0"),
        ),
        options=("-k", "not trio"),
    ),
    Library(
        "httpx-ws",
        "0.9.0",
        needs=("starlette==1.10.0", "trio==0.35.0", "uvicorn==0.54.0", "websockets==17.4", "wsproto==1.3.2"),
        options=("-o", "addopts=", "-k", "not trio"),
        judged={
            "tests.test_api.TestKeepalivePing.test_async_keepalive_ping": (
                "timing: a double looks each 0.1 s for an answer, which must be there when 0.3 s are over"
            ),
        },
    ),
    Library(
        "hypercorn",
        "0.18.0",
        needs=("httpx==0.28.1", "trio==0.35.0"),
        options=("--ignore=tests/trio", "-k", "not trio"),
        judged={
            "tests.asyncio.test_lifespan.test_startup_timeout_error": (
                "timing: a timeout of 0.01 s must be seen before a sleep of 0.02 s ends"
            ),
            "tests.protocol.test_ws_stream.test_pings": (
                "timing: hopes that a ping that is sent each 0.1 s has gone when 0.15 s are over"
            ),
        },
    ),
    Library(
        "janus",
        "2.0.0",
        needs=("pytest-benchmark",),
        options=("--benchmark-disable",),
        told={
            "blocked-loop in tests/test_sync.py::": (
                "real: the test calls the blocking side of the queue in the loop's own thread, to test that side"
            )
        },
    ),
    Library(
        "uvicorn",
        "0.54.0",
        needs=(
            *("a2wsgi==1.10.10", "cryptography==50.0.2", "httptools==0.9.0", "httpx2==2.16.2", "pytest-mock==3.17.0"),
            *("python-dotenv==1.2.4", "PyYAML==6.0.4", "trustme==1.2.1", "watchfiles==1.3.0", "websockets==17.4"),
            "wsproto==1.3.2",
        ),
        # The supervisors are processes, and none of their tests has a loop.
        options=("--ignore=tests/supervisors", "-k", "not trio", "-o", "filterwarnings=ignore"),
        judged={
            "tests.protocols.test_websocket.test_client_connection_lost": (
                "timing: hopes that the server sees a lost connection within 0.1 s"
            ),
            "tests.protocols.test_websocket.test_connection_lost_before_handshake_complete": (
                "timing: hopes that a client has connected when two sleeps of 0.1 s are over"
            ),
            "tests.protocols.test_websocket.test_send_close_on_server_shutdown": (
                "timing: hopes that a client has connected within 0.1 s"
            ),
            "tests.test_server.test_limit_max_requests_jitter": (
                "timing: hopes that all its requests are answered before the server looks at its lower limit"
            ),
            "tests.test_server.test_request_than_limit_max_requests_warn_log": (
                "timing: hopes that two requests are answered before the server looks at its limit of one"
            ),
        },
    ),
)
