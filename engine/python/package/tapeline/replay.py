"""Replays: the events that are in a log now, as fast as they can be read or at a pace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from tapeline import _native
from tapeline._loop import in_thread, refuse_in_loop
from tapeline._native import Event, Latency
from tapeline._reading import OneReader
from tapeline.arrow import ArrowEvents

Begin = Callable[[], _native.Replay]


class Replay(OneReader):
    """The events of a replay: `for` in a thread, `async for` in an event loop.

    `GapError` is raised where events are missing; iterating on continues after them. A replay begins when it is first
    read, and ends at what the log holds then. A read that is cancelled or interrupted loses no event. In an event loop
    it has one reader at a time.
    """

    _what = "a replay"

    def __init__(self, begin: Begin, speed: float | None, idle_max: float | None) -> None:
        super().__init__()
        self._begin = begin
        self._native: _native.Replay | None = None
        self._pacer = None if speed is None else _native.Pacer(speed, idle_max)

    def __iter__(self) -> Iterator[Event]:
        refuse_in_loop("a replay by `for`", "`async for`")
        if self._native is None:
            self._native = self._begin()
        return iter(self._native) if self._pacer is None else _Paced(self._native, self._pacer)

    def to_arrow(self, *, skip_gaps: bool = False) -> ArrowEvents:
        """The events as Arrow columns, for `pyarrow.table`, `polars.DataFrame` and others. Nothing of the replay may
        have been read; a speed does not matter.

        Where events are missing reading fails, as no column can say so. With `skip_gaps` it goes on, and
        `ArrowEvents.gaps` has what was missing.
        """
        refuse_in_loop("to_arrow", "`await asyncio.to_thread(replay.to_arrow)`")
        if self._native is None:
            self._native = self._begin()
        return ArrowEvents(self._native.to_arrow(skip_gaps))

    def latency(self, token: int | str = "token") -> Latency:
        """How long the first token, each next one and the whole of each session took, as histograms. Nothing of the
        replay may have been read, and it should have all kinds; a speed does not matter.

        `token` is the kind that counts as a token. A session is taken as one answer; `tapeline latency` of the command
        line also understands recorded chunks of model servers.
        """
        refuse_in_loop("latency", "`await asyncio.to_thread(replay.latency)`")
        if self._native is None:
            self._native = self._begin()
        return self._native.latency(token)

    async def _next(self) -> Event:
        native = self._native
        if native is None:
            native = self._native = await in_thread(self._begin)
        if not native.is_read() and not await in_thread(native.read_ahead):
            raise StopAsyncIteration
        # It stays in the replay until it is due: a task that is cancelled meanwhile takes nothing with it.
        if self._pacer is not None and (time := native.next_insertion_ts()) is not None:
            wait = self._pacer.wait(time)
            if wait > 0:
                await asyncio.sleep(wait)
        return next(native)


class _Paced(Iterator[Event]):
    """A replay that sleeps until each event is due."""

    def __init__(self, events: _native.Replay, pacer: _native.Pacer) -> None:
        self._events = events
        self._pacer = pacer

    def __next__(self) -> Event:
        self._events.read_ahead()
        if (time := self._events.next_insertion_ts()) is not None:
            self._pacer.sleep(time)
        return next(self._events)
