from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pytest_interleave.loop import children

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the system tells nobody else")


def test_a_child_lives_until_it_was_asked_for_its_status() -> None:
    before = children.living()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        running = children.living()
        assert process.stdin is not None
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        over = children.living()
    after = children.living()

    assert process.pid not in before
    assert process.pid in running
    assert process.pid in over
    assert process.pid not in after
