"""Every run begins anew: fixtures, context, instances, folders; what is of wider scope lives on."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest


def test_what_is_of_function_scope_is_new_in_each_run(explore, pytester: pytest.Pytester) -> None:
    result = explore(
        """
        VAR = contextvars.ContextVar("VAR", default="unset")
        seen = {"runs": 0, "folders": set()}

        @pytest.fixture
        def box():
            box = []
            yield box
            assert box == [1]

        @pytest.fixture
        async def async_box():
            await asyncio.sleep(0.1)
            yield []
            await asyncio.sleep(0.1)

        @pytest.fixture
        async def variable():
            assert VAR.get() == "unset"
            VAR.set("fixture")
            yield
            assert VAR.get() == "test"

        @pytest.fixture
        def environment(monkeypatch):
            assert "EXPLORED" not in os.environ
            monkeypatch.setenv("EXPLORED", "1")

        async def test_all(box, async_box, variable, environment, tmp_path, tmp_path_factory, record_property, request):
            assert box == async_box == []
            box.append(1), async_box.append(1)
            assert VAR.get() == "fixture"
            VAR.set("test")
            assert not list(tmp_path.iterdir())
            (tmp_path / "file").touch()
            (tmp_path_factory.mktemp("more") / "file").touch()
            assert len(request.node.user_properties) == 0
            record_property("key", "value")
            seen["runs"] += 1
            await work()
            assert asyncio.current_task().cancelling() == 0
            asyncio.create_task(asyncio.sleep(1000))

        def test_there_were_many_runs():
            assert seen["runs"] > 50

        class TestInstances:
            async def test_new_instance(self):
                assert not hasattr(self, "seen")
                self.seen = True
                await work()

            @pytest.mark.parametrize("value", [[], [1]])
            async def test_parametrized(self, value, tmp_path):
                await work()

        class TestXunit:
            def setup_method(self, method):
                self.calls = 0

            async def test_method(self):
                self.calls += 1
                await work()
                assert self.calls == 1
        """,
        f"--basetemp={pytester.path / 'temp'}",
        "-v",
    )

    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(
        ["test_it.py::TestXunit::test_method: 200 runs,*", "5 explored in 1000 runs*(5 sampled)"]
    )
    left = [path.name for path in (pytester.path / "temp").iterdir() if not path.is_symlink()]
    assert len(left) < 10


def test_wider_fixtures_live_on_in_a_controlled_loop(explore) -> None:
    result = explore(
        """
        @pytest.fixture(scope="module")
        async def server():
            task = asyncio.create_task(asyncio.sleep(1e6))
            yield {"uses": 0, "task": task}
            assert not task.done()
            task.cancel()

        @pytest.fixture
        async def client(server):
            await asyncio.sleep(1)
            yield server
            await asyncio.sleep(1)

        @pytest.mark.asyncio(loop_scope="module")
        async def test_module(client):
            assert not client["task"].done()
            client["uses"] += 1
            await work()

        @pytest.mark.asyncio(loop_scope="module")
        async def test_same_fixture(server):
            assert server["uses"] > 50
            await work()

        @pytest.mark.asyncio(loop_scope="class")
        class TestClass:
            async def test_1(self):
                await work()

            async def test_2(self):
                await work()

        @pytest.mark.asyncio(loop_scope="session")
        async def test_session():
            await work()

        @pytest.mark.asyncio(loop_scope="module")
        async def test_loses_update():
            state = {"n": 0}
            await lose_update(state)
            assert state["n"] == 2
        """,
    )

    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*latency: *", "6 explored in *"])


def test_a_failure_that_may_come_from_earlier_runs_names_the_fixtures(explore) -> None:
    result = explore(
        """
        @pytest.fixture(scope="module")
        def store():
            return {"runs": 0}

        async def test_counts(store):
            store["runs"] += 1
            await work()
            assert store["runs"] < 10
        """
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*live on from run to run: store (module).*"])


def test_fixtures_that_start_servers_and_tasks(explore) -> None:
    result = explore(
        """
        @pytest.fixture
        async def port():
            async def answer(reader, writer):
                writer.write(await reader.readline())
                await writer.drain()
                writer.close()
            server = await asyncio.start_server(answer, "127.0.0.1", 0)
            beat = asyncio.create_task(asyncio.sleep(3600))
            yield server.sockets[0].getsockname()[1]
            beat.cancel()
            server.close()
            await server.wait_closed()

        async def test_echo(port):
            async def ask(text):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(text)
                answer = await reader.read()
                writer.close()
                await writer.wait_closed()
                return answer
            assert await asyncio.gather(ask(b"a\\n"), ask(b"b\\n")) == [b"a\\n", b"b\\n"]
        """,
        "--interleave-runs=60",
        ini="filterwarnings = error",
    )

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*60 runs*sampled*"])


def test_anyio_tests_with_the_backend_in_any_scope(explore) -> None:
    result = explore(
        """
        import anyio

        pytestmark = pytest.mark.anyio

        @pytest.fixture(scope="module")
        def anyio_backend():
            return "asyncio"

        @pytest.fixture(scope="module")
        async def wide():
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                yield {"uses": 0}
                group.cancel_scope.cancel()

        @pytest.fixture
        async def narrow():
            await anyio.sleep(1)
            yield []
            await anyio.sleep(1)

        async def test_before(narrow):
            assert narrow == []
            narrow.append(1)
            await work()

        async def test_wide(wide, narrow):
            wide["uses"] += 1
            await work()

        async def test_after(narrow):
            await work()

        async def test_loses_update(wide):
            assert wide["uses"] > 50
            state = {"n": 0}
            await lose_update(state)
            assert state["n"] == 2

        async def test_runs_a_loop_in_a_thread():
            await anyio.to_thread.run_sync(lambda: asyncio.run(asyncio.sleep(0)))
        """,
        ini="filterwarnings = error",
    )

    # In auto mode they would be ours.
    result.assert_outcomes(passed=4, failed=1)


def test_anyio_tests_in_strict_mode(explore) -> None:
    result = explore(
        """
        import anyio

        @pytest.mark.anyio
        async def test_loses_update(anyio_backend):
            state = {"n": 0}
            await lose_update(state)
            assert state["n"] == 2

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": False})])
        async def test_options(anyio_backend):
            await work()
        """,
        "-o",
        "asyncio_mode=strict",
        "-k",
        "asyncio or options",
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*latency: *", "2 explored in *"])


def test_hypothesis_tests_see_the_same_examples_in_each_run(explore, pytester: pytest.Pytester) -> None:
    result = explore(
        """
        from hypothesis import given, settings, strategies as st

        examples = []

        @given(st.integers())
        @settings(max_examples=30)
        async def test_same(number):
            examples.append(number)
            await work()

        def test_few_and_the_same():
            silent = examples[: 5 * 50]
            assert [silent[i : i + 5] for i in range(0, 250, 5)] == [silent[:5]] * 50

        @given(st.integers())
        async def test_loses_update(number):
            state = {"n": number}
            await lose_update(state)
            assert state["n"] == number + 2

        @given(st.integers())
        async def test_fails_for_large(number):
            await work()
            assert number < 100
        """,
    )

    result.assert_outcomes(passed=2, failed=2)
    # Found in asyncio's own order: then Hypothesis shrinks as ever.
    result.stdout.fnmatch_lines(["*latency: *", "*number=100,*", "*stock: *"])
    assert not (Path(pytester.path) / "nothing").exists()


def test_an_exception_handler_of_a_wider_fixture_lives_on_and_that_of_a_test_does_not(explore) -> None:
    result = explore(
        """
        heard = []

        @pytest.fixture(scope="module")
        async def handler():
            def handler(loop, context):
                heard.append(context["message"])
            asyncio.get_running_loop().set_exception_handler(handler)
            return handler

        @pytest.mark.asyncio(loop_scope="module")
        async def test_it(handler):
            loop = asyncio.get_running_loop()
            assert loop.get_exception_handler() is handler
            loop.call_exception_handler({"message": "told"})
            assert heard.pop() == "told" and not heard
            await work()
            loop.set_exception_handler(lambda loop, context: None)
            asyncio.create_task(asyncio.sleep(1000))  # is cancelled in silence, which takes another handler

        @pytest.mark.asyncio(loop_scope="module")
        async def test_later(handler):
            assert asyncio.get_running_loop().get_exception_handler() is handler
            await work()
        """
    )

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_it: * distinct orders*", "*test_later: * distinct orders*"])


def test_where_a_wider_fixture_hears_exceptions_none_is_lost(explore) -> None:
    result = explore(
        """
        @pytest.fixture(scope="module", autouse=True)
        async def handler():
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)

        @pytest.mark.asyncio(loop_scope="module")
        async def test_it():
            async def fail():
                raise ValueError
            await work()
            asyncio.create_task(fail())
            await asyncio.sleep(1)
        """
    )

    result.assert_outcomes(passed=1)


def test_a_library_that_watches_a_descriptor_once_a_loop_gets_another_loop(explore) -> None:
    """As gRPC does: its thread writes to one end of a pair, and each loop that it has seen looks at the other."""
    result = explore(
        """
        import socket, threading

        KNOWN = []
        OURS, THEIRS = socket.socketpair()
        OURS.setblocking(False)
        waiting = []

        def came():
            OURS.recv(1)
            waiting.pop().set_result(None)

        async def ask():
            loop = asyncio.get_running_loop()
            if loop not in KNOWN:
                for known in KNOWN[-1:]:  # a late event of the run before
                    known.call_soon_threadsafe(print)
                KNOWN.append(loop)
                loop.add_reader(OURS, came)
            waiting.append(loop.create_future())
            threading.Thread(target=THEIRS.send, args=(b".",)).start()
            await waiting[-1]

        async def test_answers():
            async with asyncio.timeout(60):
                await ask()
                await ask()
        """,
        "--interleave-runs=10",
    )
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*inconclusive*")


def test_runs_that_differ_by_what_a_wider_fixture_keeps_name_it(explore) -> None:
    result = explore(
        """
        @pytest.fixture(scope="module")
        def cache():
            return {}

        async def test_cached(cache):
            if "a" not in cache:
                await asyncio.sleep(0.01)
                cache["a"] = 1
            await work()
        """
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*test_cached: *inconclusive, since*differ, perhaps by what earlier runs left*: cache (module)"]
    )


ECHO = """
import pytest_asyncio

async def answer(reader, writer):
    writer.write(await reader.read(1))
    writer.close()

async def ask(address):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"?")
    assert await reader.read() == b"?"
    writer.close()
"""


@pytest.mark.parametrize("scope", ["function", "module"])
def test_a_run_that_ends_before_it_closes_its_server_leaves_the_port_to_the_next(
    explore, scope: str, unused_tcp_port: int
) -> None:
    """As where a timeout does its job: the test does not come to its last line."""
    result = explore(
        f"PORT = {unused_tcp_port}\n{ECHO}"
        + dedent("""
        @pytest.mark.asyncio(loop_scope="SCOPE")
        async def test_reply():
            server = await asyncio.start_server(answer, "127.0.0.1", PORT)
            async with asyncio.timeout(0.5):
                await ask(("127.0.0.1", PORT))
            server.close()
        """).replace("SCOPE", scope),
        "--interleave-runs=50",
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_reply: 50 runs*"])


def test_a_failure_is_found_behind_a_server_whose_port_never_changes(explore, unused_tcp_port: int) -> None:
    result = explore(
        f"PORT = {unused_tcp_port}\n{ECHO}"
        + dedent("""
        class Service:
            def __init__(self):
                self.itself = self
                self.answered = []
            async def start(self):
                self.server = await asyncio.start_server(answer, "127.0.0.1", PORT)
            async def ask(self, name):
                await ask(("127.0.0.1", PORT))
                self.answered.append(name)

        async def test_in_order():
            service = Service()
            await service.start()
            await asyncio.gather(service.ask(1), service.ask(2))
            assert service.answered == [1, 2]
            service.server.close()
        """)
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*assert [[]2, 1[]] == [[]1, 2[]]", "*Reproduced 5 of 5*"])
    result.stdout.no_fnmatch_line("*address already in use*")


def test_a_datagram_endpoint_that_is_left_open_leaves_its_port_to_the_next_run(explore, unused_udp_port: int) -> None:
    result = explore(
        f"PORT = {unused_udp_port}"
        + dedent("""
        class Receive(asyncio.DatagramProtocol):
            def __init__(self):
                self.got = asyncio.get_running_loop().create_future()
            def datagram_received(self, data, address):
                self.got.set_result(data)

        async def test_datagram():
            loop = asyncio.get_running_loop()
            _, receiving = await loop.create_datagram_endpoint(Receive, local_addr=("127.0.0.1", PORT))
            sending, _ = await loop.create_datagram_endpoint(Receive, remote_addr=("127.0.0.1", PORT))
            sending.sendto(b"?")
            assert await receiving.got == b"?"
            await work()
        """)
    )
    result.assert_outcomes(passed=1)


def test_runs_at_a_server_of_wider_scope_are_named_alike(explore, unused_tcp_port: int) -> None:
    """Its listener has heard more each time, and it closes connections of one run when the next begins."""
    result = explore(
        f"PORT = {unused_tcp_port}\n{ECHO}"
        + dedent("""
        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def address():
            server = await asyncio.start_server(answer, "127.0.0.1")
            yield server.sockets[0].getsockname()
            server.close()

        @pytest.mark.asyncio(loop_scope="module")
        async def test_first(address):
            await asyncio.gather(ask(address), ask(address))

        @pytest.mark.asyncio(loop_scope="module")
        async def test_second(address):
            await asyncio.gather(ask(address), ask(address))
            with pytest.raises(ConnectionError):
                await ask(("127.0.0.1", PORT))
        """),
        "--interleave-runs=50",
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["*test_first: 50 runs, * distinct orders*sampled*", "*test_second: 50 runs, *sampled*"]
    )


def test_what_a_run_leaves_in_the_queue_of_a_wider_loop_is_not_in_the_next(explore) -> None:
    result = explore(
        ECHO
        + dedent("""
        @pytest.mark.asyncio(loop_scope="module")
        async def test_its_own():
            server = await asyncio.start_server(answer, "127.0.0.1")
            await ask(server.sockets[0].getsockname())
            server.close()
            await server.wait_closed()
        """)
    )
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*inconclusive*")


def test_a_report_numbers_only_tasks_that_are_there(explore) -> None:
    """Each run keeps a connection, and so a task of the server's that lives on behind those of the test."""
    result = explore("""
        import pytest_asyncio

        KEPT = []

        async def answer(reader, writer):
            while line := await reader.readline():
                writer.write(line)

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def address():
            server = await asyncio.start_server(answer, "127.0.0.1")
            yield server.sockets[0].getsockname()
            for _, writer in KEPT:
                writer.close()
            server.close()

        async def add(box):
            value = box[0]
            await asyncio.sleep(0.01)
            box[0] = value + 1

        @pytest.mark.asyncio(loop_scope="module")
        async def test_it(address):
            box = [0]

            async def later():
                await asyncio.sleep(1)
                await add(box)

            await asyncio.gather(add(box), later())
            reader, writer = await asyncio.open_connection(*address)
            KEPT.append((reader, writer))
            writer.write(b"?\\n")
            await reader.readline()
            assert box == [2]
    """)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["time * add * later"])
    result.stdout.no_fnmatch_line("* #*")
