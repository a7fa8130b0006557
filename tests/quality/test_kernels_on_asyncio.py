"""On asyncio's own loop: the kernels pass until an operation is late, and what is correct passes in any case."""

from __future__ import annotations

import asyncio
import time

import pytest

from quality.fifo_protected import CORRECT, EVERYDAY, PROTECTED_BY_ORDER
from quality.kernels import KERNELS, Kernel, Program
from quality.outside import delayed

_REPEATS = 20
#: A kernel that has not ended by then waits for ever: the longest takes 50 ms, or 0.25 s when it is delayed.
_DEADLOCK_SECONDS = 0.5
#: For what must end. Generous: the machine may be busy.
_PATIENCE_SECONDS = 20

each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)


def test_there_are_as_many_as_the_published_table_counts() -> None:
    assert len({kernel.name for kernel in KERNELS}) == 23
    assert len(set(PROTECTED_BY_ORDER)) == 8
    assert len(set(EVERYDAY)) == 20


@each_kernel
def test_a_kernel_passes_while_its_operations_take_equally_long(kernel: Kernel) -> None:
    for _ in range(_REPEATS):
        _run(kernel.buggy)


@each_kernel
def test_a_kernel_fails_when_the_named_operations_are_late(kernel: Kernel) -> None:
    # How late is late enough depends on how busy the machine is.
    assert any(_fails_when_late(kernel, scale) for scale in (1, 4, 16))


def _fails_when_late(kernel: Kernel, scale: int) -> bool:
    expected, seconds = (TimeoutError, _DEADLOCK_SECONDS * scale) if kernel.is_deadlock else (AssertionError, None)
    begin, length = kernel.busy or (0, 0)
    with delayed({operation: late * scale for operation, late in kernel.delays.items()}):
        try:
            _run(kernel.buggy, busy=(begin * scale, length * scale), seconds=seconds)
        except expected:
            return True
    return False


@each_kernel
def test_the_fixed_twin_passes_with_and_without_delays(kernel: Kernel) -> None:
    for _ in range(5):
        _run(kernel.fixed)
    with delayed(kernel.delays):
        _run(kernel.fixed, busy=kernel.busy or (0, 0))


@pytest.mark.parametrize("program", CORRECT, ids=lambda program: program.__name__)
def test_a_correct_program_passes(program: Program) -> None:
    for _ in range(3):
        _run(program)


def _run(program: Program, *, busy: tuple[float, float] = (0, 0), seconds: float | None = None) -> None:
    begin, length = busy

    async def limited() -> None:
        if length:
            asyncio.get_running_loop().call_later(begin, time.sleep, length)
        await asyncio.wait_for(program(), seconds or _PATIENCE_SECONDS)

    asyncio.run(limited())
