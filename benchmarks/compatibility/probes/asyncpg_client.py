"""asyncpg, whose protocol is compiled, against a small server that speaks PostgreSQL's."""

import asyncio
import struct

import asyncpg


def message(kind, body=b""):
    return kind + struct.pack("!i", len(body) + 4) + body


READY = message(b"Z", b"I")
COLUMN = b"answer\0" + struct.pack("!ihihih", 0, 0, 23, 4, -1, 1)
REPLIES = {
    b"P": message(b"1"),
    b"D": message(b"t", struct.pack("!hi", 1, 23)) + message(b"T", struct.pack("!h", 1) + COLUMN),
    b"B": message(b"2"),
    b"C": message(b"3"),
    b"S": READY,
}


async def answer(reader, writer):
    size = struct.unpack("!i", await reader.readexactly(4))[0]
    await reader.readexactly(size - 4)
    writer.write(message(b"R", struct.pack("!i", 0)))
    writer.write(message(b"S", b"server_version\x0016.0\0") + message(b"S", b"client_encoding\0UTF8\0"))
    writer.write(message(b"K", struct.pack("!ii", 1, 2)) + READY)
    bound = b""
    while (kind := await reader.readexactly(1)) != b"X":
        size = struct.unpack("!i", await reader.readexactly(4))[0]
        body = await reader.readexactly(size - 4)
        if kind == b"B":
            bound = body[-8:-4] if body.endswith(b"\0\1\0\1") else body
        if kind == b"E":
            number = struct.unpack("!i", bound)[0] * 2
            writer.write(message(b"D", struct.pack("!hii", 1, 4, number)) + message(b"C", b"SELECT 1\0"))
        else:
            writer.write(REPLIES.get(kind, b""))
    writer.close()


async def test_it():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def double(number):
        connection = await asyncpg.connect(
            host="127.0.0.1", port=port, user="me", password="", database="db", ssl=False
        )
        try:
            return await connection.fetchval("SELECT 2 * $1::int", number)
        finally:
            await connection.close()

    async with server:
        assert await asyncio.gather(double(4), double(21)) == [8, 42]
