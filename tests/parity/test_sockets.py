"""Sockets, pipes and TLS: the same on asyncio's own loop and on the controlled one."""

import asyncio
import os
import socket
import ssl

from parity.loops import parity

LOCALHOST = "127.0.0.1"


async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(b"echo " + line)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def talk(reader, writer, lines=3):
    log = []
    for number in range(lines):
        writer.write(b"%d\n" % number)
        await writer.drain()
        log.append(await reader.readline())
    writer.write_eof() if writer.can_write_eof() else writer.close()
    log.append(await reader.read())
    writer.close()
    await writer.wait_closed()
    return log


@parity
async def test_streams_over_tcp():
    async with await asyncio.start_server(echo, LOCALHOST, 0) as server:
        address = server.sockets[0].getsockname()
        return await asyncio.gather(*[talk(*await asyncio.open_connection(*address)) for _ in range(3)])


@parity
async def test_streams_on_a_socket_that_is_the_users():
    with socket.create_server((LOCALHOST, 0)) as sock:
        async with await asyncio.start_server(echo, sock=sock):
            return await talk(*await asyncio.open_connection(*sock.getsockname()))


@parity
async def test_streams_over_unix_sockets(tmp_path):
    path = str(tmp_path / "socket")
    if os.path.exists(path):
        os.unlink(path)
    async with await asyncio.start_unix_server(echo, path):
        return await talk(*await asyncio.open_unix_connection(path))


@parity
async def test_streams_over_tls(certificates):
    server_context, client_context = certificates
    async with await asyncio.start_server(echo, LOCALHOST, 0, ssl=server_context) as server:
        address = server.sockets[0].getsockname()
        return await talk(*await asyncio.open_connection(*address, ssl=client_context, server_hostname="localhost"))


@parity
async def test_start_tls(certificates):
    server_context, client_context = certificates

    async def upgrade(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        await writer.start_tls(server_context)
        await echo(reader, writer)

    with socket.create_server((LOCALHOST, 0)) as sock:
        async with await asyncio.start_server(upgrade, sock=sock):
            reader, writer = await asyncio.open_connection(*sock.getsockname())
            writer.write(b"plain\n")
            plain = await reader.readline()
            await writer.start_tls(client_context, server_hostname="localhost")
            return plain, await talk(reader, writer)


@parity
async def test_a_certificate_of_an_unknown_authority_is_refused(certificates):
    server_context, _ = certificates
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with await asyncio.start_server(echo, LOCALHOST, 0, ssl=server_context) as server:
        try:
            await asyncio.open_connection(
                *server.sockets[0].getsockname(), ssl=ssl.create_default_context(), server_hostname="localhost"
            )
        except ssl.SSLCertVerificationError as error:
            return error.verify_message


@parity
async def test_much_data_is_held_back_by_a_slow_reader():
    size = 5_000_000
    received = 0
    done = asyncio.Event()

    async def slow(reader, writer):
        nonlocal received
        while data := await reader.read(100_000):
            received += len(data)
            await asyncio.sleep(0)
        writer.close()
        done.set()

    async with await asyncio.start_server(slow, LOCALHOST, 0) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(50):
            writer.write(b"x" * (size // 50))
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        await done.wait()
    return received


@parity
async def test_a_refused_connection_and_a_reset_one():
    log = []
    with socket.create_server((LOCALHOST, 0)) as sock:
        port = sock.getsockname()[1]
    try:
        await asyncio.open_connection(LOCALHOST, port)
    except ConnectionRefusedError as error:
        log.append(error.errno)

    async def abort(reader, writer):
        await reader.readline()
        writer.transport.abort()

    async with await asyncio.start_server(abort, LOCALHOST, 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\n")
        log.append(await reader.read())
        writer.close()
    return log


@parity
async def test_protocols_see_their_calls_in_order():
    loop = asyncio.get_running_loop()
    log = []
    lost = asyncio.Event()

    class Logger(asyncio.Protocol):
        def __init__(self, name):
            self.name = name

        def connection_made(self, transport):
            log.append((self.name, "made"))
            self.transport = transport

        def data_received(self, data):
            log.append((self.name, data))
            if self.name == "server":
                self.transport.write(data.upper())
            else:
                self.transport.close()

        def eof_received(self):
            log.append((self.name, "eof"))

        def connection_lost(self, error):
            log.append((self.name, "lost", error))
            if self.name == "server":
                lost.set()

    server = await loop.create_server(lambda: Logger("server"), LOCALHOST, 0)
    transport, _ = await loop.create_connection(lambda: Logger("client"), *server.sockets[0].getsockname())
    transport.write(b"data")
    await lost.wait()
    server.close()
    await server.wait_closed()
    return log


@parity
async def test_raw_sockets():
    loop = asyncio.get_running_loop()
    with socket.socket() as listening, socket.socket() as client:
        listening.bind((LOCALHOST, 0))
        listening.listen()
        listening.setblocking(False)
        client.setblocking(False)

        async def serve():
            connection, _ = await loop.sock_accept(listening)
            with connection:
                log = []
                while data := await loop.sock_recv(connection, 100):
                    log.append(data)
                    await loop.sock_sendall(connection, data * 2)
                return b"".join(log)

        server = asyncio.create_task(serve())
        await loop.sock_connect(client, listening.getsockname())
        got = []
        for data in (b"ab", b"c"):
            # Two small writes in a row: the system holds the second one back until the first is acknowledged.
            await loop.sock_sendall(client, data)
            await loop.sock_sendall(client, data)
            answer = b""
            while len(answer) < 4 * len(data):
                answer += await loop.sock_recv(client, 100)
            got.append(answer)
        client.shutdown(socket.SHUT_WR)
        return got, await server


@parity
async def test_sendfile(tmp_path):
    loop = asyncio.get_running_loop()
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 100_000)
    size = 0

    async def count(reader, writer):
        nonlocal size
        while data := await reader.read(65536):
            size += len(data)
        writer.write(b"done")
        writer.close()

    async with await asyncio.start_server(count, LOCALHOST, 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with path.open("rb") as file:
            sent = await loop.sendfile(writer.transport, file)
        writer.write_eof()
        log = [sent, await reader.read(), size]
        writer.close()
        with socket.socket() as sock, path.open("rb") as file:
            sock.setblocking(False)
            await loop.sock_connect(sock, server.sockets[0].getsockname())
            log.append(await loop.sock_sendfile(sock, file, 10, 1000))
            sock.shutdown(socket.SHUT_WR)
            log.append(await loop.sock_recv(sock, 10))
    return log, size


@parity
async def test_datagrams():
    loop = asyncio.get_running_loop()
    answered = asyncio.Queue()

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, address):
            self.transport.sendto(data[::-1], address)

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data, address):
            answered.put_nowait(data)

    server, _ = await loop.create_datagram_endpoint(Server, local_addr=(LOCALHOST, 0))
    client, _ = await loop.create_datagram_endpoint(Client, remote_addr=server.get_extra_info("sockname"))
    log = []
    for data in (b"abc", b"def"):
        client.sendto(data)
        log.append(await answered.get())
    client.close()
    server.close()
    await asyncio.sleep(0)
    return log


@parity
async def test_readers_and_writers():
    loop = asyncio.get_running_loop()
    log = []
    mine, yours = socket.socketpair()
    with mine, yours:
        mine.setblocking(False)
        yours.setblocking(False)
        readable = asyncio.Event()

        def read():
            log.append(yours.recv(100))
            readable.set()

        def write():
            mine.send(b"written")
            log.append(loop.remove_writer(mine))

        loop.add_reader(yours, read)
        loop.add_writer(mine, write)
        await readable.wait()
        log.append(loop.remove_reader(yours))
        log.append(loop.remove_reader(yours))
        mine.send(b"unseen")
        for _ in range(3):
            await asyncio.sleep(0)
    return log


@parity
async def test_a_reader_that_replaces_another():
    loop = asyncio.get_running_loop()
    log = []
    reading, writing = os.pipe()
    loop.add_reader(reading, log.append, "first")
    loop.add_reader(reading, lambda: log.append(os.read(reading, 10)))
    os.write(writing, b"x")
    for _ in range(3):
        await asyncio.sleep(0)
    loop.remove_reader(reading)
    os.close(reading)
    os.close(writing)
    return log


@parity
async def test_pipes():
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    reader = asyncio.StreamReader()
    source, target = os.fdopen(reading, "rb"), os.fdopen(writing, "wb")
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    write_transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, target)
    loop.call_later(0.01, write_transport.write, b"first\n")
    loop.call_later(0.02, write_transport.close)
    log = [await reader.readline(), await reader.read()]
    transport.close()
    return log


@parity
async def test_names_are_looked_up():
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
    try:
        await loop.getaddrinfo("name.invalid", 80)
    except socket.gaierror:
        return sorted({address[0] for *_, address in found})
