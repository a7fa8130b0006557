"""Hundreds of runs leave nothing in the session: no output, no log, no warning, no garbage."""

from __future__ import annotations

import pytest

_LOUD = """
log = logging.getLogger("loud")

async def test_loud():
    print("PRINTED")
    os.write(1, b"WRITTEN\\n")
    print("TO STDERR", file=sys.stderr)
    log.warning("LOGGED")
    logging.getLogger("own").warning("TO OWN HANDLER")
    warnings.warn("WARNED")
    await work()
    if os.environ.get("FAIL"):
        assert False

own = logging.StreamHandler(sys.stderr)
logging.getLogger("own").addHandler(own)
"""


@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_a_loud_test_is_heard_once(explore, capture: str, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    monkeypatch.setenv("FAIL", "1")

    result = explore(
        _LOUD, f"--capture={capture}", "-o", "log_cli=true", "--log-file=log.txt", "--log-file-level=INFO", fresh=True
    )

    result.assert_outcomes(failed=1)
    text = result.stdout.str() + result.stderr.str()
    for word in ("PRINTED", "WRITTEN", "TO STDERR"):
        if capture == "sys" and word == "WRITTEN":
            continue  # pytest does not catch it either
        lines = [line for line in text.splitlines() if word in line and '"' not in line]
        assert len(lines) == 1, (word, lines)
    with open("log.txt") as file:
        assert file.read().count("LOGGED") == 1


def test_a_loud_test_that_passes_is_not_heard(explore) -> None:
    result = explore(_LOUD, fresh=True)

    result.assert_outcomes(passed=1, warnings=1)
    assert "PRINTED" not in result.stdout.str()
    assert "LOGGED" not in result.stdout.str() + result.stderr.str()
    assert "WRITTEN" not in result.stdout.str() + result.stderr.str()


def test_fixtures_that_listen_hear_each_run_alone(explore) -> None:
    result = explore(
        """
        log = logging.getLogger("listened")

        async def test_caplog(caplog):
            with caplog.at_level("INFO"):
                log.info("one")
                await work()
            assert caplog.messages == ["one"]
            assert caplog.get_records("setup") == []

        async def test_capsys(capsys):
            print("one")
            await work()
            assert capsys.readouterr().out == "one\\n"

        async def test_capfd(capfd):
            os.write(1, b"one\\n")
            print("two")
            await work()
            assert capfd.readouterr().out == "one\\ntwo\\n"

        async def test_recwarn(recwarn):
            warnings.warn("one")
            await work()
            assert len(recwarn) == 1

        async def test_warns():
            with pytest.warns(UserWarning, match="one"):
                warnings.warn("one")
                await work()

        async def test_filters_do_not_pile_up():
            before = len(warnings.filters)
            assert before < 60
            warnings.filterwarnings("ignore", message="x" * before)
            await work()
        """,
    )

    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["6 explored in 1200 runs*"])


@pytest.mark.skipif(not hasattr(pytest, "Subtests"), reason="pytest < 9")
def test_subtests_are_reported_once_and_fail_a_run(explore) -> None:
    result = explore(
        """
        async def test_good(subtests):
            for i in range(2):
                with subtests.test(i=i):
                    await work()

        async def test_bad(subtests):
            state = {"n": 0}
            await lose_update(state)
            with subtests.test("sum"):
                assert state["n"] == 2
        """,
        "-v",
    )

    text = result.stdout.str()
    assert text.count("SUBPASSED") == 2
    assert text.count("SUBFAILED") == 2  # as it happens, and in the summary
    result.stdout.fnmatch_lines(["*latency: *"])


def test_nothing_leaks_into_the_next_test(explore) -> None:
    result = explore(
        """
        import gc, socket, threading

        class Loud:
            def __del__(self):
                raise RuntimeError("unraisable")

        async def test_leaves_much():
            loud = Loud()
            loud.cycle = loud
            socket.socket().cycle = loud
            asyncio.create_task(asyncio.Event().wait())
            state = {"n": 0}
            await lose_update(state)
            assert len(gc.get_objects()) and state["n"] == 2

        def test_innocent():
            del gc.garbage[:]
            assert threading.active_count() == 1
        """,
        "--interleave-order-only=off",
        ini="filterwarnings = error",
        fresh=True,  # in this process, what it leaves would be collected in the tests after it
    )

    # Only what the run that was reported left: that is the test's own.
    text = result.stdout.str()
    assert text.count("PytestUnraisableExceptionWarning: ") <= 3
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
