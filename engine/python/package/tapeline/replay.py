"""Replays: the events that are in a log now, as fast as they can be read or at a pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

from tapeline import _native
from tapeline._loop import in_thread, refuse_in_loop
from tapeline._native import Event

Begin = Callable[[], _native.Replay]


class Replay:
    """The events of a replay: `for` in a thread, `async for` in an event loop.

    `GapError` is raised where events are missing; iterating on continues after them. A replay begins when it is first
    read, and ends at what the log holds then.
    """

    def __init__(self, begin: Begin, speed: float | None, idle_max: float | None) -> None:
        self._begin = begin
        self._native: _native.Replay | None = None
        self._pacer = None if speed is None else _native.Pacer(speed, idle_max)

    def __iter__(self) -> Iterator[Event]:
        refuse_in_loop("a replay by `for`", "`async for`")
        if self._native is None:
            self._native = self._begin()
        return iter(self._native) if self._pacer is None else self._paced(self._native, self._pacer)

    @staticmethod
    def _paced(events: Iterator[Event], pacer: _native.Pacer) -> Iterator[Event]:
        for event in events:
            pacer.sleep(event.insertion_ts)
            yield event

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        native = self._native
        if native is None:
            native = self._native = await in_thread(self._begin)
        if not native.is_read() and not await in_thread(native.read_ahead):
            raise StopAsyncIteration
        event = next(native)
        if self._pacer is not None and (wait := self._pacer.wait(event.insertion_ts)) > 0:
            await asyncio.sleep(wait)
        return event
