"""In place of pytest-asyncio, and beside everybody else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sessions import run_fresh

SUITE = """
import asyncio, pytest, pytest_asyncio
import pytest_asyncio.plugin

@pytest_asyncio.fixture
async def fixture():
    await asyncio.sleep(0)
    yield 1

@pytest.mark.asyncio
async def test_a(fixture, unused_tcp_port):
    assert fixture == 1
    assert asyncio.current_task().get_name() == "pytest-interleave"

def test_plugin_is_seen(request):
    assert request.config.pluginmanager.has_plugin("asyncio")
    assert request.config.pluginmanager.get_plugin("asyncio").__name__ == "pytest_asyncio.plugin"
    assert pytest_asyncio.__version__
    assert pytest_asyncio.plugin._unused_port
"""

# A stand-in for pytest-asyncio: the same name, options, mark, hook specification; its own fixtures and items.
REAL_PLUGIN = """
import pytest

class Specs:
    @pytest.hookspec(firstresult=True)
    def pytest_asyncio_loop_factories(self, config, item): ...

def pytest_addoption(parser, pluginmanager):
    pluginmanager.add_hookspecs(Specs)
    group = parser.getgroup("asyncio")
    group.addoption("--asyncio-mode", dest="asyncio_mode", default=None)
    group.addoption("--asyncio-debug", dest="asyncio_debug", action="store_true", default=None)
    parser.addini("asyncio_mode", help="", default="strict")
    parser.addini("asyncio_debug", help="", type="bool", default="false")
    parser.addini("asyncio_default_fixture_loop_scope", help="", default=None)
    parser.addini("asyncio_default_test_loop_scope", help="", default="function")

def pytest_configure(config):
    config.addinivalue_line("markers", "asyncio: the real one")

def pytest_pyfunc_call(pyfuncitem):
    if pyfuncitem.get_closest_marker("asyncio"):
        print("run by the real one")
        return True
"""


@pytest.fixture
def real_package(pytester: pytest.Pytester) -> Path:
    """Install a package of pytest-asyncio's name and entry point in the working folder."""
    package = pytester.mkdir("site") / "pytest_asyncio"
    package.mkdir()
    (package / "__init__.py").write_text('"""PYTEST_DONT_REWRITE"""\nfrom pytest import fixture\n__version__ = "9.9"\n')
    (package / "plugin.py").write_text(REAL_PLUGIN)
    info = package.parent / "pytest_asyncio-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pytest-asyncio\nVersion: 9.9\n")
    (info / "entry_points.txt").write_text("[pytest11]\nasyncio = pytest_asyncio.plugin\n")
    (info / "RECORD").write_text("")
    return package.parent


@pytest.fixture(params=["ours first", "theirs first"])
def load_order(
    request: pytest.FixtureRequest, pytester: pytest.Pytester, real_package: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    monkeypatch.setenv("PYTHONPATH", str(real_package))
    if request.param == "theirs first":
        return []  # entry points are found in the order of sys.path
    return ["-p", "interleave"]


def test_ours_takes_over_in_either_load_order(pytester: pytest.Pytester, load_order: list[str]) -> None:
    pytester.makepyfile(SUITE)

    result = run_fresh(pytester, *load_order)

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["asyncio: mode=Mode.STRICT, debug=False, *", "asyncio: run by pytest-interleave in place of pytest-asyncio *"]
    )


def test_no_interleave_gives_the_tests_back(pytester: pytest.Pytester, load_order: list[str]) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.asyncio\nasync def test_a(): pass\n")

    result = run_fresh(pytester, "-p", "no:interleave", "-s")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*run by the real one*"])


def test_without_the_real_one_its_name_works(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    pytester.makepyfile(
        test_plugins='pytest_plugins = "pytest_asyncio"\ndef test_b(): pass\n',
        test_plugins_too='pytest_plugins = "pytest_asyncio.plugin"\ndef test_c(): pass\n',
    )

    result = run_fresh(pytester, "-Werror")
    named = run_fresh(pytester, "-p", "asyncio")
    script = pytester.run(
        sys.executable, "-c", "import pytest_asyncio, pytest_asyncio.plugin as p; print(p.Mode.AUTO.value)"
    )

    result.assert_outcomes(passed=4)
    assert "in place of" not in result.stdout.str()
    named.assert_outcomes(passed=4)
    script.stdout.fnmatch_lines(["auto"])


def test_no_asyncio_leaves_the_tests_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("async def test_a(): pass\n")

    result = run_fresh(pytester, "-p", "no:asyncio")

    result.assert_outcomes(failed=1)
    assert "asyncio: mode" not in result.stdout.str()


def test_beside_anyio_in_auto_mode_each_runs_its_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.fixture
        async def number():
            await asyncio.sleep(0)
            return 5

        async def test_ours(number):
            assert number == 5
            assert asyncio.current_task().get_name() == "pytest-interleave"

        @pytest.mark.anyio
        async def test_theirs(number):
            assert number == 5
            assert asyncio.current_task().get_name() != "pytest-interleave"
        """
    )

    result = pytester.runpytest("--asyncio-mode=auto")

    result.assert_outcomes(passed=2)


def test_beside_aiohttps_plugin(pytester: pytest.Pytester) -> None:
    pytest.importorskip("aiohttp.pytest_plugin")
    pytester.makeconftest('pytest_plugins = "aiohttp.pytest_plugin"\n')
    pytester.makepyfile(
        """
        import asyncio, pytest, pytest_asyncio

        @pytest_asyncio.fixture
        async def fixture():
            return asyncio.get_running_loop()

        @pytest.mark.asyncio
        async def test_ours(fixture):
            assert fixture is asyncio.get_running_loop()

        async def test_theirs(aiohttp_unused_port):
            await asyncio.sleep(0)
        """
    )

    result = pytester.runpytest("-Wdefault")

    result.assert_outcomes(passed=2)


def test_aiohttps_plugin_keeps_its_fixtures(pytester: pytest.Pytester) -> None:
    pytest.importorskip("aiohttp.pytest_plugin")
    pytester.makeconftest('pytest_plugins = "aiohttp.pytest_plugin"\n')
    pytester.makepyfile(
        """
        import asyncio
        from aiohttp import web

        async def hello(request):
            return web.Response(text="hello")

        async def test_theirs(aiohttp_client, loop):
            app = web.Application()
            app.router.add_get("/", hello)
            client = await aiohttp_client(app)
            assert asyncio.get_running_loop() is loop
            async with client.get("/") as response:
                assert await response.text() == "hello"
        """
    )

    result = pytester.runpytest("-Wdefault")

    result.assert_outcomes(passed=1)


def test_under_xdist_and_timeout(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, pytest

        pytestmark = pytest.mark.asyncio(loop_scope="session")

        @pytest.mark.parametrize("number", range(4))
        async def test_a(number):
            await asyncio.sleep(0)

        @pytest.mark.timeout(0.2)
        async def test_hangs():
            await asyncio.sleep(30)
        """
    )

    result = run_fresh(pytester, "-n2")

    result.assert_outcomes(passed=4, failed=1)


def test_hypothesis_examples_share_the_loop_of_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, pytest
        from hypothesis import given, strategies as st

        loops = set()

        class TestClass:
            @given(st.integers())
            @pytest.mark.asyncio
            async def test_method(self, number):
                await asyncio.sleep(0)
                loops.add(asyncio.get_running_loop())
                assert len(loops) == 1

            @staticmethod
            @pytest.mark.asyncio
            async def test_static():
                await asyncio.sleep(0)

            @classmethod
            @pytest.mark.asyncio
            async def test_class(cls):
                assert cls is TestClass
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(passed=3)


def test_the_package_is_imported_without_pytest(pytester: pytest.Pytester) -> None:
    result = pytester.run(
        sys.executable,
        "-c",
        "import sys, pytest_interleave.loop.host; print('pytest' in sys.modules, 'asyncio' in sys.modules)",
    )

    result.stdout.fnmatch_lines(["False True"])


def test_suite_without_async_tests_does_not_import_asyncio(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # other plugins import it
    pytester.makepyfile("import sys\ndef test_it(): assert 'asyncio' not in sys.modules")
    result = run_fresh(pytester, "-p", "pytest_interleave.plugin")

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("order", [["pytest_interleave.plugin"], ["interleave", "pytest_interleave.plugin"]])
def test_plugin_may_be_loaded_by_its_module_too(pytester: pytest.Pytester, order: list[str]) -> None:
    pytester.makepyfile(SUITE)
    result = run_fresh(pytester, *(f"-p{name}" for name in order))

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("autoload", [True, False])
def test_plugin_may_be_loaded_by_the_module_of_pytest_asyncio(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, autoload: bool
) -> None:
    if not autoload:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(SUITE)
    result = run_fresh(pytester, "-p", "pytest_asyncio.plugin")

    result.assert_outcomes(passed=2)


def test_plugin_that_is_turned_off_stays_so(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("pytest_plugins = 'pytest_asyncio.plugin'")
    pytester.makepyfile(
        "import pytest\ndef test_it(request): assert not request.config.pluginmanager.has_plugin('asyncio')"
    )
    result = run_fresh(pytester, "-p", "no:interleave")

    result.assert_outcomes(passed=1)


def test_a_session_in_one_without_the_plugin_that_knows_no_mark_is_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        pytest_plugins = "pytester"

        def test_inner(pytester):
            pytester.makepyfile("import pytest\\n@pytest.mark.asyncio\\nasync def test_a(): pass\\n")
            pytester.runpytest_inprocess().assert_outcomes(passed=1)
        """
    )
    result = run_fresh(pytester, "-p", "no:interleave", "-Werror")

    result.assert_outcomes(passed=1)
