"""The 23 bug kernels: each passes on asyncio whenever its operations take equally long, and fails if some are late."""

from quality.kernels import deadlocks, endings, notifications, orders, repeats, stale, updates
from quality.kernels.kernel import Kernel, Program

__all__ = ["KERNELS", "Kernel", "Program"]

KERNELS: tuple[Kernel, ...] = (
    *updates.KERNELS,
    *stale.KERNELS,
    *repeats.KERNELS,
    *notifications.KERNELS,
    *deadlocks.KERNELS,
    *orders.KERNELS,
    *endings.KERNELS,
)
