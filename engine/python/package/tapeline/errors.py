"""Exceptions. All are `Error`; `code` is the name of the Rust variant, and other attributes are its facts.

    Error
        ConfigError         a setting cannot work (also a ValueError)
        OpenError           the log's directory cannot be opened
            LockedError     another process has it
        IngestError         an event was not taken
            BackpressureError   its lane is full; try again later
            DroppedError    the bus's mode dropped it; readers get a gap
            TooLargeError
            NoMemoryError       the bus's memory budget, or the system, has no room for it
            SessionClosedError
        StoreError          the bus cannot make events durable, or not at present
            StorageFullError
            PoisonedError   a write failed; the shard takes nothing more
            NotEndedError   the bus did not close in time
        ReadError           events cannot be read
            GapError        events are missing here; reading goes on after them
            LaggedError
            CursorError
            TokenError      a client cannot resume after its token
            FilterError     (also a ValueError)
        ClosedError         the bus is closed
        ForkedError         the bus belongs to the parent of this process
        BlockingError       the call would block an event loop (also a RuntimeError)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tapeline._native import Gap, SessionId


class Error(Exception):
    """Anything that Tapeline cannot do."""

    code: str
    #: True if the same call may succeed later.
    is_retryable: bool = False
    #: True if the bus accepts nothing more until it is opened anew, or cannot be opened as it is configured.
    is_fatal: bool = False

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.code = type(self).__name__.removesuffix("Error")
        self.__dict__.update(facts)


class ConfigError(Error, ValueError):
    """A setting cannot work."""


class OpenError(Error):
    """The log's directory cannot be opened."""

    path: str


class LockedError(OpenError):
    """Another process, or another bus of this one, has the directory."""


class IngestError(Error):
    """An event was not taken. Of a batch, `taken` events are in the bus."""

    taken: int


class BackpressureError(IngestError):
    """The event's lane is full: its shard lags. Try again later, or open the bus with `backpressure="block"`."""

    shard: int
    is_retryable = True


class DroppedError(IngestError):
    """The bus's mode dropped the event. It is counted, and readers get a gap: there is nothing to try again."""

    shard: int


class TooLargeError(IngestError):
    """The payload is larger than any event can be."""

    bytes: int
    max: int


class NoMemoryError(IngestError):
    """There is no memory for the event, or for the lane that it would go through: the bus's `memory_budget` is used up,
    or the system has none. `is_retryable` is true of an event that has room again once others are written."""


class SessionClosedError(IngestError):
    """The session was closed. Opened again by its name, it has another turn."""

    session: SessionId


class StoreError(Error):
    """The bus cannot make events durable, or cannot do so at present."""


class StorageFullError(StoreError):
    """The disk is full. Events that were taken are kept, and written once there is space."""

    shard: int
    is_retryable = True


class PoisonedError(StoreError):
    """A write failed, which is final: nothing after `durable` is acknowledged, and the shard takes nothing more."""

    shard: int
    operation: str
    place: str
    errno: int | None
    durable: int
    is_fatal = True


class NotEndedError(StoreError):
    """The bus did not close in time. `shards` lists what may be lost: shard, first and end of the sequences that are
    not durable, and events that have no sequence yet."""

    shards: list[tuple[int, int, int, int]]


class ReadError(Error):
    """Events cannot be read."""

    shard: int
    segment: str
    offset: int


class GapError(ReadError):
    """Events are missing at this place. The iterator that raised it goes on after them when it is asked again."""

    gap: Gap


class LaggedError(ReadError):
    """The reader fell behind further than it may."""

    lag_events: int


class CursorError(ReadError):
    """A cursor cannot be used here, or cannot be stored. `earliest` is the earliest that can be used."""

    fault: str
    earliest: str
    name: str


class TokenError(ReadError):
    """A client cannot resume after this token. `fault` is `Foreign`, `Gone`, `Unknown` or `Damaged`; `earliest` is the
    token of the earliest event that its session has."""

    fault: str
    earliest: str | None


class FilterError(ReadError, ValueError):
    """The filter is malformed or too large."""

    at: str


class ClosedError(Error):
    """The bus is closed."""


class ForkedError(Error):
    """The bus belongs to the parent of this process. Open one after the fork."""

    is_fatal = True


class BlockingError(Error, RuntimeError):
    """The call would block the event loop that runs in this thread."""
