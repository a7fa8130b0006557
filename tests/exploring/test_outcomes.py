"""What a test does besides passing: fail, skip, hang, refuse to end, end the session."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sessions import run_forked, run_fresh

from pytest_interleave.exploration.execution import Limits


def test_skips_and_xfails_are_as_without_exploration(explore) -> None:
    result = explore(
        """
        async def test_skips():
            await work()
            pytest.skip("inside")

        @pytest.fixture
        async def skips():
            pytest.skip("in a fixture")

        async def test_fixture(skips):
            pass

        @pytest.mark.skipif(True, reason="condition")
        async def test_skipif():
            raise AssertionError

        async def test_importorskip():
            pytest.importorskip("there_is_no_such_module")

        @pytest.mark.xfail
        async def test_xfail():
            await work()
            assert False

        async def test_xfail_inside():
            await work()
            pytest.xfail("inside")

        async def test_xfail_marked_late(request):
            request.applymarker(pytest.mark.xfail)
            await work()
            assert False

        @pytest.fixture(params=[pytest.skip, pytest.xfail])
        async def ends_at_the_end(request):
            yield
            await work()
            request.param("in a tear-down")

        async def test_tear_down(ends_at_the_end):
            await work()

        async def test_skips_under_one_schedule_only():
            state = {"n": 0}
            await lose_update(state)
            if state["n"] != 2:
                pytest.skip("under some schedule")
        """
    )

    result.assert_outcomes(skipped=5, xfailed=4, passed=3)
    result.stdout.fnmatch_lines(["*::test_skips: not explored: inside", "1 explored *; 7 not explored"])


def test_a_tear_down_that_fails_before_the_first_run_is_reported(explore) -> None:
    result = explore(
        """
        @pytest.fixture
        async def fails_at_the_end():
            yield
            raise ValueError("at the end")

        @pytest.mark.asyncio(loop_scope="module")
        async def test_fails(fails_at_the_end):
            await work()

        @pytest.mark.asyncio(loop_scope="module")
        async def test_next():
            await work()
        """
    )

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR at teardown of test_fails*", "Not explored: its tear-down fails with ValueError."]
    )


def test_a_wrong_mark_on_the_last_test_of_a_fixture_that_fails_at_the_end(explore) -> None:
    result = explore(
        """
        @pytest.fixture(scope="module")
        async def fails_at_the_end():
            yield
            raise ValueError("at the end")

        async def test_it(fails_at_the_end):
            await work()

        @pytest.mark.interleave(runs="none")
        async def test_wrong(fails_at_the_end):
            await work()
        """
    )

    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["*ERROR at setup of test_wrong*", "*ERROR at teardown of test_wrong*"])


@pytest.mark.parametrize("is_explored", [True, False])
def test_a_group_of_skips_is_what_pytest_takes_it_for(explore, *, is_explored: bool) -> None:
    result = explore(
        """
        async def skip():
            await work()
            pytest.skip("in a task")

        async def test_skips():
            async with asyncio.TaskGroup() as group:
                group.create_task(skip())
        """,
        flag=is_explored,
    )

    assert result.parseoutcomes() == {"skipped" if pytest.version_tuple >= (9,) else "failed": 1}


def test_failures_of_every_phase_are_reported_where_they_happen(explore, tmp_path: Path) -> None:
    result = explore(
        """
        @pytest.fixture
        async def bad_set_up():
            await work()
            raise LookupError("set-up")

        @pytest.fixture
        async def bad_tear_down():
            yield
            await work()
            raise LookupError("tear-down")

        @pytest.fixture
        async def sometimes_bad_tear_down():
            state = {"n": 0}
            yield
            await lose_update(state)
            assert state["n"] == 2

        @pytest.fixture
        async def sometimes_bad_set_up():
            state = {"n": 0}
            await lose_update(state)
            assert state["n"] == 2

        async def test_set_up(bad_set_up):
            raise AssertionError

        async def test_tear_down(bad_tear_down):
            await work()

        async def test_sometimes_tear_down(sometimes_bad_tear_down):
            pass

        async def test_sometimes_set_up(sometimes_bad_set_up):
            pass

        async def test_fails():
            await work()
            pytest.fail("own words")

        async def test_own_exception():
            class Own(Exception):
                pass
            await work()
            raise Own("mine")
        """,
        f"--interleave-json={tmp_path / 'out.json'}",
        f"--junitxml={tmp_path / 'out.xml'}",
    )

    result.assert_outcomes(errors=4, failed=2, passed=2)
    result.stdout.fnmatch_lines(
        ["*ERROR at setup of test_set_up*", "E * LookupError: set-up", "*ERROR at teardown of test_tear_down*"]
    )
    tests = {
        test["nodeid"].partition("::")[2]: test for test in json.loads((tmp_path / "out.json").read_text())["tests"]
    }
    assert {name: (test["outcome"], test["verdict"], test["label"]) for name, test in tests.items()} == {
        "test_set_up": ("failed", "failed", "stock"),
        "test_tear_down": ("failed", "failed", "stock"),
        "test_sometimes_tear_down": ("failed", "failed", "latency"),
        "test_sometimes_set_up": ("failed", "failed", "latency"),
        "test_fails": ("failed", "failed", "stock"),
        "test_own_exception": ("failed", "failed", "stock"),
    }
    assert all(test["found_in_run"] == 1 for test in tests.values() if test["label"] == "stock")
    xml = (tmp_path / "out.xml").read_text()
    assert 'errors="4"' in xml
    assert 'failures="2"' in xml
    assert xml.count('<property name="interleave" value="fails ') == 6


def test_nothing_can_hang_us(explore, monkeypatch: pytest.MonkeyPatch) -> None:
    _, *others = Limits.__init__.__defaults__
    monkeypatch.setattr(Limits.__init__, "__defaults__", (3_000, *others))  # the same limits, sooner

    result = explore(
        """
        async def swallow():
            while True:
                try:
                    await asyncio.sleep(1)
                except asyncio.CancelledError:
                    pass

        async def test_left_behind():
            asyncio.create_task(swallow())
            await work()

        async def test_swallows():
            await swallow()

        async def test_livelock():
            while True:
                await asyncio.sleep(0)

        async def test_deadlock():
            one, two = asyncio.Lock(), asyncio.Lock()
            async def take(first, second):
                async with first:
                    await asyncio.sleep(0)
                    async with second:
                        pass
            await asyncio.gather(take(one, two), take(two, one))

        @pytest.fixture
        async def hangs():
            await asyncio.Event().wait()

        @pytest.fixture
        async def hangs_at_the_end():
            yield
            await asyncio.Event().wait()

        @pytest.fixture(scope="module")
        async def spins():
            while True:
                await asyncio.sleep(0)

        async def test_fixture(hangs):
            pass

        async def test_fixture_at_the_end(hangs_at_the_end):
            pass

        async def test_wider_fixture(spins):
            pass

        async def test_next():
            await work()
        """,
        "--interleave-runs=20",
    )

    result.assert_outcomes(passed=3, failed=3, errors=3)
    result.stdout.fnmatch_lines(
        [
            "Blocked: Deadlock at virtual time 0 s*",
            "    at test_it.py:*: await asyncio.Event().wait()",
            "Blocked: Deadlock at virtual time 0 s*",
            "    at test_it.py:*: async with second:  (2 tasks)",
            "*Deadlock*",
        ]
    )
    result.stdout.no_fnmatch_line("*/loop/_*.py*")


@pytest.mark.parametrize(
    ("statement", "line"),
    [("raise KeyboardInterrupt", "*KeyboardInterrupt*"), ("pytest.exit('enough')", "*Exit: enough*")],
)
def test_the_session_can_be_ended_in_a_silent_run(explore, statement: str, line: str) -> None:
    result = explore(
        f"""
        runs = 0

        @pytest.fixture
        async def closes():
            yield
            print("CLOSED")

        async def test_ends(closes):
            global runs
            runs += 1
            await work()
            if runs == 5:
                {statement}

        async def test_never():
            raise AssertionError
        """,
        fresh=True,
    )

    result.stdout.fnmatch_lines([line])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    result.assert_outcomes()


def test_a_failure_that_pytest_does_not_see_again_is_a_failure_all_the_same(explore) -> None:
    result = explore(
        """
        runs = 0

        async def test_fails_in_silence(capsys):
            global runs
            runs += 1
            state = {"n": 0}
            await lose_update(state)
            if os.isatty(1) or runs < 60:
                assert state["n"] == 2
        """,
        "-p",
        "no:randomly",
    )

    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    result.assert_outcomes(failed=1)


def test_tests_with_a_loop_of_their_own_are_run_plainly(explore) -> None:
    result = explore(
        """
        class OwnLoop(asyncio.SelectorEventLoop):
            pass

        async def test_policy():
            assert type(asyncio.get_running_loop()) is OwnLoop
            await work()

        class OwnPolicy(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self):
                return OwnLoop()

        @pytest.fixture
        def event_loop_policy():
            return OwnPolicy()
        """,
        "-W",
        "ignore::DeprecationWarning",
    )

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*::test_policy: not explored: its own event_loop_policy makes the loop"])


def test_a_loop_factory(explore, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import asyncio

        class OwnLoop(asyncio.SelectorEventLoop):
            pass

        def pytest_asyncio_loop_factories(config, item):
            return {"asyncio": asyncio.new_event_loop, "own": OwnLoop}
        """
    )

    result = explore("async def test_factory(): await work()")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "*test_factory?asyncio?: 200 runs*",
            "*test_factory?own?: not explored: its loop factory OwnLoop makes the loop",
        ]
    )


@pytest.mark.parametrize("options", [(), ("-n", "1", "-p", "xdist")])
def test_what_others_run_is_counted(explore, pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    pytester.makeconftest(
        """
        import asyncio, inspect, pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_pyfunc_call(pyfuncitem):
            if inspect.iscoroutinefunction(pyfuncitem.obj) and not pyfuncitem.get_closest_marker("asyncio"):
                asyncio.run(pyfuncitem.obj())
                return True
        """
    )

    result = explore(
        """
        import unittest

        async def test_of_a_plugin():
            await asyncio.sleep(0)

        class TestCase(unittest.IsolatedAsyncioTestCase):
            async def test_of_unittest(self):
                await asyncio.sleep(0)

        def test_sync():
            pass
        """,
        "-o",
        "asyncio_mode=strict",
        *options,
    )

    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["=* interleave =*", "2 run by another plugin or unittest, and not explored"])
    result.stdout.no_fnmatch_line("*had nothing to explore*")


def test_a_fixture_event_loop(explore) -> None:
    result = explore(
        """
        @pytest.fixture
        def event_loop():
            loop = asyncio.SelectorEventLoop()
            yield loop
            loop.close()

        async def test_legacy(event_loop):
            assert asyncio.get_running_loop() is event_loop
            await work()
        """
    )

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_legacy: not explored: its own fixture event_loop makes the loop"])


def test_the_summary_of_a_large_suite_keeps_the_lines_that_matter(pytester: pytest.Pytester) -> None:
    quiet = "".join(
        f"async def test_{number}():\n    await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))\n"
        for number in range(21)
    )
    race = (
        "class Bank:\n    def __init__(self): self.money = 1\n"
        "    async def pay(self):\n        seen = self.money\n"
        "        await asyncio.sleep(0.01)\n        self.money = seen - 1\n"
        "    async def pay_late(self):\n        await asyncio.sleep(0.02)\n        await self.pay()\n"
        "async def test_race():\n    bank = Bank()\n    await asyncio.gather(bank.pay(), bank.pay_late())\n"
        "    assert bank.money == -1\n"
    )
    pytester.makepyfile(test_it=f"import asyncio, pytest\npytestmark = pytest.mark.asyncio\n{quiet}{race}")
    result = run_forked(pytester, "--interleave", "--interleave-runs=50", "--interleave-seed=1")

    result.assert_outcomes(passed=21, failed=1)
    result.stdout.fnmatch_lines(
        ["test_it.py::test_race: *", "21 more tests passed in all that was tried; -v lists them"]
    )
    result.stdout.no_fnmatch_line("test_it.py::test_0: *")


def test_the_table_ends_where_the_assertion_stands_not_in_what_shows_its_values(explore) -> None:
    result = explore(
        """
        class Counter:
            value = 0

            def __repr__(self):
                text = "Counter"
                return text

        async def test_counter():
            counter = Counter()
            async def remote():
                await asyncio.sleep(0.01)
            async def add():
                value = counter.value
                await remote()
                counter.value = value + 1
            async def late():
                await asyncio.sleep(0.02)
                await add()
            await asyncio.gather(add(), late())
            assert counter.value == 2 and counter
        """,
    )

    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line('*text = "Counter"*')
    result.stdout.fnmatch_lines(["*assert counter.value == 2 and counter", "*→ raises AssertionError"])


@pytest.mark.parametrize("runs", [1, 2, 3, 7, 20])
def test_no_test_is_run_more_often_than_it_may_be(explore, pytester: pytest.Pytester, runs: int) -> None:
    explore(
        """
        async def test_with_few_orders():
            await work()

        async def test_with_many():
            await asyncio.gather(*(work() for _ in range(8)))
        """,
        f"--interleave-runs={runs}",
        "--interleave-json=out.json",
    )

    tests = json.loads((pytester.path / "out.json").read_text())["tests"]

    assert [test["outcome"] for test in tests] == ["passed", "passed"]
    assert all(test["runs"] <= runs for test in tests)
    assert tests[1]["runs"] == runs


def test_a_thread_that_a_failing_test_leaves_behind_does_not_keep_the_session(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, queue, threading
        import pytest

        @pytest.mark.asyncio
        async def test_it():
            orders = queue.Queue()
            threading.Thread(target=orders.get).start()
            await asyncio.sleep(0.01)
            assert 1 == 2
        """
    )
    result = run_fresh(pytester, "--interleave", timeout=60)
    result.assert_outcomes(failed=1)


def test_a_livelock_that_begins_late_is_shown_where_it_begins(explore, monkeypatch):
    # On a busy machine 200,000 steps, looked at closely, take longer than a run may.
    monkeypatch.setattr(Limits.__init__, "__defaults__", (10_000, 3600.0, 60.0))
    result = explore(
        """
        async def test_ready():
            state = {"ready": False, "asked": False}
            async def service():
                await asyncio.sleep(0.01)
            async def get_ready():
                await service()
                state["ready"] = not state["asked"]
            async def ask():
                await asyncio.sleep(0.03)
                state["asked"] = True
                while not state["ready"]:
                    await asyncio.sleep(0)
            await asyncio.gather(get_ready(), ask())
        """
    )

    text = result.stdout.str()
    result.assert_outcomes(failed=1)
    assert "Livelock" in text
    assert "Goes round for ever if the sleep of 0.01 s" in text
    assert "◂ late" in text
    assert "no table" not in text


def test_a_session_that_is_killed_leaves_a_file_that_can_be_read(explore, tmp_path):
    explore(
        """
        async def test_dies():
            os._exit(3)
        """,
        f"--interleave-json={tmp_path / 'out.json'}",
        fresh=True,
    )

    assert json.loads((tmp_path / "out.json").read_text()) == {"tests": []}


def test_a_test_that_exits_fails_and_the_session_goes_on(explore) -> None:
    result = explore(
        """
        import sys

        async def test_exits():
            await work()
            sys.exit(3)

        async def test_exits_in_a_task():
            async def job():
                await work()
                sys.exit(4)

            await asyncio.gather(job(), work())

        @pytest.fixture
        async def exits():
            await work()
            sys.exit(5)

        async def test_exits_in_a_fixture(exits):
            pass

        async def test_after():
            await work()
        """
    )

    result.assert_outcomes(passed=1, failed=2, errors=1)
    result.stdout.fnmatch_lines(["FAILED *test_exits - SystemExit: 3", "FAILED *test_exits_in_a_task - SystemExit: 4"])
    assert "INTERNALERROR" not in result.stdout.str()


def test_compiled_coroutines_have_no_lines_and_keep_no_report_from_being_made(explore) -> None:
    """Those of grpc.aio are Cython's: a run that was watched closely broke on them, and hung for its whole time."""
    result = explore(
        """
        import grpc.aio

        async def echo(request, context):
            return request

        class Echo(grpc.GenericRpcHandler):
            def service(self, details):
                return grpc.unary_unary_rpc_method_handler(echo)

        async def test_it():
            server = grpc.aio.server()
            server.add_generic_rpc_handlers((Echo(),))
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            try:
                async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                    assert await channel.unary_unary("/echo/echo")(b"question") == b"answer"
            finally:
                await server.stop(None)
        """,
        fresh=True,
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert await channel*", "Fails in asyncio's own order, with nothing changed."])
    result.stdout.no_fnmatch_line("*did not fail in the same way*")


def test_clocks_that_freezegun_stops_are_none_of_ours(explore) -> None:
    """It puts its own into all modules that hold one of Python's."""
    result = explore(
        """
        import freezegun

        @freezegun.freeze_time("2001-01-01")
        async def test_passes():
            await asyncio.gather(asyncio.sleep(0.1), asyncio.sleep(0.2))

        @freezegun.freeze_time("2001-01-01")
        async def test_hangs():
            await asyncio.Event().wait()
        """,
        "--interleave-runs=20",
        fresh=True,
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["Blocked: Deadlock at *", "    at test_it.py:*: await asyncio.Event().wait()"])
