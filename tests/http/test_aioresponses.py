"""aioresponses' calls on a real server; most of these are tests of its own suite (0.7.9), ported."""

from __future__ import annotations

from pathlib import Path

import pytest
from sessions import run_forked

PORTED = Path(__file__).with_name("ported_aioresponses.py").read_text()


@pytest.mark.parametrize(
    "options",
    [[], ["--interleave", "--interleave-runs=4", "--interleave-time=60"]],
    ids=["plain", "explored"],
)
def test_its_own_tests_pass(pytester: pytest.Pytester, options: list[str]) -> None:
    pytester.makepyfile(test_ported=PORTED)

    result = run_forked(pytester, "-W", "error", "--interleave-strict", *options)

    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"passed"}
    assert outcomes["passed"] >= PORTED.count("\nasync def test_")


def test_named_hosts_of_the_same_test_stay_closed_to_others(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio

        import aiohttp
        import pytest

        from pytest_interleave.aioresponses import aioresponses

        @pytest.mark.asyncio
        async def test_both(hosts, mock_session):
            hosts.routes("http://named.example.com").get("/").reply(json=1)
            async with mock_session.get("http://named.example.com/") as response:
                assert await response.json() == 1
            with aioresponses(passthrough=["http://named"]) as m:
                m.get("http://mocked.example.com/", payload=2)
                async with mock_session.get("http://mocked.example.com/") as response:
                    assert await response.json() == 2
                async with mock_session.get("http://named.example.com/") as response:
                    assert await response.json() == 1
                with pytest.raises(OSError, match="is no host of this test"):
                    await asyncio.open_connection("other.example.com", 80)
        """
    )

    result = run_forked(pytester)

    result.stdout.fnmatch_lines(["*other.example.com:80 is no host of this test*"])
    assert "mocked.example.com is no host" not in result.stdout.str()


def test_who_lacks_what_tls_needs_hears_of_it(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import sys; sys.modules['trustme'] = None")
    pytester.makepyfile(
        """
        import aiohttp
        import pytest
        from pytest_interleave.aioresponses import aioresponses

        @pytest.mark.asyncio
        async def test_tls(mock_session):
            with aioresponses() as m:
                m.get("https://api.example.com/")
                await mock_session.get("https://api.example.com/")
        """
    )

    result = run_forked(pytester)

    result.stdout.fnmatch_lines(["E *for hosts with TLS: pip install 'pytest-interleave[[]tls[]]'"])
