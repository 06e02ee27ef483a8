"""Logs that another process writes, followed by their files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

from tapeline import _native
from tapeline._loop import in_thread, refuse_in_loop
from tapeline._native import Event
from tapeline._reading import OneReader
from tapeline._select import Filter, Kinds, Sessions, Start, StrPath, select


def follow(
    path: StrPath,
    session: Sessions | None = None,
    *,
    after: str | None = None,
    start: Start = "earliest",
    kinds: Kinds | None = None,
    filter: Filter | None = None,
    interval: float = 0.02,
) -> Follower:
    """Events of a log that another process writes, as they become durable there: `for` in a thread, `async for` in an
    event loop.

    Goes on until the log is removed, also while no process writes it. `after` is the cursor of a follower, a tail or a
    page; without it, `start` says where to begin. Looks at the files every `interval` seconds where there is nothing
    new. Raises `OpenError`, `CursorError`, `FilterError`.
    """
    if not (0.0 <= interval < float("inf")):
        raise ValueError(f"interval is {interval}; seconds, 0 or more")
    arguments: _native._Follow = {"select": select(session, kinds, filter), "after": after, "start": start}
    return Follower(lambda: _native.Follower(path, arguments), interval)


class Follower(OneReader):
    """Events of a log that another process writes. It has one reader at a time.

    `GapError` is raised where events are missing; iterating on continues after them.
    """

    _what = "a follower"

    def __init__(self, begin: Callable[[], _native.Follower], interval: float) -> None:
        super().__init__()
        self._begin = begin
        self._interval = interval
        self._native: _native.Follower | None = None

    @property
    def cursor(self) -> str | None:
        """The place after the last event that was read, for `after=`. `None`: nothing was read yet."""
        return None if self._native is None else self._native.cursor

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        refuse_in_loop("following a log by `for`", "`async for`")
        native = self._native
        if native is None:
            native = self._native = self._begin()
        while not native.read_ahead():
            if native.is_lost():
                raise StopIteration
            time.sleep(self._interval)
        return self._taken(native)

    async def _next(self) -> Event:
        native = self._native
        if native is None:
            native = self._native = await in_thread(self._begin)
        while not native.is_read() and not await in_thread(native.read_ahead):
            if native.is_lost():
                raise StopAsyncIteration
            await asyncio.sleep(self._interval)
        return self._taken(native)

    @staticmethod
    def _taken(native: _native.Follower) -> Event:
        event = native.take()
        assert event is not None
        return event
