"""Run one of CPython's own asyncio test modules on the controlled loop; print what failed as JSON.

    python cpython.py PATH_OF_OUR_SOURCES test_tasks

Their ``asyncio.SelectorEventLoop`` and ``asyncio.new_event_loop`` are ours, and so is their ``TestLoop``: it takes a
generator that tells how time is to pass, while our loop needs no telling, so what they assert about ``loop.time()`` is
asserted of our virtual time.
"""

import asyncio
import gc
import importlib
import json
import sys
import unittest

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])

    from test.test_asyncio import utils

    from pytest_interleave.loop.controlled import ControlledLoop

    class SelfTellingLoop(ControlledLoop):
        def __init__(self, gen=None):
            super().__init__()

        def advance_time(self, advance):
            self._now += advance

    asyncio.SelectorEventLoop = asyncio.EventLoop = ControlledLoop
    asyncio.unix_events.SelectorEventLoop = ControlledLoop
    for name in ("_UnixDefaultEventLoopPolicy", "_DefaultEventLoopPolicy"):
        if policy := getattr(asyncio.unix_events, name, None):
            policy._loop_factory = ControlledLoop
    utils.TestLoop = SelfTellingLoop

    module = importlib.import_module("test.test_asyncio." + sys.argv[2])
    gc.freeze()  # its tests collect garbage hundreds of times, which need not be looked for in what is loaded
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(stream=sys.stderr).run(suite)
    failed = {
        test.id().removeprefix(module.__name__ + "."): text.strip().splitlines()[-1]
        for test, text in [*result.failures, *result.errors]
    }
    print(json.dumps({"ran": result.testsRun, "failed": failed}))
