"""UDP: two clients of one server, by `create_datagram_endpoint`."""

import asyncio


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data.upper(), address)


class Client(asyncio.DatagramProtocol):
    def __init__(self):
        self.reply = asyncio.get_running_loop().create_future()

    def datagram_received(self, data, address):
        self.reply.set_result(data)


async def test_it():
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    address = server.get_extra_info("sockname")

    async def ask(word):
        transport, client = await loop.create_datagram_endpoint(Client, remote_addr=address)
        transport.sendto(word)
        reply = await client.reply
        transport.close()
        return reply

    assert await asyncio.gather(ask(b"ann"), ask(b"bob")) == [b"ANN", b"BOB"]
    server.close()
