from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, final

from typing_extensions import Buffer

VERSION: str

_Session = str | SessionId | Session
_Kind = int | str
_Data = Buffer | str | dict[str, Any] | list[Any]
_Outcome = Literal["finished", "stopped", "failed", "timed_out"]

class Selection(TypedDict):
    sessions: list[_Session] | None
    kinds: list[_Kind] | None
    filter: str | dict[str, Any] | None

class _Replay(TypedDict):
    select: Selection
    since: int | None
    until: int | None

class _Poll(TypedDict):
    select: Selection
    limit: int
    cursor: str | None
    start: str | int
    by_time: bool
    durable: bool
    wait: float

class _Tail(TypedDict):
    select: Selection
    after: str | None
    start: str | int
    durable: bool

class _Follow(TypedDict):
    select: Selection
    after: str | None
    start: str | int

def forked() -> None: ...
def meets(tags: Iterable[str], requirement: str) -> bool:
    """Returns whether a worker with these tags meets a requirement."""

def holds(tags: Iterable[str], predicate: str, metadata: dict[str, str] = {}) -> bool:
    """Returns whether a predicate holds of a worker with these tags and metadata entries: a JSON document, or text as
    `not num_at_least "hardware.gpu.vram_gb", 48`."""

def trim(path: Any, retention: dict[str, Any]) -> Trimmed: ...
def kind_name(kind: int) -> str | None:
    """The name of a kind, if the bus has one for it."""

def kind_number(name: str) -> int:
    """The number of a kind that has this name."""

@final
class SessionId:
    """The identity of a session, 128 bits. A name and its identity are interchangeable as arguments."""

    def __new__(cls, name: str) -> Self:
        """That of this name."""

    @staticmethod
    def parse(digits: str) -> SessionId:
        """That of these 32 hexadecimal digits."""

    def __hash__(self) -> int: ...
    def __lt__(self, other: SessionId) -> bool: ...
    def __le__(self, other: SessionId) -> bool: ...
    def __gt__(self, other: SessionId) -> bool: ...
    def __ge__(self, other: SessionId) -> bool: ...

@final
class Event:
    """An event of the log. A memoryview of it keeps it alive."""

    @property
    def id(self) -> str:
        """Its identity: the log's, the shard and the sequence."""

    @property
    def session(self) -> SessionId:
        """The session that it belongs to."""

    @property
    def session_name(self) -> str | None:
        """The name of its session. `None`: it was not opened by name, or its opening is not known."""

    @property
    def kind(self) -> int:
        """The number of its kind."""

    @property
    def insertion_ts(self) -> int:
        """Its time, in nanoseconds since the Unix epoch."""

    @property
    def shard(self) -> int:
        """The shard that holds it."""

    @property
    def sequence(self) -> int:
        """Its number in its shard."""

    @property
    def token(self) -> str:
        """The place of a reader of its session that continues after it: 32 characters."""

    @property
    def payload(self) -> memoryview:
        """Its payload, without a copy."""

    @property
    def text(self) -> str:
        """Its payload as text."""

    def json(self) -> Any:
        """Its payload, parsed as JSON."""

    def __len__(self) -> int: ...
    def __bytes__(self) -> bytes: ...
    def __hash__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Gap:
    """Events that a reader does not get. Reading goes on after them."""

    @property
    def shard(self) -> int: ...
    @property
    def first(self) -> int:
        """The first sequence that is missing."""

    @property
    def end(self) -> int:
        """The sequence after the last that is missing."""

    @property
    def reason(self) -> str:
        """`Trimmed`, `Lost`, `Overflow`, `Dropped`, `Corrupt` or `LostInCrash`."""

    @property
    def drop_reason(self) -> str | None:
        """Of `Overflow`: `drop-newest`, `drop-oldest`, `sampled`, or `refused`, where the events went back to their
        producer, which may have ingested them again."""

    @property
    def events(self) -> int:
        """The number of events."""

    @property
    def sessions(self) -> list[tuple[SessionId, int]]:
        """Of `Overflow`: the events of each session, as far as their sessions are known."""

    @property
    def token(self) -> str | None:
        """The place of a reader of one session that continues after it."""

    @property
    def message(self) -> str:
        """All of it in words."""

@final
class Ticket:
    """The receipt of an event."""

    @property
    def shard(self) -> int: ...
    @property
    def insertion_ts(self) -> int: ...

@final
class Page:
    """A page of events."""

    @property
    def events(self) -> list[Event]: ...
    @property
    def gaps(self) -> list[Gap]: ...
    @property
    def cursor(self) -> str | None:
        """The cursor that the next page continues from."""

    @property
    def has_more(self) -> bool: ...
    @property
    def failed_shards(self) -> list[tuple[int, str]]:
        """Shards that cannot be read, each with the reason."""

@final
class Stats:
    """Numbers of a bus since it was opened."""

    @property
    def events_ingested(self) -> int: ...
    @property
    def events_refused(self) -> int: ...
    @property
    def refusals(self) -> dict[str, int]: ...
    @property
    def events_dropped(self) -> int: ...
    @property
    def drops(self) -> dict[str, int]: ...
    @property
    def events_in_lanes(self) -> int: ...
    @property
    def events_appended(self) -> int: ...
    @property
    def events_durable(self) -> int: ...
    @property
    def notes(self) -> int: ...
    @property
    def oldest_not_durable(self) -> float | None: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def memory_budget(self) -> int: ...

@final
class SessionSummary:
    """What a log holds of one session."""

    @property
    def id(self) -> SessionId: ...
    @property
    def name(self) -> str | None: ...
    @property
    def state(self) -> Literal["open", "closed", "cut-off"]: ...
    @property
    def outcome(self) -> _Outcome | None: ...
    @property
    def events(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def first_insertion_ts(self) -> int: ...
    @property
    def last_insertion_ts(self) -> int: ...
    @property
    def model(self) -> str | None: ...
    @property
    def user(self) -> str | None: ...
    @property
    def content_type(self) -> str | None: ...
    @property
    def tags(self) -> list[str]: ...
    @property
    def labels(self) -> dict[str, str]: ...

@final
class ShardStats:
    """Numbers of one shard, and what its log met."""

    @property
    def shard(self) -> int: ...
    @property
    def is_active(self) -> bool: ...
    @property
    def core(self) -> int | None: ...
    @property
    def device(self) -> str: ...
    @property
    def is_full(self) -> bool:
        """True if it waits for space on its disk."""

    @property
    def poison(self) -> str | None:
        """The error that ended its writing."""

    @property
    def troubles(self) -> list[str]:
        """What the kernel refuses it."""

    @property
    def notes(self) -> list[str]:
        """In what it runs otherwise than it was asked to."""

    @property
    def cuts(self) -> list[str]:
        """Bytes at the end of its log that were never acknowledged, which the opening cut off."""

@final
class Trimmed:
    """The result of a trim."""

    @property
    def segments(self) -> int: ...
    @property
    def events(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def segments_kept_for_cursors(self) -> int: ...
    @property
    def segments_left(self) -> int: ...
    @property
    def bytes_left(self) -> int: ...

@final
class NamedCursor:
    """A cursor that a log keeps under a name."""

    @property
    def name(self) -> str: ...
    @property
    def cursor(self) -> str: ...
    @property
    def lag_events(self) -> int: ...
    @property
    def lag_bytes(self) -> int: ...
    @property
    def lag(self) -> float: ...
    @property
    def fault(self) -> str | None: ...

@final
class Session:
    """A session of a bus: what is written to it comes in order. Any thread may use it."""

    @property
    def id(self) -> SessionId: ...
    def token(self, data: _Data) -> Ticket:
        """Ingests a token of a model's answer."""

    def tool_call(self, data: _Data) -> Ticket:
        """Ingests a tool call, or a piece of one."""

    def ingest(self, data: _Data, kind: _Kind = 0) -> Ticket:
        """Ingests an event of any kind."""

    def close(self, outcome: _Outcome = "finished") -> Ticket:
        """Ends the session."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, class_: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes it: finished, or failed where an exception leaves the block."""

class Bus:
    def __new__(cls, settings: dict[str, Any]) -> Self: ...
    def ingest(self, data: _Data, session: _Session | None = None, kind: _Kind = 0) -> Ticket:
        """Ingests an event: bytes, text, or a dict or list as JSON. Raises `IngestError`."""

    def ingest_batch(self, batch: Iterable[_Data], session: _Session | None = None, kind: _Kind = 0) -> int:
        """Ingests several events in order; returns how many the bus has taken. Raises `IngestError` with `taken`."""

    def session(self, session: _Session) -> Session:
        """The handle of a session, which is neither opened nor looked up."""

    def close_session(self, session: _Session, outcome: _Outcome = "finished") -> Ticket:
        """Ends a session."""

    def is_durable(self, ticket: Ticket) -> bool:
        """Returns whether the event of a ticket is durable."""

    def stats(self) -> Stats:
        """Numbers of the bus since it was opened."""

    def shards(self) -> list[ShardStats]:
        """The shards, and what the log of each met."""

    def is_healthy(self) -> bool:
        """Returns whether the bus takes events and can make them durable."""

    def prometheus(self) -> str:
        """The statistics of the bus and its shards, as Prometheus reads them."""

    @property
    def log_id(self) -> str:
        """The identity of the log."""

    @property
    def closed(self) -> bool:
        """True once it was closed."""

    def _open_session(self, name: str, metadata: dict[str, Any]) -> Session: ...
    def _reopen_session(self, session: _Session, metadata: dict[str, Any]) -> Session: ...
    def _flush(self) -> None: ...
    def _flush_awaited(self) -> Awaited: ...
    def _durable(self, ticket: Ticket) -> None: ...
    def _durable_awaited(self, ticket: Ticket) -> Awaited: ...
    def _readable(self, ticket: Ticket) -> None: ...
    def _readable_awaited(self, ticket: Ticket) -> Awaited: ...
    def _event_id(self, ticket: Ticket) -> str | None: ...
    def _ingest_with_cursor(
        self, batch: Iterable[_Data], named: tuple[str, str], session: _Session | None, kind: _Kind
    ) -> None: ...
    def _poll(self, arguments: _Poll) -> Page: ...
    def _replay(self, arguments: _Replay) -> Replay: ...
    def _tail(self, arguments: _Tail) -> Tail: ...
    def _sessions(self, wanted: str | None) -> list[SessionSummary]: ...
    def _trim(self, retention: dict[str, Any]) -> Trimmed: ...
    def _plan_trim(self, retention: dict[str, Any]) -> Trimmed: ...
    def _unfinished(self) -> list[SessionSummary]: ...
    def _summary(self, session: _Session) -> SessionSummary | None: ...
    def _save_cursor(self, name: str, cursor: str) -> None: ...
    def _load_cursor(self, name: str) -> str | None: ...
    def _remove_cursor(self, name: str) -> bool: ...
    def _cursors(self) -> list[NamedCursor]: ...
    def _close(self, timeout: float | None = None) -> None: ...

class Log:
    def __new__(cls, path: Any) -> Self: ...
    @property
    def log_id(self) -> str:
        """The identity of the log."""

    @property
    def created(self) -> int:
        """The time at which the log was made, in nanoseconds since the Unix epoch."""

    @property
    def damage(self) -> list[str]:
        """What cannot be read of it, in words."""

    def _replay(self, arguments: _Replay) -> Replay: ...
    def _sessions(self, wanted: str | None) -> list[SessionSummary]: ...
    def _cursors(self) -> list[NamedCursor]: ...

@final
class Replay(Iterator[Event]):
    def __next__(self) -> Event: ...
    def read_ahead(self) -> bool: ...
    def is_read(self) -> bool: ...
    def next_insertion_ts(self) -> int | None: ...
    def to_arrow(self, keep_gaps: bool) -> ArrowEvents: ...
    def latency(self, token: int | str) -> Latency: ...

@final
class Histogram:
    """A distribution of times in nanoseconds, in buckets of three significant digits.

    `numpy.asarray` takes `counts` and `edges` as they are, and `matplotlib.pyplot.stairs(counts, edges)` draws them.
    """

    @property
    def count(self) -> int:
        """The number of values."""

    @property
    def min(self) -> int:
        """The smallest value; 0 without one."""

    @property
    def max(self) -> int:
        """The largest value; 0 without one."""

    @property
    def mean(self) -> float:
        """The mean; 0 without a value."""

    @property
    def edges(self) -> memoryview:
        """The edges of the buckets from the smallest value's to the largest's, one more than `counts` has."""

    @property
    def counts(self) -> memoryview:
        """The number of values in each bucket."""

    def quantile(self, share: float) -> int:
        """The value that this share of them, 0 to 1, does not exceed; 0 without a value."""

@final
class Latency:
    """The latencies of a replay, by the times at which the bus took the events."""

    @property
    def time_to_first_token(self) -> Histogram:
        """Of each session: the time from its first event to its first token, unless the first event is the token."""

    @property
    def inter_token(self) -> Histogram:
        """Of each token but a session's first: the time since the one before."""

    @property
    def time_per_output_token(self) -> Histogram:
        """Of each session with two tokens or more: the time from its first to its last, by the number of the others."""

    @property
    def session_length(self) -> Histogram:
        """Of each session with two events or more: the time from its first event to its last."""

    @property
    def sessions(self) -> int:
        """The number of sessions."""

    @property
    def tokens(self) -> int:
        """The number of tokens."""

    @property
    def gaps(self) -> list[Gap]:
        """The events that were missing. A gap within a session looks like a pause."""

@final
class ArrowEvents:
    def gaps(self) -> list[Gap]: ...
    def stream(self) -> object: ...

@final
class Follower:
    def __new__(cls, path: Any, arguments: _Follow) -> Self: ...
    def read_ahead(self) -> bool: ...
    def is_read(self) -> bool: ...
    def take(self) -> Event | None: ...
    def is_lost(self) -> bool: ...
    @property
    def cursor(self) -> str: ...
    @property
    def log_id(self) -> str: ...

@final
class Pacer:
    def __new__(cls, speed: float, idle_max: float | None = None) -> Self: ...
    def wait(self, insertion_ts: int) -> float: ...
    def sleep(self, insertion_ts: int) -> None: ...

@final
class Tail(Iterator[Event]):
    def __next__(self) -> Event: ...
    def poll(self, bell: Bell, key: int) -> Event | None: ...
    @property
    def cursor(self) -> str | None: ...
    @property
    def end(self) -> str | None: ...

@final
class Bell:
    def __new__(cls) -> Self: ...
    def fileno(self) -> int: ...
    def rung(self) -> list[int]: ...

@final
class Awaited:
    def poll(self, bell: Bell, key: int) -> bool: ...
