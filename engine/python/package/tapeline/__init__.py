"""Tapeline: an embeddable, durable event bus for LLM inference servers.

    with tapeline.open("log") as bus:
        with bus.open_session("chat-42") as chat:
            chat.token("Hello")
        for event in bus.replay("chat-42"):
            print(event.text)

`open` opens a bus, `read` a log without one. A call that waits is refused in a thread that runs an event loop: there,
its twin `..._async` is awaited, and `async for` reads.
"""

import os as _os

from tapeline import errors, kinds
from tapeline._native import (
    VERSION as __version__,
    Event,
    Gap,
    Histogram,
    Latency,
    NamedCursor,
    Page,
    Session,
    SessionId,
    SessionSummary,
    ShardStats,
    Stats,
    Ticket,
    Trimmed,
    forked as _forked,
    holds,
    meets,
)
from tapeline.arrow import ArrowEvents
from tapeline.bus import Bus, Opening, open, open_async
from tapeline.errors import Error
from tapeline.follow import Follower, follow
from tapeline.log import Log, read, read_async, trim
from tapeline.replay import Replay
from tapeline.settings import Metadata, Retention, Settings
from tapeline.tail import Tail

_os.register_at_fork(after_in_child=_forked)

__all__ = [
    "ArrowEvents",
    "Bus",
    "Error",
    "Event",
    "Follower",
    "Gap",
    "Histogram",
    "Latency",
    "Log",
    "Metadata",
    "NamedCursor",
    "Opening",
    "Page",
    "Replay",
    "Retention",
    "Session",
    "SessionId",
    "SessionSummary",
    "Settings",
    "ShardStats",
    "Stats",
    "Tail",
    "Ticket",
    "Trimmed",
    "__version__",
    "errors",
    "follow",
    "holds",
    "kinds",
    "meets",
    "open",
    "open_async",
    "read",
    "read_async",
    "trim",
]
