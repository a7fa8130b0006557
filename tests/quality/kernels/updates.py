"""A value is read, the task suspends, and what it does then no longer fits the value."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from quality.kernels.kernel import Kernel
from quality.outside import remote


async def lost_update() -> None:
    """A deposit overwrites another's: the first one's save is late, past the second one's read."""
    balance = 100

    async def first() -> None:
        nonlocal balance
        await remote("first: authenticate")
        read = balance
        await remote("first: save")
        balance = read + 10
        await remote("first: print", 2)

    async def second() -> None:
        nonlocal balance
        await remote("second: authenticate", 5)
        read = balance
        await remote("second: save")
        balance = read + 20
        await remote("second: print", 2)

    await asyncio.gather(first(), second())

    assert balance == 130


async def lost_update_fixed() -> None:
    """Each deposit reads and writes under one lock."""
    balance = 100
    lock = asyncio.Lock()

    async def first() -> None:
        nonlocal balance
        await remote("first: authenticate")
        async with lock:
            read = balance
            await remote("first: save")
            balance = read + 10
        await remote("first: print", 2)

    async def second() -> None:
        nonlocal balance
        await remote("second: authenticate", 5)
        async with lock:
            read = balance
            await remote("second: save")
            balance = read + 20
        await remote("second: print", 2)

    await asyncio.gather(first(), second())

    assert balance == 130


async def overdraft() -> None:
    """Funds are checked before the bank authorises: a withdrawal is authorised late, past a later one's check."""
    balance = 100

    async def withdraw(teller: int, amount: int) -> None:
        nonlocal balance
        await remote(f"teller {teller}: identify", 4 * teller - 3)
        if balance >= amount:
            await remote(f"teller {teller}: authorise")
            balance -= amount

    await asyncio.gather(withdraw(1, 40), withdraw(2, 40), withdraw(3, 40))

    assert balance >= 0


async def overdraft_fixed() -> None:
    """The funds are reserved in the step that checks them."""
    balance = 100

    async def withdraw(teller: int, amount: int) -> None:
        nonlocal balance
        await remote(f"teller {teller}: identify", 4 * teller - 3)
        if balance >= amount:
            balance -= amount
            await remote(f"teller {teller}: authorise")

    await asyncio.gather(withdraw(1, 40), withdraw(2, 40), withdraw(3, 40))

    assert balance >= 0


@dataclass
class _Order:
    content: str = "one book"
    is_open: bool = True
    version: int = 1
    charged_for: str = ""


async def aba() -> None:
    """An order is open, closed, open again: the quote is late past both, and the check for "open" sees no change."""
    order = _Order()

    async def charge() -> None:
        await remote("calculate")
        quoted_for = order.content
        await remote("quote")
        if order.is_open:
            order.charged_for = quoted_for
            order.is_open = False

    async def edit() -> None:
        await remote("press edit", 4)
        if not order.is_open:
            return
        order.is_open = False
        await remote("save edit", 2)
        order.content = "two books"
        order.is_open = True

    await asyncio.gather(charge(), edit())

    assert order.charged_for in ("", order.content)


async def aba_fixed() -> None:
    """The order carries a version, which never comes back."""
    order = _Order()

    async def charge() -> None:
        await remote("calculate")
        quoted_for, version = order.content, order.version
        await remote("quote")
        if order.is_open and order.version == version:
            order.charged_for = quoted_for
            order.is_open = False

    async def edit() -> None:
        await remote("press edit", 4)
        if not order.is_open:
            return
        order.is_open = False
        await remote("save edit", 2)
        order.content = "two books"
        order.version += 1
        order.is_open = True

    await asyncio.gather(charge(), edit())

    assert order.charged_for in ("", order.content)


async def two_structures() -> None:
    """A mail moves from inbox to archive: the reader's second look is late past the move, and it is in neither."""
    inbox, archive = {"mail"}, set[str]()
    found = False

    async def look() -> None:
        nonlocal found
        await remote("look: connect", 2)
        archived = "mail" in archive
        await remote("list archive")
        found = archived or "mail" in inbox

    async def move() -> None:
        await remote("move: connect", 4)
        await remote("press archive", 3)
        inbox.discard("mail")
        archive.add("mail")

    await asyncio.gather(look(), move())

    assert found


async def two_structures_fixed() -> None:
    """Both places are looked at in one step."""
    inbox, archive = {"mail"}, set[str]()
    found = False

    async def look() -> None:
        nonlocal found
        await remote("look: connect", 2)
        await remote("list archive")
        found = "mail" in archive or "mail" in inbox

    async def move() -> None:
        await remote("move: connect", 4)
        await remote("press archive", 3)
        inbox.discard("mail")
        archive.add("mail")

    await asyncio.gather(look(), move())

    assert found


async def rare_window() -> None:
    """A file is half written during one of 58 operations: that one is late, past the end of a long reader."""
    await _rare_window(is_atomic=False)


async def rare_window_fixed() -> None:
    """The file is replaced in one step."""
    await _rare_window(is_atomic=True)


async def _rare_window(*, is_atomic: bool) -> None:
    content = "old"
    seen = ""

    async def noise(task: int) -> None:
        await remote(f"noise {task}", 12)

    async def write() -> None:
        nonlocal content
        await remote("write: prepare", 8)
        if not is_atomic:
            content = "half"
        await remote("write: flush")
        content = "new"

    async def read() -> None:
        nonlocal seen
        await remote("read: seek", 13)
        seen = content

    await asyncio.gather(noise(1), write(), noise(2), read(), noise(3))

    assert seen != "half"


KERNELS = (
    Kernel(lost_update, lost_update_fixed, {"first: save": 0.02}),
    Kernel(overdraft, overdraft_fixed, {"teller 2: authorise": 0.02}),
    Kernel(aba, aba_fixed, {"quote": 0.02}),
    Kernel(two_structures, two_structures_fixed, {"list archive": 0.02}),
    Kernel(rare_window, rare_window_fixed, {"write: flush": 0.1}),
)
