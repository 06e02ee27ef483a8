"""Tails: events from a place on, then live ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator

from tapeline import _native
from tapeline._loop import LoopBell, bell, in_thread, refuse_in_loop, runs_here
from tapeline._native import Event
from tapeline._reading import OneReader


class Tail(OneReader):
    """Events from a place on, then live ones: `for` in a thread, `async for` in an event loop.

    Outside an event loop it begins when it is made. In one it begins when it is awaited, or first read: `await` it
    where its error is to be answered, as a token that cannot be resumed. It has one reader at a time.

    `GapError` is raised where events are missing; iterating on continues after them.
    """

    _what = "a tail"

    def __init__(self, begin: Callable[[], _native.Tail]) -> None:
        super().__init__()
        self._begin = begin
        self._native: _native.Tail | None = None if runs_here() else begin()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bell: LoopBell | None = None
        self._key = 0

    @property
    def cursor(self) -> str | None:
        """The place after the last event that was read, for `after=`. Of the tail of one session: `None`; that is resumed
        by the token of its last event."""
        return None if self._native is None else self._native.cursor

    @property
    def end(self) -> str | None:
        """How it ended: `closed` with its session, `shutdown` with the bus, `failed` by an error. `None`: it goes on."""
        # Its look for the end would take the bell from a task that waits.
        return None if self._native is None or self._turn.is_taken else self._native.end

    def __iter__(self) -> Iterator[Event]:
        refuse_in_loop("a tail by `for`", "`async for`")
        if self._native is None:
            self._native = self._begin()
        return iter(self._native)

    def __next__(self) -> Event:
        return next(iter(self))

    def __await__(self) -> Generator[object, None, Tail]:
        return self._begun().__await__()

    async def _begun(self) -> Tail:
        if self._native is None:
            with self._turn:
                self._native = await in_thread(self._begin)
        return self

    async def _next(self) -> Event:
        native = self._native
        if native is None:
            native = self._native = await in_thread(self._begin)
        here, loop = self._bell, asyncio.get_running_loop()
        if here is None or self._loop is not loop:
            here, self._loop = bell(), loop
            self._bell, self._key = here, here.key()
        while (event := native.poll(here.native, self._key)) is None:
            await here.rings(self._key)
        return event
