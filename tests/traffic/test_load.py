"""``load``: arrivals, latency from the intended start, errors, faults, invariants, bounds."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from functools import partial
from pathlib import Path
from random import Random

import aiohttp
import pytest
from aiohttp import web
from traffic.conftest import Service, run

from pytest_interleave import LoadError, Visit, find_knee, load
from pytest_interleave.arrivals import Arrivals, Bursts, Constant, Poisson, Ramp, Replay
from pytest_interleave.traffic import chart
from pytest_interleave.traffic.result import LoadResult, Request


def test_latency_counts_from_when_a_request_was_to_start() -> None:
    # One slot, one second each, two arrivals a second: each waits half a second longer than the one before it.
    result = run(load(Service(1, 1.0).serve, arrivals=Constant(2), duration=5))

    assert [request.intended for request in result.requests] == [number / 2 for number in range(10)]
    assert [request.latency for request in result.requests] == [1 + number / 2 for number in range(10)]
    assert result.max_in_flight == 6
    assert result.throughput == 1
    assert result.elapsed == 10


def test_closed_users_do_not_see_the_queue_that_open_arrivals_make() -> None:
    closed = run(load(Service(5).serve, users=10, duration=60))
    opened = run(load(Service(5).serve, rate=120, duration=60))

    assert closed.max_in_flight == 10
    assert closed.slowest == pytest.approx(0.1)
    assert opened.p95 > 5
    assert opened.max_in_flight > 500


def test_the_same_seed_gives_the_same_numbers_and_another_one_others() -> None:
    async def once(seed: int) -> LoadResult:
        return await load(Service(is_random=True).serve, rate=95, duration=20, seed=seed)

    first, again, other = run(once(3)), run(once(3)), run(once(4))

    assert first.requests == again.requests
    assert first.latencies != other.latencies


def test_hash_seeds_change_nothing(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        """
from traffic.conftest import Service, run
from pytest_interleave import load

print(hash(run(load(Service(is_random=True).serve, rate=95, duration=10)).latencies))
"""
    )
    printed = {
        subprocess.run(
            [sys.executable, str(program)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "42")
    }

    assert len(printed) == 1


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        (Constant(2), [0, 0.5, 1, 1.5]),
        (Bursts(2, every=0.8), [0, 0, 0.8, 0.8, 1.6, 1.6]),
        (Replay([12.0, 10.0, 10.5]), [0, 0.5, 2.0]),
    ],
)
def test_arrivals_that_are_fixed(arrivals: Arrivals, expected: list[float]) -> None:
    assert list(arrivals.times(Random(1), 2.0)) == expected


def test_arrivals_that_are_random_have_their_rate() -> None:
    poisson = list(Poisson(100).times(Random(1), 100))
    ramp = list(Ramp(0, 100).times(Random(1), 100))

    assert poisson == sorted(poisson)
    assert 9_500 < len(poisson) < 10_500
    assert 4_700 < len(ramp) < 5_300
    assert 1_100 < sum(time < 50 for time in ramp) < 1_400  # a quarter of them in the first half


def test_a_replay_takes_as_long_as_its_times() -> None:
    result = run(load(Service().serve, arrivals=Replay([100, 101, 103])))

    assert (len(result.requests), result.duration) == (3, 3)


def test_errors_are_counted_by_kind_and_not_in_the_percentiles() -> None:
    async def user(visit: Visit) -> None:
        if visit.number % 4 == 0:
            raise ConnectionError("refused")
        await asyncio.sleep(1)
        assert visit.number % 4 != 1, "odd"

    result = run(load(user, arrivals=Constant(10), requests=100))

    assert result.errors == {"ConnectionError": 25, "AssertionError": 25}
    assert result.failed == 50
    assert result.error_rate == 0.5
    assert result.p50 == pytest.approx(1)
    assert "ConnectionError: 25, first at 0 s: refused (" in result.describe()
    assert "25 ConnectionError, 25 AssertionError" in repr(result)


def test_what_never_ends_is_infinitely_slow() -> None:
    async def user(visit: Visit) -> None:
        await asyncio.sleep(0.1 if visit.number < 90 else 10_000)

    result = run(load(user, arrivals=Constant(10), requests=100, drain=5))

    assert result.errors == {"unfinished": 10}
    assert result.percentile(90) == pytest.approx(0.1)
    assert result.p95 == math.inf
    assert "never" in repr(result)
    assert "unfinished: 10, still in flight 5 s after the load's end (drain=)" in result.describe()
    assert "at most never, by arrival" in result.describe()


def test_where_none_ended_well_there_is_no_latency() -> None:
    async def user() -> None:
        raise OSError

    text = run(load(user, rate=10, duration=10)).describe()

    assert "latency    no request ended well" in text
    assert "slowest" not in text


def test_a_latency_that_is_a_little_off_a_round_number_counts_as_it() -> None:
    requests = tuple(Request(number, 0.0, 0.05 + number * 1e-15, None) for number in range(10))

    text = LoadResult("it", requests, 1, 1, 0, "virtual", 0.0).describe()

    assert "to   50 ms |######################################## 10" in text
    assert "100 ms" not in text


def test_users_think_and_their_number_of_requests_can_be_bounded() -> None:
    result = run(load(Service(10, 1.0).serve, users=3, think=2, duration=30))
    bounded = run(load(Service(10, 1.0).serve, users=3, requests=7))

    assert len(result.requests) == 30
    assert len(bounded.requests) == 7
    assert bounded.elapsed == 3


def test_users_who_are_answered_at_once_let_the_others_go_on() -> None:
    async def user() -> None:
        pass

    result = run(load(user, users=2, requests=10))

    assert len(result.requests) == 10


def test_a_visit_has_randomness_of_its_own() -> None:
    drawn: dict[int, float] = {}

    async def user(visit: Visit) -> None:
        await asyncio.sleep(visit.random.random())
        drawn[visit.number] = visit.random.random()

    run(load(user, arrivals=Constant(10), requests=5, seed=1))
    first = dict(drawn)
    run(load(user, arrivals=Bursts(5, every=1), requests=5, seed=1))

    assert drawn == first


def test_things_happen_on_schedule() -> None:
    service = Service(1000, 0.1)
    seen = []

    async def slow() -> None:
        service.seconds = 3.0
        seen.append(asyncio.get_running_loop().time())
        await asyncio.sleep(5)
        service.seconds = 0.1
        seen.append(asyncio.get_running_loop().time())

    result = run(load(service.serve, arrivals=Constant(10), duration=30, at={10: slow}))

    assert seen == [10, 15]
    assert result.between(0, 10).slowest == pytest.approx(0.1)
    assert result.between(10.1, 15).p50 == pytest.approx(3)
    assert result.between(15.1, 30).slowest == pytest.approx(0.1)
    assert result.in_flight_at(14) == pytest.approx(30, abs=1)


def test_an_invariant_that_breaks_ends_the_load_with_its_own_failure() -> None:
    service = Service(1, 1.0)

    def check() -> None:
        assert service.waiting < 3

    async def program(**options: float) -> None:
        before = asyncio.all_tasks()
        try:
            await load(service.serve, arrivals=Constant(2), duration=60, check=check, **options)
        finally:
            assert asyncio.all_tasks() == before

    with pytest.raises(AssertionError, match="3 < 3") as failure:
        run(program())
    assert failure.value.__notes__[-1] == "at 3 s of the load: 3 requests ended, 3 in flight (seed 0)"

    service = Service(1, 1.0)
    with pytest.raises(AssertionError) as failure:
        run(program(check_every=0.25))
    assert failure.value.__notes__[-1].startswith("at 2.75 s of the load: ")


def test_what_an_action_raises_fails_the_load() -> None:
    def fail() -> None:
        raise OSError("no such switch")

    with pytest.raises(OSError, match="no such switch"):
        run(load(Service().serve, rate=10, duration=60, at={3.0: fail}))


def test_a_load_that_is_cancelled_leaves_nothing_behind() -> None:
    async def program() -> set[object]:
        before = asyncio.all_tasks()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await load(Service(1, 10).serve, rate=10, duration=60, gauges={"one": lambda: 1})
        return asyncio.all_tasks() - before

    assert run(program()) == set()


def test_gauges_are_read_over_time() -> None:
    service = Service(1, 1.0)
    result = run(load(service.serve, arrivals=Constant(2), duration=12, gauges={"queue": lambda: service.waiting}))

    times = [time for time, _ in result.gauges["queue"]]
    assert len(times) > 60
    assert times[1] == pytest.approx(0.2)
    assert max(value for _, value in result.gauges["queue"]) == 12
    assert "queue     |" in result.describe()


def test_the_knee_is_where_the_arithmetic_says() -> None:
    async def program() -> object:
        async def at_rate(rate: float) -> LoadResult:
            return await load(Service(5, 0.05).serve, arrivals=Constant(rate), duration=20)

        def holds(result: LoadResult) -> None:
            assert result.p95 < 0.1

        return [
            await find_knee(at_rate, holds, between=between, precision=0.02)
            for between in ((10, 400), (200, 400), (10, 50))
        ]

    knee, below, above = run(program())  # type: ignore[misc]

    assert 98 <= knee.rate <= 103
    assert knee.rate < knee.broke_at < 105
    assert (below.rate, below.broke_at) == (0, 200)
    assert (above.rate, above.broke_at) == (50, math.inf)
    assert below.describe().splitlines() == [
        " rate    p50    p95      p99   slowest   most in flight   errors",
        "200/s   10 s   19 s   19.8 s      20 s            2,005        0   gives way",
    ]
    assert repr(below) == "<Knee: gives way at 200 a second already, the lowest rate tried>"
    assert repr(above) == "<Knee: holds at 50 a second, the highest rate tried>"


def test_percentiles_are_of_what_was_measured() -> None:
    requests = tuple(Request(number, 0.0, float(number), None) for number in range(1, 101))
    result = LoadResult("it", requests, 1, 100, 0, "virtual", 0.0)

    assert (result.p50, result.p95, result.p99, result.slowest) == (50, 95, 99, 100)
    assert LoadResult("it", (), 1, 1, 0, "virtual", 0.0).p95 == math.inf
    assert "<Load of 0 requests" in repr(LoadResult("it", (), 1, 1, 0, "virtual", 0.0))
    assert LoadResult("it", (), 1, 1, 0, "virtual", 0.0).describe()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"duration": 1}, "one of rate=, arrivals= and users=, and was given none"),
        ({"duration": 1, "rate": 1, "users": 2}, "was given rate and users"),
        ({"rate": 1}, "load() needs an end"),
        ({"rate": 0, "duration": 1}, "0 is not a valid rate"),
        ({"rate": math.inf, "duration": 1}, "inf is not a valid rate"),
        ({"users": 0, "duration": 1}, "0 is not a valid number of users"),
        ({"rate": 1, "duration": -1}, "-1 is not a valid duration"),
        ({"rate": 1, "duration": math.inf}, "inf is not a valid duration"),
        ({"rate": 1, "requests": 2.5}, "2.5 is not a valid number of requests"),
        ({"arrivals": 95, "duration": 1}, "95 is not a valid arrivals: it must be one of pytest_interleave.arrivals"),
        ({"arrivals": Ramp(1, 2), "requests": 9}, "A Ramp needs to know how long it takes"),
        ({"rate": 1, "duration": 1, "think": -1}, "-1 is not a valid think"),
        ({"rate": 1, "duration": 1, "check_every": 1}, "check= , which is missing"),
        (
            {"rate": 1, "duration": 1, "at": {2: print}},
            "at={2: …} is outside the load, which runs from 0 to 1 seconds.",
        ),
        ({"rate": 1, "duration": 1, "clock": "wall"}, "'wall' is not a valid clock"),
    ],
)
def test_wrong_arguments_are_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as failure:
        run(load(Service().serve, **options))  # type: ignore[arg-type]

    assert message.replace("check= ,", "check=,") in str(failure.value)


def test_a_histogram_leaves_out_what_is_empty() -> None:
    requests = tuple(Request(number, 0.0, ended, None) for number, ended in enumerate((0.01, 0.9, 0.9)))

    assert chart.histogram(LoadResult("it", requests, 1, 1, 0, "virtual", 0.0).latencies) == [
        "  to   10 ms |####################                     1",
        "           …",
        "  to     1 s |######################################## 2",
    ]


async def wait(seconds: float, times: int) -> None:
    await asyncio.sleep(seconds * times)


@pytest.mark.parametrize(
    ("user", "error", "message"),
    [
        (wait, TypeError, "load() calls wait with nothing, or with one Visit, and it wants seconds, times: give it"),
        (5, TypeError, "load() calls an async function for each request, and 5 is none."),
        (lambda: 5, LoadError, "load() calls an async function, and <lambda> returned 5."),
    ],
)
def test_what_is_no_user_function_ends_the_load_at_once(user: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as failure:
        run(load(user, rate=1, duration=60))  # type: ignore[arg-type]

    assert message in str(failure.value)


def test_a_coroutine_in_place_of_its_function_is_told_by_name() -> None:
    with pytest.raises(TypeError, match=r"give it wait, not what wait\(\) returns"):
        run(load(wait(1, 1), rate=1, duration=60))  # type: ignore[arg-type]


def test_a_load_is_named_for_what_it_calls() -> None:
    class Buyer:
        async def __call__(self) -> None:
            await asyncio.sleep(1)

    assert run(load(Buyer(), rate=1, duration=9)).title == "load of Buyer"
    assert run(load(partial(wait, 1, 2), rate=1, duration=9)).title == "load of wait"


def test_what_measured_nothing_is_no_result() -> None:
    with pytest.raises(LoadError, match="No request arrived within 10 s, so nothing was measured"):
        run(load(Service().serve, rate=0.001, duration=10))
    result = run(load(Service().serve, arrivals=Constant(1), duration=10))
    with pytest.raises(ValueError, match=r"between\(20, 30\): no request .* The load had 10, from 0 s to 9 s\."):
        result.between(20, 30)


@pytest.mark.parametrize("value", ["full", None, math.nan])
def test_a_gauge_must_give_numbers(value: object) -> None:
    with pytest.raises(TypeError, match=r"The gauge 'queue' gave .*: it must give a number"):
        run(load(Service().serve, rate=1, duration=10, gauges={"queue": lambda: value}))  # type: ignore[dict-item, return-value]


def test_the_clock_that_was_asked_for_must_be_the_loops() -> None:
    with pytest.raises(LoadError, match=r"mark it @pytest.mark.virtual_time\.$"):
        asyncio.run(load(Service().serve, rate=1, duration=1, clock="virtual"))
    with pytest.raises(LoadError, match=r"virtual_time\(False\)"):
        run(load(Service().serve, rate=1, duration=1, clock="real"))


def test_a_load_in_real_time() -> None:
    result = asyncio.run(load(Service(5, 0.001).serve, arrivals=Constant(100), requests=20, clock="real"))

    assert result.clock == "real"
    assert len(result.requests) == 20
    assert result.p50 > 0
    assert result.elapsed >= 0.19


def test_real_time_is_bounded() -> None:
    with pytest.raises(LoadError, match=r"longer than 0.0\d* real seconds.*max_real_seconds="):
        run(load(Service().serve, rate=1000, duration=10_000, max_real_seconds=0.05))


def test_a_real_server_takes_a_minute_of_load_and_its_timeouts_count() -> None:
    async def program() -> LoadResult:
        service = Service(5, 0.05)

        async def handler(request: web.Request) -> web.Response:
            await service.serve()
            return web.Response(text="done")

        def slow() -> None:
            service.seconds = 10

        def well() -> None:
            service.seconds = 0.05

        app = web.Application()
        app.router.add_get("/", handler)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:

            async def user() -> None:
                async with session.get(url) as response:
                    assert await response.text() == "done"

            result = await load(user, arrivals=Constant(20), duration=60, at={30: slow, 32: well})
        await runner.cleanup()
        return result

    result = run(program())

    assert len(result.requests) == 1200
    assert result.between(0, 29).slowest == pytest.approx(0.05, abs=0.001)
    assert set(result.errors) == {"TimeoutError"}
    assert result.between(30, 32).failed == 40
    assert result.between(55, 60).slowest == pytest.approx(0.05, abs=0.001)


def test_a_failing_test_shows_what_it_measured(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import asyncio, pytest
from pytest_interleave import load
pytestmark = [pytest.mark.asyncio, pytest.mark.virtual_time]

async def visit():
    await asyncio.sleep(0.3)

async def test_passes():
    await load(visit, rate=10, duration=10, seed=77)

async def test_fails():
    result = await load(visit, rate=10, duration=10)
    assert result.p95 < 0.25

async def test_fails_elsewhere():
    assert False
"""
    )
    result = pytester.runpytest()
    result.assert_outcomes(passed=1, failed=2)
    text = result.stdout.str()

    assert text.count("- load of visit -") == 1
    assert "<Load of " in text
    assert "p95 300 ms" in text
    assert "in flight |" in text
    assert "seed 77" not in text

    text = pytester.runpytest("-rP").stdout.str()

    assert text.count("- load of visit -") == 2
    assert "(seed 77); " in text


def test_a_load_is_not_explored_but_its_test_is(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import asyncio, pytest
from pytest_interleave import load

@pytest.mark.asyncio
async def test_it():
    lock = asyncio.Semaphore(5)

    async def visit():
        async with lock:
            await asyncio.sleep(0.05)

    result = await load(visit, rate=50, requests=3000)
    assert result.max_in_flight < 60
    assert result.clock == "virtual"
"""
    )
    result = pytester.runpytest("--interleave", "--interleave-runs=3", "--interleave-seed=1")
    result.assert_outcomes(passed=1)
