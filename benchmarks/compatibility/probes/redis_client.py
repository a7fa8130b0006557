"""redis-py against a small server that speaks its protocol."""

import asyncio

from redis.asyncio import Redis


async def answer(reader, writer):
    store = {}
    while line := await reader.readline():
        words = []
        for _ in range(int(line[1:])):
            size = int((await reader.readline())[1:])
            words.append((await reader.readexactly(size + 2))[:-2])
        if words[0] == b"SET":
            store[words[1]] = words[2]
            writer.write(b"+OK\r\n")
        elif words[0] == b"GET":
            value = store.get(words[1])
            writer.write(b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value))
        elif words[0] == b"HELLO":
            writer.write(b"*2\r\n$5\r\nproto\r\n:2\r\n")
        else:
            writer.write(b"+OK\r\n")
    writer.close()


async def test_it():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def use(value):
        async with Redis(host="127.0.0.1", port=port) as client:
            await client.set("key", value)
            return await client.get("key")

    async with server:
        assert await asyncio.gather(use("one"), use("two")) == [b"one", b"two"]
