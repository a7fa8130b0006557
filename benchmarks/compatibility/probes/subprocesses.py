"""Two subprocesses, with their input and output."""

import asyncio


async def test_it():
    async def shout(word):
        process = await asyncio.create_subprocess_exec(
            "tr", "a-z", "A-Z", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate(word)
        return process.returncode, output

    async def tick():
        for _ in range(3):
            await asyncio.sleep(0.001)

    assert (await asyncio.gather(shout(b"ann"), shout(b"bob"), tick()))[:2] == [(0, b"ANN"), (0, b"BOB")]
