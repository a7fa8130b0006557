"""Which libraries, at which versions, and what was found out about the tests that fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# The same plugins everywhere but for what a suite needs: pytest-asyncio is ours to replace, so it is never among them.
COMMON = ("pytest==9.2.0",)


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
    ),
    Library("aiostream", "0.8.1"),
    Library(
        "anyio",
        "4.16.0",
        needs=("blockbuster", "hypothesis", "psutil", "pytest-mock", "pytest-timeout", "trustme", "truststore"),
        options=("-k", "not trio and not uvloop"),
    ),
    Library(
        "async-lru",
        "2.4.0",
        needs=("pytest-timeout",),
        options=("--asyncio-mode=auto",),
        judged={
            "tests.test_ttl.": "timing: hopes to ask again before 0.1 s or 0.05 s are over, and the entry with them"
        },
    ),
    Library("async-timeout", "5.0.1"),
    Library("janus", "2.0.0", needs=("pytest-benchmark",), options=("--benchmark-disable",)),
)
