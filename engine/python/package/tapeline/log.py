"""Logs without a bus, also while another process writes them."""

from __future__ import annotations

from typing import Self, Unpack

from tapeline import _native
from tapeline._loop import in_thread, refuse_in_loop
from tapeline._native import NamedCursor, SessionSummary, Trimmed
from tapeline._select import Filter, Kinds, Sessions, StrPath, select
from tapeline.replay import Replay
from tapeline.settings import Retention, whole_retention


def read(path: StrPath) -> Log:
    """Opens the log in a directory for reading, without a bus.

    Another process may write it meanwhile: the log is as it was when it was opened. Raises `OpenError`.
    """
    refuse_in_loop("read", "`await tapeline.read_async(...)`")
    return Log(path)


def trim(path: StrPath, **retention: Unpack[Retention]) -> Trimmed:
    """Trims the log in a directory that no process has open for writing, as `Bus.trim`. Raises `LockedError`,
    `OpenError`, and `ConfigError` without a limit."""
    refuse_in_loop("trim", "`await asyncio.to_thread(tapeline.trim, ...)`")
    return _native.trim(path, whole_retention(retention))


async def read_async(path: StrPath) -> Log:
    """As `read`, in an event loop."""
    return await in_thread(Log, path)


class Log(_native.Log):
    """The files of a log, as they were when it was opened."""

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
        """As `Bus.replay`."""
        chosen = select(session, kinds, filter)
        return Replay(lambda: self._replay({"select": chosen, "since": since, "until": until}), speed, idle_max)

    def sessions(self, where: str | None = None) -> list[SessionSummary]:
        """The sessions of the log, by the time of their first event; those whose tags meet a requirement, or all."""
        refuse_in_loop("sessions", "`await log.sessions_async()`")
        return self._sessions(where)

    async def sessions_async(self, where: str | None = None) -> list[SessionSummary]:
        """As `sessions`, in an event loop."""
        return await in_thread(self._sessions, where)

    def cursors(self) -> list[NamedCursor]:
        """The log's named cursors, and by how much each lags."""
        refuse_in_loop("cursors", "`await log.cursors_async()`")
        return self._cursors()

    async def cursors_async(self) -> list[NamedCursor]:
        """As `cursors`, in an event loop."""
        return await in_thread(self._cursors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing: the files are let go with the object."""
