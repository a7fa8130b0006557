"""CPython's own tests of asyncio, with the controlled loop in the place of the selector loop."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_interleave

SOURCES = Path(pytest_interleave.__file__).parent.parent
SCRIPT = Path(__file__).with_name("cpython.py")

#: Each module, and how many tests it had at least on 3.11 to 3.13. Not among them: those of the transports on a loop
#: that is a mock (test_selector_events, test_unix_events), and the modules that need no loop.
MODULES = {
    "test_base_events": 100,
    "test_buffered_proto": 1,
    "test_context": 1,
    "test_events": 250,
    "test_futures": 150,
    "test_futures2": 3,
    "test_locks": 70,
    "test_pep492": 10,
    "test_queues": 40,
    "test_runners": 26,
    "test_sendfile": 60,
    "test_server": 3,
    "test_sock_lowlevel": 39,
    "test_ssl": 22,
    "test_sslproto": 20,
    "test_streams": 65,
    "test_subprocess": 100,
    "test_taskgroups": 35,
    "test_tasks": 900,
    "test_threads": 6,
    "test_timeouts": 30,
    "test_waitfor": 15,
}
if sys.version_info >= (3, 12):
    MODULES["test_eager_task_factory"] = 35

#: Tests that cannot pass on any loop but the one that they were written for, and why.
EXCEPTIONS = {
    "test_tasks": {
        "test_stop_while_run_in_complete": (
            "Expects 0.3 s after a stop at 0.2 s: CPython's TestLoop moves its clock as soon as a timer is made. "
            "asyncio's real loop stops at 0.2 s, and so do we."
        ),
    },
}

is_shipped = importlib.util.find_spec("test") is not None and importlib.util.find_spec("test.test_asyncio") is not None


@pytest.mark.skipif(not is_shipped, reason="this Python comes without its own tests")
@pytest.mark.parametrize("module", MODULES)
def test_all_but_the_exceptions_pass_on_the_controlled_loop(module):
    run = subprocess.run(
        [sys.executable, "-I", SCRIPT, SOURCES, module], capture_output=True, text=True, timeout=300, check=False
    )
    result = json.loads(run.stdout or "null")
    assert result is not None, run.stderr

    assert result["ran"] >= MODULES[module]
    assert {name.rpartition(".")[2] for name in result["failed"]} == set(EXCEPTIONS.get(module, ())), run.stderr
