"""anyio: its TCP listener, by `sock_accept` and `connect_accepted_socket`."""

import anyio
from anyio.abc import SocketAttribute


async def test_it():
    replies = {}

    async def shout(stream):
        async with stream:
            async for data in stream:
                await stream.send(data.upper())

    async def ask(port, word):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(word)
            replies[word] = await stream.receive()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, shout)
        port = listener.extra(SocketAttribute.local_port)
        async with anyio.create_task_group() as clients:
            clients.start_soon(ask, port, b"ann")
            clients.start_soon(ask, port, b"bob")
        group.cancel_scope.cancel()

    assert replies == {b"ann": b"ANN", b"bob": b"BOB"}
