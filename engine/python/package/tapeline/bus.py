"""The bus."""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Self, Unpack

from tapeline import _native
from tapeline._loop import awaited, in_thread, refuse_in_loop
from tapeline._native import NamedCursor, Page, Session, SessionSummary, Ticket, Trimmed
from tapeline._select import Filter, Kinds, SessionLike, Sessions, Start, StrPath, select
from tapeline.errors import Error, ForkedError
from tapeline.replay import Replay
from tapeline.settings import Metadata, Retention, Settings, whole_metadata, whole_retention, whole_settings
from tapeline.tail import Tail

if TYPE_CHECKING:
    from tapeline._native import _Data as Data


_open_buses: weakref.WeakSet[Bus] = weakref.WeakSet()


def _close_all() -> None:
    """What was ingested is durable before the process ends."""
    for bus in list(_open_buses):
        try:
            bus._close()
        except ForkedError:
            pass  # The parent's, which closes it.
        except Error as error:
            print(f"tapeline: a bus did not close: {error}", file=sys.stderr)


atexit.register(_close_all)


def _opened(path: StrPath | None, settings: Settings) -> Bus:
    directory = None if path is None else os.fspath(path)
    bus = Bus({**whole_settings(settings), "directory": directory})
    _open_buses.add(bus)
    return bus


def open(path: StrPath | None = None, **settings: Unpack[Settings]) -> Bus:
    """Opens a bus on the log in a directory, which is made if it is not there; without a path, a bus in memory.

    Raises `OpenError`, `LockedError`, `ConfigError`.
    """
    refuse_in_loop("open", "`async with tapeline.open_async(...) as bus`")
    return _opened(path, settings)


def open_async(path: StrPath | None = None, **settings: Unpack[Settings]) -> Opening:
    """As `open`, in an event loop: to be awaited, or for `async with`."""
    return Opening(path, settings)


class Opening:
    """A bus that is being opened: `await` it, or use it in `async with`."""

    def __init__(self, path: StrPath | None, settings: Settings) -> None:
        self._path = path
        self._settings = settings
        self._bus: Bus | None = None

    def __await__(self) -> Generator[object, None, Bus]:
        return in_thread(_opened, self._path, self._settings).__await__()

    async def __aenter__(self) -> Bus:
        self._bus = await self
        return self._bus

    async def __aexit__(self, *_: object) -> None:
        if self._bus is not None:
            await self._bus.close_async()


class Bus(_native.Bus):
    """An event bus: `tapeline.open` makes one. Any thread may use it.

    Calls that ingest do not wait, but for room where the bus was opened with `backpressure="block"`.
    """

    def open_session(self, name: str, **metadata: Unpack[Metadata]) -> Session:
        """Opens a session by name, and states what it is about."""
        return self._open_session(name, whole_metadata(metadata))

    def reopen_session(self, session: SessionLike, **metadata: Unpack[Metadata]) -> Session:
        """Begins another turn of a session, be it closed or not; it keeps its name."""
        return self._reopen_session(session, whole_metadata(metadata))

    def flush(self) -> None:
        """Waits until every event that was ingested before is durable. Raises `StoreError`."""
        refuse_in_loop("flush", "`await bus.flush_async()`")
        self._flush()

    async def flush_async(self) -> None:
        """As `flush`, in an event loop."""
        await awaited(self._flush_awaited())

    def durable(self, ticket: Ticket) -> None:
        """Waits until the event of a ticket is durable. Raises `StoreError`, and `DroppedError` where it was dropped."""
        if not self.is_durable(ticket):
            refuse_in_loop("durable", "`await bus.durable_async(ticket)`")
            self._durable(ticket)

    async def durable_async(self, ticket: Ticket) -> None:
        """As `durable`, in an event loop."""
        await awaited(self._durable_awaited(ticket))

    def readable(self, ticket: Ticket) -> None:
        """Waits until readers that take events before they are durable can have the event of a ticket."""
        refuse_in_loop("readable", "`await bus.readable_async(ticket)`")
        self._readable(ticket)

    async def readable_async(self, ticket: Ticket) -> None:
        """As `readable`, in an event loop."""
        await awaited(self._readable_awaited(ticket))

    def event_id(self, ticket: Ticket) -> str | None:
        """The identity of a ticket's event, as `Event.id`, once it can be read. `None`: it was dropped, or is gone."""
        refuse_in_loop("event_id", "`await bus.event_id_async(ticket)`")
        return self._event_id(ticket)

    async def event_id_async(self, ticket: Ticket) -> str | None:
        """As `event_id`, in an event loop."""
        return await in_thread(self._event_id, ticket)

    def ingest_with_cursor(
        self,
        batch: Iterable[Data],
        name: str,
        cursor: str,
        session: SessionLike | None = None,
        kind: int | str = 0,
    ) -> None:
        """Ingests events of one session that become visible at once, and with them a cursor under a name: a crash
        leaves both or neither.

        For a consumer that derives these events from those before the cursor. Waits until those are durable. Raises
        `CursorError`, and `IngestError`, where none of the batch was taken.
        """
        refuse_in_loop("ingest_with_cursor", "`await bus.ingest_with_cursor_async(...)`")
        self._ingest_with_cursor(batch, (name, cursor), session, kind)

    async def ingest_with_cursor_async(
        self,
        batch: Iterable[Data],
        name: str,
        cursor: str,
        session: SessionLike | None = None,
        kind: int | str = 0,
    ) -> None:
        """As `ingest_with_cursor`, in an event loop."""
        await in_thread(self._ingest_with_cursor, batch, (name, cursor), session, kind)

    def poll(
        self,
        limit: int = 1000,
        *,
        cursor: str | None = None,
        start: Start = "earliest",
        session: Sessions | None = None,
        kinds: Kinds | None = None,
        filter: Filter | None = None,
        by_time: bool = False,
        durable: bool = False,
        wait: float = 0.0,
    ) -> Page:
        """Reads a page of up to `limit` events, which has what this process ingested before.

        The next page continues from the page's `cursor`. Waits up to `wait` seconds where there is no event. `by_time`
        orders the events of all shards by time; `durable` leaves out what a crash may still take.
        """
        refuse_in_loop("poll", "`await bus.poll_async(...)`")
        return self._poll(
            {
                "select": select(session, kinds, filter),
                "limit": limit,
                "cursor": cursor,
                "start": start,
                "by_time": by_time,
                "durable": durable,
                "wait": wait,
            }
        )

    async def poll_async(
        self,
        limit: int = 1000,
        *,
        cursor: str | None = None,
        start: Start = "earliest",
        session: Sessions | None = None,
        kinds: Kinds | None = None,
        filter: Filter | None = None,
        by_time: bool = False,
        durable: bool = False,
        wait: float = 0.0,
    ) -> Page:
        """As `poll`, in an event loop: on a thread of its executor, which `wait` holds meanwhile. A tail holds none."""
        return await in_thread(
            self.poll,
            limit,
            cursor=cursor,
            start=start,
            session=session,
            kinds=kinds,
            filter=filter,
            by_time=by_time,
            durable=durable,
            wait=wait,
        )

    def replay(
        self,
        session: Sessions | None = None,
        *,
        speed: float | None = None,
        idle_max: float | None = None,
        since: int | None = None,
        until: int | None = None,
        kinds: Kinds | None = None,
        filter: Filter | None = None,
    ) -> Replay:
        """The events that are in the log now: `for` in a thread, `async for` in an event loop.

        `speed` is a multiple of the recorded pace, with no pause longer than `idle_max` seconds; without it, events
        come as fast as they can be read. `since` and `until` are times in nanoseconds since the Unix epoch.
        """
        chosen = select(session, kinds, filter)
        return Replay(lambda: self._replay({"select": chosen, "since": since, "until": until}), speed, idle_max)

    def tail(
        self,
        session: Sessions | None = None,
        *,
        after: str | None = None,
        start: Start = "earliest",
        kinds: Kinds | None = None,
        filter: Filter | None = None,
        durable: bool = False,
    ) -> Tail:
        """Events from a place on, then live ones: `for` in a thread, `async for` in an event loop.

        `after` is the token of an event of the one session, or the cursor of a tail or a page; without it, `start`
        says where to begin. The tail of a session ends with the event that closes it. `durable` leaves out what a
        crash may still take. Raises `TokenError`, `CursorError`, `FilterError`.
        """
        chosen = select(session, kinds, filter)
        return Tail(lambda: self._tail({"select": chosen, "after": after, "start": start, "durable": durable}))

    def sessions(self, where: str | None = None) -> list[SessionSummary]:
        """The sessions of the log, by the time of their first event; those whose tags meet a requirement, or all."""
        refuse_in_loop("sessions", "`await bus.sessions_async()`")
        return self._sessions(where)

    async def sessions_async(self, where: str | None = None) -> list[SessionSummary]:
        """As `sessions`, in an event loop."""
        return await in_thread(self._sessions, where)

    def unfinished(self) -> list[SessionSummary]:
        """The sessions that a crash of an earlier process has cut off: opened, and not closed."""
        refuse_in_loop("unfinished", "`await bus.unfinished_async()`")
        return self._unfinished()

    async def unfinished_async(self) -> list[SessionSummary]:
        """As `unfinished`, in an event loop."""
        return await in_thread(self._unfinished)

    def summary(self, session: SessionLike) -> SessionSummary | None:
        """What the log holds of one session; `None`: nothing."""
        refuse_in_loop("summary", "`await bus.summary_async(session)`")
        return self._summary(session)

    async def summary_async(self, session: SessionLike) -> SessionSummary | None:
        """As `summary`, in an event loop."""
        return await in_thread(self._summary, session)

    def save_cursor(self, name: str, cursor: str) -> None:
        """Keeps a cursor in the log under a name, durably. Raises `CursorError`."""
        refuse_in_loop("save_cursor", "`await bus.save_cursor_async(name, cursor)`")
        self._save_cursor(name, cursor)

    async def save_cursor_async(self, name: str, cursor: str) -> None:
        """As `save_cursor`, in an event loop."""
        await in_thread(self._save_cursor, name, cursor)

    def load_cursor(self, name: str) -> str | None:
        """The cursor of this name, if there is one."""
        refuse_in_loop("load_cursor", "`await bus.load_cursor_async(name)`")
        return self._load_cursor(name)

    async def load_cursor_async(self, name: str) -> str | None:
        """As `load_cursor`, in an event loop."""
        return await in_thread(self._load_cursor, name)

    def remove_cursor(self, name: str) -> bool:
        """Removes the cursor of this name; returns whether there was one."""
        refuse_in_loop("remove_cursor", "`await bus.remove_cursor_async(name)`")
        return self._remove_cursor(name)

    async def remove_cursor_async(self, name: str) -> bool:
        """As `remove_cursor`, in an event loop."""
        return await in_thread(self._remove_cursor, name)

    def cursors(self) -> list[NamedCursor]:
        """The log's named cursors, and by how much each lags."""
        refuse_in_loop("cursors", "`await bus.cursors_async()`")
        return self._cursors()

    async def cursors_async(self) -> list[NamedCursor]:
        """As `cursors`, in an event loop."""
        return await in_thread(self._cursors)

    def trim(self, **retention: Unpack[Retention]) -> Trimmed:
        """Removes from the log what the limits do not keep, whatever the bus's settings say. Readers get a gap for it.
        Raises `ConfigError` without a limit."""
        refuse_in_loop("trim", "`await bus.trim_async(...)`")
        return self._trim(whole_retention(retention))

    async def trim_async(self, **retention: Unpack[Retention]) -> Trimmed:
        """As `trim`, in an event loop."""
        return await in_thread(self._trim, whole_retention(retention))

    def plan_trim(self, **retention: Unpack[Retention]) -> Trimmed:
        """As `trim`, but changes nothing: what would be removed at present."""
        refuse_in_loop("plan_trim", "`await bus.plan_trim_async(...)`")
        return self._plan_trim(whole_retention(retention))

    async def plan_trim_async(self, **retention: Unpack[Retention]) -> Trimmed:
        """As `plan_trim`, in an event loop."""
        return await in_thread(self._plan_trim, whole_retention(retention))

    def close(self, timeout: float | None = None) -> None:
        """Closes the bus: what was ingested is durable when it returns. Does nothing if the bus is closed.

        With a `timeout` in seconds, `NotEndedError` says what may be lost if the disk does not answer in time. Raises
        `StoreError`.
        """
        refuse_in_loop("close", "`await bus.close_async()`")
        self._close(timeout)

    async def close_async(self, timeout: float | None = None) -> None:
        """As `close`, in an event loop."""
        await in_thread(self._close, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close_async()
