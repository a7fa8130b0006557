"""Threads and processes: the same on asyncio's own loop and on the controlled one."""

import asyncio
import concurrent.futures
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time

from parity.loops import parity


def wait_a_little(result=None):
    time.sleep(0.02)
    return result


def fail():
    raise ValueError("in a thread")


@parity
async def test_threads_answer():
    loop = asyncio.get_running_loop()
    results = await asyncio.gather(
        asyncio.to_thread(wait_a_little, 1),
        loop.run_in_executor(None, wait_a_little, 2),
        asyncio.to_thread(fail),
        return_exceptions=True,
    )
    return [repr(result) for result in results]


@parity
async def test_a_thread_that_takes_long_is_waited_for():
    return await asyncio.to_thread(time.sleep, 0.2)


@parity
async def test_executors_of_the_users_own():
    loop = asyncio.get_running_loop()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [loop.run_in_executor(pool, wait_a_little, number) for number in range(5)]
        first = await asyncio.wrap_future(pool.submit(wait_a_little, "submitted"))
        return first, await asyncio.gather(*jobs)


@parity
async def test_processes_answer():
    loop = asyncio.get_running_loop()
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        async with asyncio.timeout(60):
            return await asyncio.gather(*(loop.run_in_executor(pool, abs, -number) for number in range(3)))


@parity
async def test_a_thread_waits_for_the_end_of_a_process():
    def work():
        process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(0.2,))
        process.start()
        process.join(60)
        return process.exitcode

    return await asyncio.to_thread(work)


@parity
async def test_what_a_job_sends_comes_before_its_result():
    loop = asyncio.get_running_loop()
    log = []

    def job():
        for number in range(3):
            loop.call_soon_threadsafe(log.append, number)
        return "result"

    log.append(await asyncio.to_thread(job))
    return log


@parity
async def test_a_plain_thread_calls_back():
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def work():
        time.sleep(0.02)
        loop.call_soon_threadsafe(future.set_result, "from a thread")

    thread = threading.Thread(target=work)
    thread.start()
    result = await asyncio.wait_for(future, 5)
    thread.join()
    return result


@parity
async def test_a_thread_runs_coroutines_on_the_loop():
    loop = asyncio.get_running_loop()
    log = []

    async def answer(number):
        log.append(number)
        await asyncio.sleep(0.01)
        return number * 2

    def work():
        return [asyncio.run_coroutine_threadsafe(answer(number), loop).result() for number in range(3)]

    return await asyncio.to_thread(work), log


@parity
async def test_a_thread_whose_wait_times_out():
    def work():
        try:
            return concurrent.futures.Future().result(0.05)
        except TimeoutError:
            return "timed out"

    return await asyncio.wait_for(asyncio.to_thread(work), 5)


@parity
async def test_a_thread_with_a_loop_of_its_own():
    async def nap():
        await asyncio.sleep(0.02)
        return "slept"

    return await asyncio.wait_for(asyncio.to_thread(asyncio.run, nap()), 5)


@parity
async def test_a_loop_in_the_background():
    other = asyncio.SelectorEventLoop()
    thread = threading.Thread(target=other.run_forever)
    thread.start()
    try:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.sleep(0.02, "slept"), other))
    finally:
        other.call_soon_threadsafe(other.stop)
        thread.join()
        other.close()


@parity
async def test_a_thread_that_waits_for_a_command():
    command = [sys.executable, "-Ic", "print('done')"]
    done = await asyncio.wait_for(asyncio.to_thread(subprocess.run, command, capture_output=True), 30)
    return done.stdout


@parity
async def test_a_thread_that_listens_to_another_process():
    script = (
        "import socket, time\n"
        "with socket.create_server(('127.0.0.1', 0)) as server:\n"
        "    print(server.getsockname()[1], flush=True)\n"
        "    connection, _ = server.accept()\n"
        "    time.sleep(0.1)\n"
        "    connection.sendall(b'hello')\n"
    )

    def listen(port):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            return connection.recv(100)

    with subprocess.Popen([sys.executable, "-Ic", script], stdout=subprocess.PIPE) as process:
        port = int(process.stdout.readline())
        return await asyncio.wait_for(asyncio.to_thread(listen, port), 30)


@parity
async def test_commands_with_pipes():
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-Ic",
        "import sys; data = sys.stdin.read(); print(data.upper()); print('problem', file=sys.stderr); sys.exit(3)",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return await asyncio.wait_for(process.communicate(b"text"), 30), process.returncode


@parity
async def test_shell_commands_line_by_line():
    process = await asyncio.create_subprocess_shell(
        "echo one; read answer; echo $answer", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    log = [await process.stdout.readline()]
    process.stdin.write(b"two\n")
    log.append(await process.stdout.readline())
    process.stdin.close()
    return log, await process.stdout.read(), await process.wait()


@parity
async def test_a_command_that_is_killed():
    process = await asyncio.create_subprocess_exec("sleep", "100")
    try:
        await asyncio.wait_for(process.wait(), 0.05)
    except TimeoutError:
        process.kill()
    return await process.wait()


@parity
async def test_a_client_in_another_process():
    """A server listens, and nothing tells but a child that lives."""
    served = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        served.set_result(await reader.read())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        script = f"import socket; socket.create_connection(('127.0.0.1', {port})).sendall(b'hello')"
        with subprocess.Popen([sys.executable, "-Ic", script]):
            return await served


@parity
async def test_a_server_in_another_process():
    script = (
        "import socket, time\n"
        "with socket.create_server(('127.0.0.1', 0)) as server:\n"
        "    print(server.getsockname()[1], flush=True)\n"
        "    connection, _ = server.accept()\n"
        "    data = connection.recv(100)\n"
        "    time.sleep(0.1)\n"
        "    connection.sendall(data * 2)\n"
    )
    with subprocess.Popen([sys.executable, "-Ic", script], stdout=subprocess.PIPE) as process:
        port = int(process.stdout.readline())
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


@parity
async def test_a_child_that_was_forked_sends_through_a_pipe():
    reading, writing = os.pipe()
    with subprocess.Popen(["sh", "-c", f"sleep 0.1; echo hello >&{writing}"], pass_fds=[writing]):
        os.close(writing)
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader),
            open(reading, "rb"),  # noqa: SIM115 - the transport closes it
        )
        text = await reader.read()
        transport.close()
        return text
