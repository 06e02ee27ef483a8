"""Event loops: calls that wait are kept from them, and news of the bus reaches them through an eventfd that they watch."""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tapeline._native import Awaited, Bell
from tapeline.errors import BlockingError

P = ParamSpec("P")
T = TypeVar("T")


def runs_here() -> bool:
    """Whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def refuse_in_loop(call: str, instead: str) -> None:
    """Raises where an event loop would wait for `call`."""
    if runs_here():
        raise BlockingError(f"{call} would block the event loop of this thread; use {instead}")


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Waits for a call that may read files, on a thread of the loop's executor."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, lambda: call(*args, **kwargs))


class LoopBell:
    """The bell of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.native = Bell()
        self._keys = itertools.count()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        loop.add_reader(self.native.fileno(), self._ring)

    def key(self) -> int:
        """A number for another waiter."""
        return next(self._keys)

    def _ring(self) -> None:
        for key in self.native.rung():
            waiter = self._waiting.pop(key, None)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    async def rings(self, key: int) -> None:
        """Waits until the bell rings for `key`. A ring since the last look counts: nothing ran in the loop since."""
        waiter = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            self._waiting.pop(key, None)


_bells: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopBell] = weakref.WeakKeyDictionary()


def bell() -> LoopBell:
    """The bell of the running loop."""
    loop = asyncio.get_running_loop()
    found = _bells.get(loop)
    if found is None:
        found = _bells[loop] = LoopBell(loop)
    return found


async def awaited(wait: Awaited) -> None:
    """Waits for the bus in the running loop."""
    here = bell()
    key = here.key()
    while not wait.poll(here.native, key):
        await here.rings(key)
